package velero

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
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

// value reads the strict JSON of a small gzip file.
func value(r io.Reader, limits Limits) (any, error) {
	text, err := io.ReadAll(gunzip(r, limits.Small, limits))
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(string(text)) == "null" { // Velero's encoding of no list
		return nil, nil
	}
	doc, err := decode.One(bytes.NewReader(text), "", decode.Limits{Bytes: int(limits.Small), Nodes: 10 * decode.DefaultNodes})
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if !json.Valid(text) {
		return nil, errors.New("parse: it is no JSON")
	}
	return doc.Value, nil
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

func readResults(v any) (results, error) {
	var r results
	top, ok := v.(map[string]any)
	if !ok && v != nil {
		return r, errors.New("parse: it holds no object")
	}
	for _, part := range []struct {
		key string
		n   *int64
	}{{"errors", &r.errors}, {"warnings", &r.warnings}} {
		of, ok := top[part.key].(map[string]any)
		if !ok && top[part.key] != nil {
			return r, fmt.Errorf("parse: %s is no object", part.key)
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
