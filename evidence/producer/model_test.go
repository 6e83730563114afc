//go:build unix

package producer_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// Whatever is appended, closed, killed and opened again: what was acknowledged is there, in order, and the folder verifies.
func TestModel(t *testing.T) {
	// Each run waits for the disk some hundred times.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		flag.Set("rapid.checks", "10")
	}
	k := newKey(t)
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		var model []string // the digests of the records, by seq
		run := 0
		var w *producer.Writer
		begin := func() {
			run++
			o := serving(k, rapid.SampledFrom([]string{producer.Strict, producer.Batch}).Draw(r, "mode"))
			o.Run = fmt.Sprint("run ", run)
			var err error
			if w, err = producer.Open(t.Context(), dir, o); err != nil {
				r.Fatal(err)
			}
			model = append(model, "")
		}
		note := func(a producer.Appended, err error) {
			if err != nil {
				r.Fatal(err)
			}
			if a.Seq != uint64(len(model)) {
				r.Fatalf("record %d: want %d", a.Seq, len(model))
			}
			model = append(model, string(a.Digest))
		}
		begin()
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		seals := 0
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				note(w.Append(t.Context(), evidence.Record{Change: &evidence.Change{What: text.Draw(r, "what"), Detail: text.Draw(r, "detail")}}, text.Draw(r, "kept")))
			},
			"hole": func(r *rapid.T) {
				note(w.Append(t.Context(), evidence.Record{Hole: &evidence.Hole{Kind: text.Draw(r, "kind")}}))
			},
			"object": func(r *rapid.T) {
				b := rapid.SliceOf(rapid.Byte()).Draw(r, "object")
				if d, err := w.Object(bytes.NewReader(b)); err != nil || d != evidence.DigestOf(b) {
					r.Fatal(d, err)
				}
			},
			"checkpoint": func(r *rapid.T) {
				raw, err := w.Checkpoint(t.Context())
				if err != nil {
					r.Fatal(err)
				}
				if c, err := evidence.OpenCheckpoint(raw, w.Key(), w.Origin()); err != nil || c.Size != uint64(len(model)) {
					r.Fatalf("%+v %v: want %d", c, err, len(model))
				}
			},
			"seal": func(r *rapid.T) {
				if err := w.Seal(t.Context(), evidence.Seal{}, nil, wrapped(k)); err != nil {
					r.Fatal(err)
				}
				seals++
			},
			"close": func(r *rapid.T) {
				if err := w.Close(t.Context(), "done"); err != nil {
					r.Fatal(err)
				}
				model = append(model, "")
				begin()
			},
			"kill": func(r *rapid.T) {
				// In batch mode what is acknowledged is durable only a little later.
				if _, err := w.Checkpoint(t.Context()); err != nil {
					r.Fatal(err)
				}
				dead := killed(t, dir)
				if err := w.Close(t.Context(), "done"); err != nil {
					r.Fatal(err)
				}
				dir = dead
				begin()
			},
		})
		if err := w.Close(t.Context(), "done"); err != nil {
			r.Fatal(err)
		}
		model = append(model, "")
		_, lines := records(t, dir)
		var got []string
		for i, line := range lines {
			got = append(got, string(evidence.DigestOf([]byte(line))))
			if i < len(model) && model[i] == "" {
				model[i] = got[i]
			}
		}
		if !slices.Equal(got, model) {
			r.Fatalf("the records are not those that were acknowledged: %d and %d", len(got), len(model))
		}
		v, err := evidence.Verify(os.DirFS(dir), evidence.Options{})
		if err != nil {
			r.Fatal(err)
		}
		if len(v.Problems) > 0 || v.Records != uint64(len(model)) || v.Seals != seals {
			r.Fatalf("verify: %d records, %d seals: %v", v.Records, v.Seals, v.Problems)
		}
	})
}
