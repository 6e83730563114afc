package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
)

// recording is a scan that leaves evidence: it lists everything, signs the list, judges, and seals.
type recording struct {
	*producer.Writer
	key      *cosign.Key
	set      *engine.Set
	clusters map[string]*evidence.Cluster
	seal     evidence.Seal
	// population is the signed head of the log when everything was listed and nothing judged.
	population []byte
	items      []listedItem
	spool      *spool
	activation uint64
	now        time.Time
	// pending wait until a record is durable, err is what went wrong with one.
	pending []func() error
	err     error
	// within is how long the end may take, and how long nothing may be signed while something is wrong.
	within time.Duration
}

// listedItem is what the population says of an item; a hole has no input.
type listedItem struct {
	subject evidence.Subject
	input   engine.Digest
}

// beginRecording opens the folder, and puts the policies into force.
func (j *judging) beginRecording(ctx context.Context, s streams, in bundles.Selection, asked *sources, set *engine.Set, h engine.Header) (*recording, error) {
	if err := producer.Recordable(j.evidence); err != nil {
		return nil, fmt.Errorf("open evidence %s: %w", j.evidence, err)
	}
	key, err := openKey(ctx, s, j.key)
	if err != nil {
		return nil, err
	}
	pack, err := in.Pack()
	if err != nil {
		return nil, err
	}
	r := &recording{key: key, set: set, now: h.At, within: closeWithin}
	var where *evidence.Cluster
	r.clusters, where = identified(ctx, s, in.Profile, asked)
	program := evidence.Engine{Version: versionText(), Program: programDigest()}
	r.seal = evidence.Seal{Run: rand.Text(), Kind: "scan", Engine: program, Started: time.Now().UTC(), Scope: h.Scope, Simulated: h.Simulated, PolicySet: set.Digest()}
	r.Writer, err = producer.Open(ctx, j.evidence, producer.Options{Signer: key, Kind: "scan", Run: r.seal.Run, Scope: h.Scope, Cluster: where, Clusters: judgedIn(asked, r.clusters), Engine: program,
		Now: time.Now, OnTrouble: func(err error) { fmt.Fprintf(s.err, "proviso: evidence: %v\n", err) }})
	if err != nil {
		return nil, err
	}
	if r.seal.Pack, err = r.Object(bytes.NewReader(pack)); err != nil {
		return nil, r.abandon(ctx, err)
	}
	var waivers []string
	for _, w := range set.Waivers() {
		waivers = append(waivers, w.ID)
	}
	active, err := r.Append(ctx, evidence.Record{Activation: &evidence.Activation{PolicySet: set.Digest(), Pack: r.seal.Pack, Policies: len(set.Policies()), Waivers: waivers,
		Mode: in.Defaults.Mode.String(), Unknown: in.Defaults.Unknown.String()}})
	if err != nil {
		return nil, r.abandon(ctx, err)
	}
	r.activation = active.Seq
	return r, nil
}

// mostReason bounds what a Close says of why.
const mostReason = 500

// abandon ends a recording that failed, though the context may be over.
func (r *recording) abandon(ctx context.Context, err error) error {
	err = interrupted(ctx, err)
	if r.spool != nil {
		err = errors.Join(err, r.spool.Close())
	}
	reason := failed(err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.within)
	defer cancel()
	return errors.Join(err, r.Close(ctx, reason))
}

// failed is what a Close says of why: one line, bounded.
func failed(err error) string {
	reason := "failed: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(reason) > mostReason {
		reason = strings.ToValidUTF8(reason[:mostReason], "") + " …"
	}
	return reason
}

// signed waits until all that was recorded is signed, for as long as nothing is wrong or the log goes on all the same.
func (r *recording) signed(ctx context.Context) ([]byte, error) {
	for {
		before := r.Stats().Signed
		within, cancel := context.WithTimeout(ctx, r.within)
		head, err := r.Checkpoint(within)
		cancel()
		if stats := r.Stats(); err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || stats.Trouble != nil && stats.Signed == before {
			return head, err
		}
	}
}

// openKey opens the key that signs: the one named, or one of this user, which is made where there is none.
func openKey(ctx context.Context, s streams, ref string) (*cosign.Key, error) {
	if ref != "" {
		return cosign.Open(ctx, ref, nil)
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("find a key to sign with: %w (name one with --key)", err)
	}
	dir := filepath.Join(config, "proviso", "key")
	ref = filepath.Join(dir, cosign.KeyFile)
	key, err := cosign.Open(ctx, ref, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	switch _, err := cosign.Generate(dir); {
	case err == nil:
		fmt.Fprintf(s.err, "proviso: note: no --key was named: made one, %s; give auditors %s by a way of its own\n", ref, filepath.Join(dir, cosign.PublicFile))
	case !errors.Is(err, fs.ErrExist): // another run may have made it meanwhile
		return nil, fmt.Errorf("make a key to sign with: %w (name one with --key)", err)
	}
	return cosign.Open(ctx, ref, nil)
}

// programDigest is that of the running program's file; empty where it cannot be read.
func programDigest() engine.Digest {
	name, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}

// clustersOf are the clusters a profile names, by the sources they are scanned from.
func clustersOf(p *bundles.Profile) map[string]*evidence.Cluster {
	all := map[string]*evidence.Cluster{}
	if p == nil {
		return all
	}
	for _, c := range p.Clusters {
		known := &evidence.Cluster{Name: c.Name, Region: c.Region, Jurisdiction: c.Jurisdiction}
		all[c.Source], all["cluster:"+c.Source] = known, known
	}
	return all
}

// unreadKinds are the words of evidence for what was not read.
var unreadKinds = map[engine.UnreadKind]string{engine.Broken: "broken", engine.Hole: "hole", engine.NotManifest: evidence.NotManifest}

func holeOf(err error) *evidence.Hole {
	var u *engine.Unread
	if !errors.As(err, &u) {
		u = &engine.Unread{Err: err}
	}
	file := u.File
	if u.Line > 0 {
		file += ":" + strconv.Itoa(u.Line)
	}
	return &evidence.Hole{Source: u.Source, File: file, Kind: unreadKinds[u.Kind], Reason: u.Err.Error()}
}

const (
	// keptAtOnce is how many inputs are made durable together, pendingRecords how many records may be on their way.
	keptAtOnce     = 256
	pendingRecords = 1024
)

// list takes all there is to judge, keeps it, and has the list signed.
func (r *recording) list(ctx context.Context, in engine.Inspector) (err error) {
	if r.spool, err = newSpool(); err != nil {
		return err
	}
	list, err := os.CreateTemp("", "proviso-*")
	if err != nil {
		return fmt.Errorf("list the population: %w", err)
	}
	defer os.Remove(list.Name())
	defer list.Close()
	var tree evidence.Tree
	holes := 0
	var inputs []any
	for sub, err := range in.Inspect(ctx) {
		item := evidence.Item{N: len(r.items)}
		if err != nil {
			item.Hole = holeOf(err)
			holes++
		} else {
			about, input := evidence.SubjectOf(sub), evidence.InputOf(sub, r.Salt())
			line, err := evidence.Encode(input)
			if err != nil {
				return err
			}
			item.Subject, item.Input = &about, evidence.DigestOf(line)
			if inputs = append(inputs, input); len(inputs) == keptAtOnce {
				if err := r.Keep(ctx, inputs...); err != nil {
					return err
				}
				inputs = inputs[:0]
			}
		}
		line, bad := evidence.Encode(item)
		if bad != nil {
			return bad
		}
		tree.Add(line)
		if _, err := list.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("list the population: %w", err)
		}
		known := listedItem{input: item.Input}
		if item.Subject != nil {
			known.subject = *item.Subject
		}
		r.items = append(r.items, known)
		if err := r.spool.add(sub, err); err != nil {
			return err
		}
	}
	if err := errors.Join(ctx.Err(), r.Keep(ctx, inputs...)); err != nil {
		return err
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("list the population: %w", err)
	}
	object, err := r.Object(list)
	if err != nil {
		return err
	}
	r.seal.Population = &evidence.Population{Items: len(r.items), Holes: holes, Root: tree.Root(), List: object}
	if _, err := r.Append(ctx, evidence.Record{Population: r.seal.Population}); err != nil {
		return err
	}
	r.population, err = r.signed(ctx)
	return err
}

// results records what comes of the run, and hands it on.
func (r *recording) results(ctx context.Context, report engine.Report) engine.Report {
	from := report.Results
	report.Results = func(yield func(engine.Result) bool) {
		n := 0
		for result := range from {
			if r.err == nil {
				r.err = r.record(ctx, n, &result)
			}
			n++
			result.Answers = nil
			if !yield(result) {
				return
			}
		}
	}
	return report
}

func (r *recording) record(ctx context.Context, n int, result *engine.Result) error {
	if result.Unread != nil {
		switch {
		case n < len(r.items) && r.items[n].input == "":
			return nil // the list of the population names it
		case n < len(r.items):
			return fmt.Errorf("item %d was listed and cannot be read again: %w", n, result.Unread)
		}
		hole := holeOf(result.Unread)
		return r.enqueue(ctx, evidence.Record{Cluster: r.clusters[hole.Source], Hole: hole})
	}
	facts, keep, err := evidence.FactsOf(result.Answers, r.Salt())
	if err != nil {
		return err
	}
	sub := result.Subject
	source := "scan"
	if _, within := sub.Origin.Archive(); within || strings.HasPrefix(sub.APIVersion, "artifact.proviso.dev/") {
		source = "artifact"
	}
	return r.enqueue(ctx, evidence.Record{Cluster: r.clusters[sub.Origin.Source], Decision: &evidence.Decision{Event: strconv.Itoa(n), Source: source, Subject: r.items[n].subject, Operation: sub.Operation,
		Now: r.now, Simulated: r.seal.Simulated, Input: r.items[n].input, Facts: facts, Activation: r.activation, PolicySet: r.set.Digest(), Results: evidence.ResultsOf(result.Decisions)}}, keep...)
}

// enqueue writes a record and waits for an earlier one, so that many become durable together.
func (r *recording) enqueue(ctx context.Context, rec evidence.Record, keep ...any) error {
	durable, err := r.Enqueue(ctx, rec, keep...)
	if err != nil {
		return err
	}
	r.pending = append(r.pending, durable)
	if len(r.pending) < pendingRecords {
		return nil
	}
	durable, r.pending = r.pending[0], r.pending[1:]
	return durable()
}

// finish closes the run and seals the folder.
func (r *recording) finish(ctx context.Context, t engine.Trailer) error {
	more := 0
	for _, durable := range r.pending {
		switch err := durable(); {
		case err == nil:
		case r.err == nil:
			r.err = err
		default:
			more++
		}
	}
	switch {
	case ctx.Err() != nil && (r.err == nil || errors.Is(r.err, context.Canceled)):
		return r.abandon(ctx, errInterrupted)
	case more > 0:
		return r.abandon(ctx, fmt.Errorf("record: %w (and %d records after it)", r.err, more))
	case r.err != nil:
		return r.abandon(ctx, fmt.Errorf("record: %w", r.err))
	}
	r.seal.Complete, r.seal.Finished = t.Complete, time.Now().UTC()
	if _, err := r.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: "done"}}); err != nil {
		return r.abandon(ctx, err)
	}
	_, err := r.signed(ctx)
	if err == nil {
		err = r.Seal(ctx, r.seal, r.population, r.key.Statement)
	}
	if err != nil {
		return r.abandon(ctx, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.within)
	defer cancel()
	return errors.Join(r.spool.Close(), r.Close(ctx, "done"))
}

// withTrouble is what was listed, and after it what only judging brings to light.
func (r *recording) withTrouble(trouble func(context.Context) iter.Seq2[*engine.Subject, error]) engine.Inspector {
	return each{r.spool.Inspect, trouble}
}
