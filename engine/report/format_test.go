package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"proviso.dev/proviso/engine/report"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", file, got)
	}
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		format, file string
		o            report.Options
	}{
		{"text", "text.golden", report.Options{}},
		{"text", "text-all-color-ascii-narrow.golden", report.Options{All: true, Color: true, ASCII: true, Width: 40}},
		{"json", "json.golden", report.Options{}},
		{"json", "json-all.golden", report.Options{All: true}},
		{"sarif", "sarif.golden", report.Options{Version: "1.2.3"}},
		{"junit", "junit.golden", report.Options{}},
		{"junit", "junit-all.golden", report.Options{All: true}},
		{"github", "github.golden", report.Options{}},
		{"graph", "graph.golden", report.Options{}},
		{"dot", "dot.golden", report.Options{}},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, ok := report.Lookup(c.format)
			if !ok {
				t.Fatalf("no format %s", c.format)
			}
			got := written(t, f, sample(t), c.o)
			if c.format == "sarif" { // is one line
				var b bytes.Buffer
				if err := json.Indent(&b, []byte(got), "", " "); err != nil {
					t.Fatal(err)
				}
				got = b.String()
			}
			golden(t, c.file, got)
		})
	}
}

func TestLookup(t *testing.T) {
	want := []string{"dot", "github", "graph", "json", "junit", "sarif", "text"}
	if got := report.Formats(); !slices.Equal(got, want) {
		t.Errorf("Formats() = %v, want %v", got, want)
	}
	if _, ok := report.Lookup("pdf"); ok {
		t.Error("Lookup(pdf) finds a format")
	}
}
