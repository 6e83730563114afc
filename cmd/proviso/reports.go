package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
)

// reportsParameter is what policies call the evidence of scans that is at hand; they speak where it is set.
const reportsParameter = "scanReports"

// reports answer what the last scan said of a backup, from the evidence that scans leave in a folder. What they answer was
// read before: no request waits for a disk.
type reports struct {
	dir string
	// trust is whom to believe; nil is the key in the folder.
	trust *evidence.Trust
	now   func() time.Time
	state atomic.Pointer[readReports]
	// followed is the log that was read last; whoever reads has it alone.
	followed *followedLog
}

// followedLog is a log as it was read: what is read next must continue it.
type followedLog struct {
	checkpoint     []byte
	origin, signer string
}

// readReports are the reports as they were read: up to a seal.
type readReports struct {
	seal string
	// backups are by name and source: a Restore names no source, and two buckets may have backups of one name.
	backups map[backupName]map[string]*scanned
	// doubts are what the newest scan of a source did not read and belongs to no backup: others may be behind it.
	doubts map[string]string
	// simulated counts the scans that judged by another clock: they are passed over. CutOff counts those that did not end: they
	// mend nothing.
	simulated, cutOff int
	// err is why nothing is known.
	err error
}

type backupName struct{ namespace, name string }

// Fact answers a query for a LastScan by the name of a backup; everything else the other source answers.
func (r *reports) Fact(_ context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	state := r.state.Load()
	switch {
	case q.Name == "":
		return nil, engine.FactUnknown, errors.New("what the last scan said is asked for by the name of a backup")
	case state == nil:
		return nil, engine.FactUnknown, fmt.Errorf("the reports in %s were not read yet", r.dir)
	case state.err != nil:
		return nil, engine.FactUnknown, fmt.Errorf("%w: %w", state.err, engine.ErrDoubtful)
	}
	name := backupName{q.Namespace, q.Name}
	found := state.backups[name]
	if len(found) == 0 {
		for _, source := range slices.Sorted(maps.Keys(state.doubts)) {
			return nil, engine.FactUnknown, fmt.Errorf("no scan found backup %s, and the last did not read everything: %s", q.Name, state.doubts[source])
		}
		return nil, engine.FactAbsent, nil
	}
	return name.lastScan(found), engine.FactFound, nil
}

// beside answers from the reports what they know, and everything else from another source.
type beside struct {
	reports *reports
	engine.FactSource
}

// Fact is part of engine.FactSource.
func (b beside) Fact(ctx context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	if q.Group == artifacts && q.Kind == "LastScan" {
		return b.reports.Fact(ctx, q, about)
	}
	return b.FactSource.Fact(ctx, q, about)
}

// keep reads the reports again when there is a newer seal, until the context ends.
func (r *reports) keep(ctx context.Context, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	if r.trust == nil {
		log.Warn("who signs the reports of scans is not established: whoever can write them is believed (name the key with --trust)", "dir", r.dir)
	}
	told, simulated, cutOff := "", 0, 0
	for {
		err := r.read()
		if text := fmt.Sprint(err); text != told && err != nil {
			log.Error("the reports of scans are not known: what depends on them is unknown", "dir", r.dir, "error", text)
		} else if text != told {
			log.Info("the reports of scans are read", "dir", r.dir, "seal", r.state.Load().seal, "backups", len(r.state.Load().backups), "signer", r.followed.signer)
		}
		told = fmt.Sprint(err)
		if n := r.state.Load().simulated; n != simulated {
			if simulated = n; n > 0 {
				log.Warn("scans that judged by another clock (scan --now) are passed over: they prove no age", "dir", r.dir, "scans", n)
			}
		}
		if n := r.state.Load().cutOff; n != cutOff {
			if cutOff = n; n > 0 {
				log.Warn("of scans that did not end only what they found wrong counts, until one that ends says otherwise", "dir", r.dir, "scans", n)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// read reads the reports where they were sealed anew, or could not be read before.
func (r *reports) read() error {
	state := r.readNewer(r.state.Load())
	r.state.Store(state)
	return state.err
}

func (r *reports) readNewer(before *readReports) *readReports {
	fail := func(err error) *readReports {
		return &readReports{err: fmt.Errorf("read the reports of scans in %s: %w", r.dir, err)}
	}
	if before != nil {
		// To list a long log whole is much, every few seconds.
		if seal, err := newestSeal(os.DirFS(r.dir)); err == nil && seal == before.seal {
			return before
		}
	}
	fsys, closer, err := evidence.OpenPath(r.dir)
	if err != nil {
		return fail(err)
	}
	defer closer.Close()
	seal, err := newestSeal(fsys)
	if err != nil {
		return fail(err)
	}
	checkpoint, err := fs.ReadFile(fsys, evidence.CheckpointFile)
	if err != nil {
		return fail(err)
	}
	against := [][]byte{checkpoint}
	if r.followed != nil {
		against = [][]byte{r.followed.checkpoint, checkpoint}
	}
	v, err := evidence.Verify(fsys, evidence.Options{Trust: r.trust, Now: r.now(), Against: against})
	switch {
	case err != nil:
		return fail(err)
	case r.followed != nil && v.Signer != "" && (v.Signer != r.followed.signer || v.Producer.Origin != r.followed.origin):
		return fail(fmt.Errorf("it is the log %s, signed by %s, and what was read before is the log %s, signed by %s: where that is meant, start proviso serve again",
			v.Producer.Origin, v.Signer, r.followed.origin, r.followed.signer))
	case r.followed != nil && slices.ContainsFunc(v.Problems, notFollowed):
		return fail(fmt.Errorf("it does not continue what was read before: %s", v.Problems[slices.IndexFunc(v.Problems, notFollowed)].Text))
	case len(v.Problems) > 0:
		return fail(&evidence.NotVerified{Problems: v.Problems})
	}
	folder, err := evidence.OpenFolder(fsys)
	if err != nil {
		return fail(err)
	}
	defer folder.Close()
	read := &readReports{seal: seal, backups: map[backupName]map[string]*scanned{}, doubts: map[string]string{}}
	if err := read.scans(folder, v); err != nil {
		return fail(err)
	}
	r.followed = &followedLog{checkpoint: checkpoint, origin: v.Producer.Origin, signer: v.Signer}
	return read
}

// notFollowed reports whether a problem is that the log does not continue the first checkpoint it was held against.
func notFollowed(p evidence.Problem) bool {
	return p.Place == "--against 1" && (p.Code == evidence.Rollback || p.Code == evidence.SplitView)
}

// newestSeal names the newest seal that is whole, with what it seals.
func newestSeal(fsys fs.FS) (string, error) {
	dirs, err := fs.Glob(fsys, evidence.SealsDir+"/[0-9][0-9][0-9][0-9][0-9][0-9]/"+evidence.SealStatement)
	if err != nil {
		return "", err
	}
	if len(dirs) == 0 {
		return "", errors.New("nothing is sealed there: want a folder that scan --evidence wrote")
	}
	newest := slices.Max(dirs)
	// To open a pipe waits until somebody writes to it.
	if info, err := fs.Lstat(fsys, newest); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no plain file", newest)
	}
	raw, err := fs.ReadFile(fsys, newest)
	if err != nil {
		return "", err
	}
	return path.Base(path.Dir(newest)) + " " + string(evidence.DigestOf(raw)), nil
}
