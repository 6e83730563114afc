package cloud

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/exported"
)

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// isRepository reports whether a file is the format file of a kopia or a restic repository.
func isRepository(path string) bool {
	switch filepath.Base(path) {
	case "kopia.repository", "kopia.repository.f":
		return true
	case "config":
		info, err := os.Stat(filepath.Join(filepath.Dir(path), "keys"))
		return err == nil && info.IsDir()
	}
	return false
}

// resticOverhead is the nonce and the code that restic puts around what it encrypts, in bytes.
const resticOverhead = 16 + 16

// repository reads a format file. The parts of it that are encrypted, or could open what is, are not looked at.
func (g *gathering) repository(f *exported.File) {
	name := filepath.Dir(f.Path)
	fields := map[string]any{"apiVersion": APIVersion, "kind": "RepositoryFormat", "metadata": map[string]any{"name": name}}
	sub := &engine.Subject{APIVersion: APIVersion, Kind: "RepositoryFormat", Name: name, Object: fields,
		Origin: engine.Origin{Source: f.Source, Position: engine.Position{File: f.Path}}}
	if filepath.Base(f.Path) == "config" {
		restic(f, fields)
	} else if err := kopia(f, sub); err != nil {
		g.fail(err)
		return
	}
	g.pending = append(g.pending, func() (*engine.Subject, error) { return sub, nil })
}

func restic(f *exported.File, fields map[string]any) {
	fields["tool"] = "restic"
	_, err := decode.One(bytes.NewReader(f.Data), f.Path, decode.Limits{Bytes: 1 << 20})
	switch {
	case len(f.Data) <= resticOverhead:
		fields["problem"] = "the config is too short to be one"
	case err == nil:
		fields["problem"] = "the config can be read without a key"
		fields["encryption"] = "none"
	default:
		fields["encryption"] = "AES-256-CTR-Poly1305"
	}
}

func kopia(f *exported.File, sub *engine.Subject) error {
	fields := sub.Object
	fields["tool"] = "kopia"
	for d, err := range f.Documents() {
		if err != nil {
			return err
		}
		m, ok := d.Value.(map[string]any)
		if !ok {
			break
		}
		o, marks := exported.Read(m), exported.Marks{}
		for key, field := range map[string]string{"encryption": "encryption", "keyAlgo": "algorithm", "uniqueID": "uniqueID"} {
			if v, ok := o.Text(key); ok {
				fields[field] = v
				marks.Set(field, d, o.At(key))
			}
		}
		switch tool, _ := o.Text("tool"); {
		case len(o.Problems()) > 0:
			return d.Broken(o.Problems()[0])
		case fields["encryption"] == nil:
			fields["problem"] = "the format names no encryption"
		case !o.Has("encryptedBlockFormat"):
			fields["problem"] = "the format of its blocks is not encrypted, or not there"
		case tool == "":
			fields["problem"] = "the format names no tool"
		}
		sub.Origin = marks.Origin(d, nil)
		return nil
	}
	fields["problem"] = "the format is no object"
	return nil
}
