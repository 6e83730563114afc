package velero

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// drill yields what the files of one restore tell.
func (r *run) drill(f *folder) {
	if len(f.files) > r.limits.Files {
		r.unread(f.dir, engine.Hole, refuse("%d files in a restore's folder", r.limits.Files))
		f.files = f.files[:r.limits.Files]
	}
	restore := map[string]any{"name": f.name}
	fields := map[string]any{"restore": restore, "location": r.location(f)}
	var log restoreLog
	counted, read, listed := false, false, false
	// The log comes first: of the list no more is kept than what the log tried.
	slices.SortFunc(f.files, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	for _, info := range f.files {
		var use func(io.Reader) error
		switch base(info) {
		case "restore-" + f.name + "-logs.gz":
			use = func(in io.Reader) error {
				err := log.read(gunzip(in, 16*r.limits.Small, r.limits))
				read = err == nil
				return err
			}
		case "restore-" + f.name + "-results.gz":
			use = func(in io.Reader) error {
				v, err := value(in, r.limits)
				if err != nil {
					return err
				}
				res, err := readResults(v)
				if err == nil {
					fields["errors"], fields["warnings"], counted = res.errors, res.warnings, true
				}
				return err
			}
		case "restore-" + f.name + "-resource-list.json.gz":
			use = func(in io.Reader) error {
				n := int64(0)
				listed = true
				err := resourceList(in, r.limits, func(kind, entry string) {
					n++
					listed = log.became(kind, entry) && listed
				})
				if listed = listed && err == nil; err == nil {
					fields["items"] = n
				}
				return err
			}
		default:
			continue
		}
		if _, err := r.file(r.ctx, info, use); err != nil {
			r.unread(info.Key, trouble(err), fmt.Errorf("read restore: %w", err))
		}
	}
	if read && !log.first.IsZero() {
		fields["started"] = stamp(log.first)
		if log.completed {
			fields["completed"] = stamp(log.last)
			fields["durationSeconds"] = int64(log.last.Sub(log.first) / time.Second)
		}
		if log.n > maxTried {
			r.unread(f.dir, engine.Hole, refuse("%d objects in a restore's log and list", maxTried))
		} else if listed {
			fields["restored"] = log.restored()
		}
		if log.backup != "" {
			fields["backup"], restore["backup"] = log.backup, log.backup
		}
		if n, ok := fields["errors"].(int64); ok && counted {
			if n > 0 || log.completed {
				fields["succeeded"] = n == 0
			}
		}
	}
	if r.stopped || r.Backup != "" && r.Backup != log.backup {
		return
	}
	r.subject(r.artifact("Drill", path.Join(f.dir, "restore-"+f.name+"-logs.gz"), map[string]any{"name": f.name}, fields))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// restoreLog is what a restore's log tells, and its list of resources of the same objects.
type restoreLog struct {
	first, last time.Time
	completed   bool
	backup      string
	// tried are the objects in a namespace that were to be restored.
	tried map[kindName]*tried
	// into is the namespace that the objects of one in the backup were put into, where the log says it.
	into map[string]string
	// n counts what is kept of both.
	n int
}

type kindName struct{ kind, name string }

// tried are the objects of one kind and name: from are their namespaces in the backup, of which the log tells, made those
// they were put into, of which the list tells, and whether they were created or updated there.
type tried struct{ from, made map[string]bool }

// maxTried is how many objects are held against the list.
const maxTried = 250_000

var (
	logTime   = regexp.MustCompile(`^time="([^"]+)"`)
	logSpace  = regexp.MustCompile(` namespace="?([a-z0-9-]+)`)
	logItem   = regexp.MustCompile(`^Attempting to restore ([A-Za-z0-9]+): (\S+?)\.?$`)
	logInto   = regexp.MustCompile(`^the managed fields for ([a-z0-9-]+)/\S+ is patched$`)
	logBackup = regexp.MustCompile(`[Ss]tarting restore of backup ([a-z0-9.-]+)/([a-z0-9.-]+)`)
)

// maxLogLine is how much of a line is looked at.
const maxLogLine = 64 << 10

// read takes logrus's text and JSON lines.
func (l *restoreLog) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLogLine)
	for {
		line, prefix, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.line(line)
		for prefix && err == nil {
			_, prefix, err = in.ReadLine()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

func (l *restoreLog) line(line []byte) {
	var when, message, namespace string
	if bytes.HasPrefix(line, []byte("{")) {
		var entry struct{ Time, Msg, Namespace string }
		if json.Unmarshal(line, &entry) != nil {
			return
		}
		when, message, namespace = entry.Time, entry.Msg, entry.Namespace
	} else if m := logTime.FindSubmatch(line); m != nil {
		when = string(m[1])
		if _, rest, ok := strings.Cut(string(line), `msg="`); ok {
			message, rest, _ = strings.Cut(rest, `"`)
			if m := logSpace.FindStringSubmatch(rest); m != nil {
				namespace = m[1]
			}
		}
	}
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return
	}
	if l.first.IsZero() || t.Before(l.first) {
		l.first = t
	}
	if t.After(l.last) {
		l.last = t
	}
	if message == "restore completed" {
		l.completed = true
	}
	if m := logBackup.FindStringSubmatch(message); m != nil && l.backup == "" {
		l.backup = m[2]
	}
	if namespace == "" {
		return
	}
	if m := logItem.FindStringSubmatch(message); m != nil {
		l.try(kindName{m[1], m[2]}, namespace)
	} else if m := logInto.FindStringSubmatch(message); m != nil && len(l.into) < maxTried && l.tried != nil {
		l.into[namespace] = m[1]
	}
}

func (l *restoreLog) try(what kindName, namespace string) {
	if l.tried == nil {
		l.tried, l.into = map[kindName]*tried{}, map[string]string{}
	}
	t := l.tried[what]
	if t == nil {
		t = &tried{from: map[string]bool{}, made: map[string]bool{}}
	}
	if t.from[namespace] || l.full() {
		return
	}
	l.tried[what], t.from[namespace] = t, true
}

// full counts one more object.
func (l *restoreLog) full() bool {
	l.n++
	return l.n > maxTried
}

// became takes an entry of the list, as namespace/name(created), and reports whether it says what became of the object.
// Older versions of Velero do not.
func (l *restoreLog) became(kind, entry string) bool {
	at, ok := strings.LastIndex(entry, "("), strings.HasSuffix(entry, ")")
	if at < 0 || !ok {
		return false
	}
	namespace, name, ok := strings.Cut(entry[:at], "/")
	if t := l.tried[kindName{path.Base(kind), name}]; ok && t != nil {
		// The log names no groups: what two of them have in common was made in both or does not count.
		if before, twice := t.made[namespace]; twice && before || !twice && !l.full() {
			t.made[namespace] = entry[at:] == "(created)" || entry[at:] == "(updated)"
		}
	}
	return true
}

// restored are the namespaces and claims that were taken back, by their names in the backup: an object that was tried and
// was there already was not. Where the log does not say into which namespace one was put, it counts only where all of its
// kind and name were made, in as many namespaces as they came from.
func (l *restoreLog) restored() map[string]any {
	namespaces, claims := map[string]bool{}, map[string]bool{}
	for what, t := range l.tried {
		all := len(t.made) >= len(t.from)
		for _, made := range t.made {
			all = all && made
		}
		for namespace := range t.from {
			into, known := l.into[namespace]
			if known && !t.made[into] || !known && !all {
				continue
			}
			namespaces[namespace] = true
			if what.kind == "PersistentVolumeClaim" {
				claims[namespace+"/"+what.name] = true
			}
		}
	}
	return map[string]any{"namespaces": sortedSet(namespaces), "claims": sortedSet(claims)}
}

func sortedSet(set map[string]bool) []any {
	out := []any{}
	for _, v := range slices.Sorted(maps.Keys(set)) {
		out = append(out, v)
	}
	return out
}
