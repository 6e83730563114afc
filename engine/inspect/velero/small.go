package velero

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/store"
)

// file reads one file of a folder through use, and gives its digest. A file that use leaves unread is read to its end.
func (s *Source) file(ctx context.Context, info store.Info, use func(io.Reader) error) (sum string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, now, err := s.Store.Open(ctx, info.Key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if now.Size != info.Size {
		return "", fmt.Errorf("it has %d bytes and was listed with %d: it changed while it was read", now.Size, info.Size)
	}
	src := newSource(r, info.Size)
	err = use(src)
	if _, bad := io.Copy(io.Discard, src); bad != nil {
		return "", bad
	}
	return src.sum(), err
}

// gunzip decompresses a file beside the tarball, up to most bytes.
func gunzip(r io.Reader, most int64, limits Limits) io.Reader {
	return newInflater(r, most, limits)
}

// value reads the strict JSON of a small gzip file that is no list.
func value(r io.Reader, limits Limits) (any, error) {
	text, err := io.ReadAll(gunzip(r, limits.Small, limits))
	if err != nil {
		return nil, err
	}
	doc, err := decode.One(bytes.NewReader(text), "", decode.Limits{Bytes: int(limits.Small), Nodes: limits.Elements})
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if !json.Valid(text) {
		return nil, errors.New("parse: it is no JSON")
	}
	return doc.Value, nil
}

// elements streams a list of objects, of which Velero writes one for each volume or operation; null is an empty one.
func elements(r io.Reader, limits Limits, each func(map[string]any)) error {
	d := json.NewDecoder(gunzip(r, limits.Small, limits))
	switch t, err := d.Token(); {
	case err != nil:
		return fmt.Errorf("parse: %w", unexpected(err))
	case t == nil:
		return atEnd(d)
	case t != json.Delim('['):
		return fmt.Errorf("parse: %v, want a list", t)
	}
	for n := 0; d.More(); n++ {
		if n == limits.Elements {
			return refuse("%d elements of a list", limits.Elements)
		}
		var text json.RawMessage
		if err := d.Decode(&text); err != nil {
			return fmt.Errorf("parse: %w", unexpected(err))
		}
		object, err := parse(string(text), limits)
		if err != nil {
			return fmt.Errorf("parse: element %d: %w", n+1, err)
		}
		each(object)
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("parse: %w", unexpected(err))
	}
	return atEnd(d)
}

// resourceList streams Velero's map of kinds to names, as it holds one line for each object.
func resourceList(r io.Reader, limits Limits, each func(kind, name string)) error {
	d := json.NewDecoder(gunzip(r, 16*limits.Small, limits))
	next := func(want json.Delim) (string, bool, error) {
		t, err := d.Token()
		if err != nil {
			return "", false, fmt.Errorf("parse: %w", unexpected(err))
		}
		text, isText := t.(string)
		if delim, ok := t.(json.Delim); ok && delim == want {
			return "", true, nil
		}
		if !isText {
			return "", false, fmt.Errorf("parse: %v at byte %d, want a name", t, d.InputOffset())
		}
		return text, false, nil
	}
	if t, err := d.Token(); err != nil {
		return fmt.Errorf("parse: %w", unexpected(err))
	} else if t == nil {
		return atEnd(d)
	} else if t != json.Delim('{') {
		return fmt.Errorf("parse: %v, want an object", t)
	}
	seen := map[string]bool{}
	for {
		kind, done, err := next('}')
		if err != nil {
			return err
		}
		if done {
			return atEnd(d)
		}
		if seen[kind] {
			return fmt.Errorf("parse: kind %q is there twice", shown(kind))
		}
		seen[kind] = true
		if t, err := d.Token(); err != nil {
			return fmt.Errorf("parse: %w", unexpected(err))
		} else if t == nil {
			continue
		} else if t != json.Delim('[') {
			return fmt.Errorf("parse: %v at byte %d, want a list", t, d.InputOffset())
		}
		for {
			name, done, err := next(']')
			if err != nil {
				return err
			}
			if done {
				break
			}
			each(kind, name)
		}
	}
}

func atEnd(d *json.Decoder) error {
	switch t, err := d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("parse: %w", err)
	default:
		return fmt.Errorf("parse: %v follows the end", t)
	}
}

// results are what Velero counted in a results file.
type results struct {
	errors, warnings int64
	messages         []any
}

// most is how many messages are kept, and of how many bytes.
const (
	mostMessages = 20
	mostMessage  = 500
)

// readResults reads {"errors": …, "warnings": …}, each with the lists velero, cluster and those of namespaces. Anything
// else may hold an error that is not counted.
func readResults(v any) (results, error) {
	var r results
	top, ok := v.(map[string]any)
	if !ok {
		return r, errors.New("parse: it holds no object")
	}
	if err := only(top, "errors", "warnings"); err != nil {
		return r, err
	}
	for _, part := range []struct {
		key string
		n   *int64
	}{{"errors", &r.errors}, {"warnings", &r.warnings}} {
		of, ok := top[part.key].(map[string]any)
		if !ok {
			return r, fmt.Errorf("parse: %s is not there or no object", part.key)
		}
		if err := only(of, "velero", "cluster", "namespaces"); err != nil {
			return r, fmt.Errorf("%w in %s", err, part.key)
		}
		add := func(v any) error {
			list, ok := v.([]any)
			if !ok && v != nil {
				return fmt.Errorf("parse: %s holds something other than lists of messages", part.key)
			}
			*part.n += int64(len(list))
			for _, m := range list {
				if text, ok := m.(string); ok && len(r.messages) < mostMessages {
					if len(text) > mostMessage {
						text = strings.ToValidUTF8(text[:mostMessage], "") + "…"
					}
					r.messages = append(r.messages, text)
				}
			}
			return nil
		}
		namespaces, ok := of["namespaces"].(map[string]any)
		if !ok && of["namespaces"] != nil {
			return r, fmt.Errorf("parse: %s.namespaces is no object", part.key)
		}
		for _, v := range append([]any{of["velero"], of["cluster"]}, sortedValues(namespaces)...) {
			if err := add(v); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// only refuses the keys that are not known.
func only(m map[string]any, known ...string) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, k) {
			return fmt.Errorf("parse: there is a key %q, which Velero does not write", shown(k))
		}
	}
	return nil
}

// standard are the files Velero writes for every finished backup, as they end after its name.
var standard = []string{
	".tar.gz", "-logs.gz", "-results.gz", "-resource-list.json.gz", "-volumeinfo.json.gz", "-podvolumebackups.json.gz",
	"-volumesnapshots.json.gz", "-itemoperations.json.gz",
}

// absent are the standard files that are not there.
func (f *folder) absent() []any {
	list := []any{}
	if _, there := f.file(metadataFile); !there {
		list = append(list, metadataFile)
	}
	for _, suffix := range standard {
		if _, there := f.file(f.name + suffix); !there {
			list = append(list, f.name+suffix)
		}
	}
	return list
}

func base(info store.Info) string { return path.Base(info.Key) }
