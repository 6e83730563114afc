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
	counted, read := false, false
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
				err := resourceList(in, r.limits, func(string, string) { n++ })
				if err == nil {
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
		fields["restored"] = map[string]any{"namespaces": sortedSet(log.namespaces), "claims": sortedSet(log.claims)}
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

// restoreLog is what a restore's log tells.
type restoreLog struct {
	first, last time.Time
	completed   bool
	backup      string
	// namespaces and claims are those it took back, by their names in the backup; claims as namespace/name.
	namespaces, claims map[string]bool
}

var (
	logTime   = regexp.MustCompile(`^time="([^"]+)"`)
	logSpace  = regexp.MustCompile(` namespace="?([a-z0-9-]+)`)
	logItem   = regexp.MustCompile(`^Attempting to restore ([A-Za-z0-9]+): (\S+?)\.?$`)
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
	if m := logItem.FindStringSubmatch(message); m != nil {
		l.restored(m[1], namespace, m[2])
	}
}

func (l *restoreLog) restored(kind, namespace, name string) {
	if l.namespaces == nil {
		l.namespaces, l.claims = map[string]bool{}, map[string]bool{}
	}
	if namespace != "" && len(l.namespaces) < maxClaims {
		l.namespaces[namespace] = true
	}
	if kind == "PersistentVolumeClaim" && len(l.claims) < maxClaims {
		l.claims[namespace+"/"+name] = true
	}
}

func sortedSet(set map[string]bool) []any {
	out := []any{}
	for _, v := range slices.Sorted(maps.Keys(set)) {
		out = append(out, v)
	}
	return out
}
