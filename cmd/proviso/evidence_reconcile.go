package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
)

func evidenceReconcileCommand(s streams) *cobra.Command {
	var audit, writers []string
	var key, output string
	c := &cobra.Command{
		Use:   "reconcile FOLDER...",
		Short: "Hold what the webhook recorded against the API server's audit log",
		Long: `Hold what the webhook recorded against the API server's audit log: every write that was let in, of what the policies
wanted to be asked about, must name a record, and the record must be there. Name the folders of all replicas, and all files
of the log (level Metadata is enough, rotated and gzipped files too). With --key what has no record becomes a signed gap in the first
folder, which no replica may be writing then. The folders are not verified: proviso evidence verify does that.

Exit codes: 0 every write has its record and every record its event, 1 unreadable, 2 some have none, the log may not be
whole, or nothing could be compared, 4 the log names a record that is not there, or says another thing.`,
		Example: `  proviso evidence reconcile replica-0 replica-1 --audit audit.log
  proviso evidence reconcile replica-0 --audit audit.log --audit audit-2027-01-31.log.gz --key cosign.key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("nothing to reconcile: name the folders of evidence of all replicas")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(audit) == 0:
				return errors.New("--audit: name the API server's audit log")
			case output != "text" && output != "json":
				return fmt.Errorf("-o %s: want text or json", output)
			}
			if err := namedOnce(audit); err != nil {
				return err
			}
			r := newReconciling()
			r.writers = writers
			ctx := c.Context()
			err := r.toTheEnd(ctx, func() (err error) {
				for _, dir := range args {
					if err := r.open(dir); err != nil {
						return err
					}
				}
				if key != "" {
					if r.key, err = openKey(ctx, s, key); err != nil {
						return err
					}
				}
				return r.run(ctx, audit)
			})
			if err != nil {
				return err
			}
			if output == "json" {
				err = writeIndented(s.out, r.Reconciled)
			} else {
				err = r.text(s.out)
			}
			if code := r.exitCode(); err == nil && code != exitOK {
				return exitCode(code)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringArrayVar(&audit, "audit", nil, "the API server's audit log; repeated for rotated files, the oldest first")
	f.StringVar(&key, "key", "", "the first folder's key; signs gaps there")
	f.StringSliceVar(&writers, veleroUser, []string{defaultVeleroUser}, "users that Velero's server runs as, as for proviso serve")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// Reconciled is what came of it.
type Reconciled struct {
	// Writes counts the events of writes that were read, from the first to the last; Cut the files that end in half an event.
	Writes uint64    `json:"writes"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
	Cut    int       `json:"cut"`
	// Each write is one of these. Recorded counts those that name a record that is there, denied ones among them; Unchanged those
	// that changed nothing that is judged; Unjudged those of what nobody wanted to be asked about; StatusWrites updates by
	// Velero's server that nobody was asked about, which is right where they only wrote status; Before those from before it was
	// on record what is to be judged; Refused those that were not let in and name no record; Repeated those without a record
	// that were told before; Missing those of Gaps; Declared those the folders declare already; Different those of Wrong.
	Recorded     uint64 `json:"recorded"`
	Unchanged    uint64 `json:"unchanged"`
	Unjudged     uint64 `json:"unjudged"`
	StatusWrites uint64 `json:"statusWrites"`
	Before       uint64 `json:"before"`
	Refused      uint64 `json:"refused"`
	Repeated     uint64 `json:"repeated"`
	Missing      uint64 `json:"missing"`
	Declared     uint64 `json:"declared"`
	Different    uint64 `json:"different"`
	// Twofold counts the writes that are two of these: one webhook answered, and another failed open; or a record of what
	// was let in without one says that it was denied.
	Twofold uint64 `json:"twofold"`
	// Gaps are writes that were let in without a record, Signed how many of them were signed now.
	Gaps   []*foundGap `json:"gaps"`
	Signed uint64      `json:"signed"`
	// Wrong is where the log names a record that is not there, or that says another thing.
	Wrong []string `json:"wrong"`
	// Unseen counts records of that time that no event names; the first are in UnseenRecords. Outside counts those from before
	// the first event and from after the last.
	Unseen        uint64   `json:"unseen"`
	UnseenRecords []string `json:"unseenRecords"`
	Outside       uint64   `json:"outside"`
}

// foundGap is a gap, and in words the first writes that it is of. The words are not signed: the audit log has them, and a record
// is never erased.
type foundGap struct {
	*evidence.Gap
	Requests []string `json:"requests"`
}

// mostNamed is how many writes of a gap are told in words.
const mostNamed = 10

// mostTold is how many of a kind are told; the others are counted.
const mostTold = 100

type reconciling struct {
	Reconciled
	folders []*recordedFolder
	writers []string
	// wanted is what was to be asked about, in order of time; marks are the annotations that name records.
	wanted []watchedFrom
	marks  map[string]bool
	// found are gaps by reason until there are many; told are all that were told, by event.
	found map[string]*foundGap
	told  map[string]bool
	// unrecorded are the requests that were answered without a record as their events say, by uid.
	unrecorded map[string]*auditEvent
	key        *cosign.Key
	// writing is held by who uses w, which is nil until there is something to write.
	writing sync.Mutex
	w       *producer.Writer
}

func newReconciling() *reconciling {
	return &reconciling{marks: map[string]bool{}, found: map[string]*foundGap{}, told: map[string]bool{}, unrecorded: map[string]*auditEvent{}}
}

// toTheEnd reads folders and log, and ends what was written meanwhile. A signal ends the reading at once.
func (r *reconciling) toTheEnd(ctx context.Context, read func() error) error {
	_, err := stoppable(ctx, func() (any, error) { return nil, read() })
	r.writing.Lock() // and never unlocked: what was stopped writes nothing from here on
	if r.w != nil {
		err = errors.Join(err, r.end(ctx, err))
	}
	return err
}

// open reads what a folder says of itself, of gaps, and of what was to be judged.
func (r *reconciling) open(dir string) error {
	f := &recordedFolder{dir: dir, fsys: os.DirFS(dir), kept: map[uint64][]recordedLine{}, declared: map[string]bool{}}
	switch info, err := os.Stat(dir); {
	case isURL(dir) || err == nil && !info.IsDir():
		return fmt.Errorf("open evidence: %s is no folder: name the folders that proviso serve --evidence writes, not bundles or buckets", dir)
	case err != nil:
		return fmt.Errorf("open evidence: %w", err)
	}
	raw, err := fs.ReadFile(f.fsys, evidence.ProducerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return noEvidence(dir)
	}
	if err != nil {
		return fmt.Errorf("open evidence %s: %w", dir, err)
	}
	var p evidence.Producer
	if err := json.Unmarshal(raw, &p); err != nil || p.Origin == "" {
		return fmt.Errorf("open evidence %s: %s names no log", dir, evidence.ProducerFile)
	}
	f.origin = p.Origin
	if slices.ContainsFunc(r.folders, func(o *recordedFolder) bool { return o.origin == f.origin }) {
		return fmt.Errorf("open evidence %s: it is named twice", dir)
	}
	r.folders = append(r.folders, f)
	for _, name := range []string{"fail.proviso.dev", "ignore.proviso.dev", "own.proviso.dev"} {
		r.marks[name] = true
	}
	for segment := uint64(0); ; segment++ {
		n, err := f.each(segment, func(rec *evidence.Record, _ engine.Digest) error {
			if o := rec.Open; o != nil {
				f.ended(rec.At)
				if o.Mode == producer.Batch {
					f.torn = append(f.torn, span{from: rec.At})
				}
			}
			f.last = *rec
			if rec.Gap != nil {
				for _, event := range rec.Gap.Events {
					f.declared[event] = true
				}
			}
			if c := rec.Change; c != nil && (c.What == configurationChange || c.What == wantedChange) && c.Digest != "" {
				return r.configuration(f, rec)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("open evidence: %w", err)
		}
		if n == 0 {
			break
		}
	}
	f.ended(time.Time{})
	slices.SortStableFunc(r.wanted, func(a, b watchedFrom) int { return a.at.Compare(b.at) })
	return nil
}

// configuration takes in a webhook configuration: the names its annotations have and, of the one that was wanted, what
// is to be asked about.
func (r *reconciling) configuration(f *recordedFolder, rec *evidence.Record) error {
	raw, err := fs.ReadFile(f.fsys, evidence.ObjectFile(rec.Change.Digest))
	if err == nil && evidence.DigestOf(raw) != rec.Change.Digest {
		err = errors.New("it has another digest")
	}
	w := watchedFrom{at: rec.At}
	if err == nil {
		err = json.Unmarshal(raw, &w.webhooks)
	}
	if err != nil {
		return fmt.Errorf("record %d: the %s: %w", rec.Seq, rec.Change.What, err)
	}
	for i := range w.webhooks {
		r.marks[w.webhooks[i].Name] = true
	}
	if rec.Change.What == wantedChange {
		r.wanted = append(r.wanted, w)
	}
	return nil
}

// run reads the log, and then looks for records that no event names.
func (r *reconciling) run(ctx context.Context, files []string) error {
	for _, file := range files {
		cut, err := readAudit(file, func(e *auditEvent) error { return r.event(ctx, e) })
		if err != nil {
			return err
		}
		if cut {
			r.Cut++
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.found)) {
		if err := r.declare(ctx, reason); err != nil {
			return err
		}
	}
	for _, f := range r.folders {
		strict := false
		for segment := uint64(0); ; segment++ {
			n, err := f.each(segment, func(rec *evidence.Record, _ engine.Digest) error {
				if o := rec.Open; o != nil {
					strict = o.Mode == producer.Strict
				}
				if d := rec.Decision; d != nil && d.Answer != nil && !f.saw(rec.Seq) {
					r.unnamed(f, rec, strict)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
		}
	}
	return nil
}

// gap notes a write without a record. Files that overlap tell it twice.
func (r *reconciling) gap(ctx context.Context, e *auditEvent, event, reason string) error {
	if r.told[event] {
		r.Repeated++
		return nil
	}
	r.told[event] = true
	if slices.ContainsFunc(r.folders, func(f *recordedFolder) bool { return f.declared[event] }) {
		r.Declared++
		return nil
	}
	g := r.found[reason]
	if g == nil {
		g = &foundGap{Gap: &evidence.Gap{From: e.Received.UTC(), Until: e.Received.UTC(), Reason: reason}}
		r.found[reason] = g
	}
	r.Missing++
	g.Lost, g.Events = g.Lost+1, append(g.Events, event)
	if len(g.Requests) < mostNamed {
		g.Requests = append(g.Requests, fmt.Sprintf("%s: %s", event, e.words()))
	}
	if e.Received.Before(g.From) {
		g.From = e.Received.UTC()
	}
	g.Until = later(g.Until, e.Received.UTC())
	if len(g.Events) == mostLost {
		return r.declare(ctx, reason)
	}
	return nil
}

// declare tells of what was found for a reason, and has it signed where there is a key.
func (r *reconciling) declare(ctx context.Context, reason string) error {
	g := r.found[reason]
	delete(r.found, reason)
	r.Gaps = append(r.Gaps, g)
	if r.key == nil {
		return nil
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.w == nil {
		var err error
		if r.w, err = producer.Open(ctx, r.folders[0].dir, producer.Options{Signer: r.key, Kind: "admission", Mode: producer.Strict, Run: rand.Text(), Scope: []string{"reconcile"},
			Engine: evidence.Engine{Version: versionText(), Program: programDigest()}}); err != nil {
			return err
		}
	}
	if _, err := r.w.Append(ctx, evidence.Record{Gap: g.Gap}); err != nil {
		return err
	}
	r.Signed += g.Lost
	return nil
}

// end closes the run that gaps were written in, and seals it, though the context may be over.
func (r *reconciling) end(ctx context.Context, why error) error {
	reason := "done"
	if why != nil {
		reason = failed(why)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	_, err := r.w.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: reason}})
	if err == nil {
		err = r.w.Seal(ctx, evidence.Seal{}, nil, r.key.Statement)
	}
	return errors.Join(err, r.w.Close(ctx, reason))
}

func (r *reconciling) exitCode() int {
	switch {
	case r.Different > 0:
		return exitUnverified
	case len(r.Gaps) > 0 || r.Declared > 0 || len(r.wanted) == 0 || r.Recorded == 0 || r.Cut > 0 || r.Unseen > 0:
		return exitIncomplete
	}
	return exitOK
}
