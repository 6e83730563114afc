//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/producer"
)

// made are a folder of evidence and auditor bundles of it, by their paths.
type made struct{ folder, whole, part, trust, stranger string }

func produce(t *testing.T) made {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func(name string) (*cosign.Key, string) {
		ref, err := cosign.Generate(filepath.Join(dir, name))
		must(err)
		k, err := cosign.Open(t.Context(), ref, nil)
		must(err)
		return k, strings.TrimSuffix(ref, ".key") + ".pub"
	}
	k, trust := newKey("key")
	_, stranger := newKey("stranger")
	m := made{filepath.Join(dir, "evidence"), filepath.Join(dir, "whole.tar"), filepath.Join(dir, "part.tar"), trust, stranger}
	ctx := t.Context()
	w, err := producer.Open(ctx, m.folder, producer.Options{Signer: k, Kind: "admission", Mode: producer.Strict, Run: "run", Engine: evidence.Engine{Version: "test"}})
	must(err)
	pack, err := w.Object(strings.NewReader("policies"))
	must(err)
	active, err := w.Append(ctx, evidence.Record{Activation: &evidence.Activation{PolicySet: "sha256:0", Pack: pack, Mode: "deny", Unknown: "deny"}})
	must(err)
	for _, ns := range []string{"a", "b"} {
		in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Namespace: ns, Name: "x"}
		raw, err := evidence.Encode(in)
		must(err)
		_, err = w.Append(ctx, evidence.Record{Decision: &evidence.Decision{Event: ns, Source: "admission", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Namespace: ns, Name: "x"},
			Input: evidence.DigestOf(raw), Activation: active.Seq, PolicySet: "sha256:0", Results: []evidence.Result{{Policy: "a/b", Severity: "high", Verdict: "fail", Effect: "deny"}}}}, in)
		must(err)
	}
	_, err = w.Append(ctx, evidence.Record{Close: &evidence.Close{Reason: "done"}})
	must(err)
	must(w.Seal(ctx, evidence.Seal{PolicySet: "sha256:0", Pack: pack, Complete: true}, nil, k.Statement))
	must(w.Close(ctx, "done"))
	public, err := evidence.NewKey(k.Public())
	must(err)
	for name, filter := range map[string]evidence.Filter{m.whole: {}, m.part: {Namespace: "a"}} {
		f, err := os.Create(name)
		must(err)
		_, err = evidence.Export(ctx, os.DirFS(m.folder), f, &evidence.ExportOptions{Filter: filter, Key: public, Sign: k.Statement, Scratch: t.TempDir()})
		must(err)
		must(f.Close())
	}
	return m
}

// Only what verifies ends with 0, and each other end has its own code.
func TestExitCodes(t *testing.T) {
	m := produce(t)
	raw, err := os.ReadFile(m.whole)
	if err != nil {
		t.Fatal(err)
	}
	file := func(text []byte) string {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	altered := bytes.Clone(raw)
	altered[bytes.Index(altered, []byte(`"fail"`))+1] = 'F'
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"folder":              {[]string{m.folder}, 0, "signer    not established"},
		"folder, trusted":     {[]string{"--trust", m.trust, m.folder}, 0, "signer    sha256:"},
		"trust after it":      {[]string{m.folder, "--trust", m.trust, "--json"}, 0, `"established": true`},
		"a stranger's, after": {[]string{m.whole, "--trust", m.stranger}, 4, "key-untrusted"},
		"after --":            {[]string{"--json", "--", m.folder, "--trust"}, 1, ""},
		"a folder after --":   {[]string{"--trust", m.trust, "--", m.folder}, 0, "signer    sha256:"},
		"bundle":              {[]string{m.whole}, 0, "exporter  not established"},
		"bundle, trusted":     {[]string{"--trust", m.trust, m.whole}, 0, "exporter  sha256:"},
		"bundle as JSON":      {[]string{"--json", m.whole}, 0, `"leftOut": "nothing"`},
		"part":                {[]string{m.part}, 2, "left out  what was judged outside the namespace a"},
		"part as JSON":        {[]string{"--json", m.part}, 2, `"namespace": "a"`},
		"a stranger's key":    {[]string{"--trust", m.stranger, m.whole}, 4, "key-untrusted"},
		"altered":             {[]string{file(altered)}, 4, "NOT VERIFIED"},
		"a head kept":         {[]string{"--against", filepath.Join(m.folder, evidence.CheckpointFile), m.whole}, 0, "the log continues the checkpoint of 5 records you kept (--against 1)"},
		"a head of elsewhere": {[]string{"--against", filepath.Join(produce(t).folder, evidence.CheckpointFile), m.whole}, 4, "other-log"},
		"no head":             {[]string{"--against", m.trust, m.whole}, 1, ""},
		"an endless head":     {[]string{"--against", "/dev/zero", m.whole}, 1, ""},
		"endless trust":       {[]string{"--trust", "/dev/zero", m.whole}, 1, ""},
		"a large head":        {[]string{"--against", file(make([]byte, 1<<20+1)), m.whole}, 1, ""},
		"cut off":             {[]string{file(raw[:len(raw)-512])}, 4, "cut off or altered since)  [file-altered]"},
		"cut off, as JSON":    {[]string{"--json", file(raw[:len(raw)-512])}, 4, `"code": "file-altered"`},
		"a header altered":    {[]string{file(flipped(raw, 0))}, 4, "NOT VERIFIED"},
		"padding altered":     {[]string{file(flipped(raw, len(raw)-1))}, 4, "NOT VERIFIED"},
		"another tar":         {[]string{file(bytes.Replace(raw[:512], []byte("VERIFY.md"), []byte("VERIFY.xx"), 1))}, 1, ""},
		"empty":               {[]string{file(nil)}, 1, ""},
		"no bundle":           {[]string{file([]byte("no bundle"))}, 1, ""},
		"an empty folder":     {[]string{t.TempDir()}, 1, ""},
		"not there":           {[]string{filepath.Join(t.TempDir(), "none")}, 1, ""},
		"no trust":            {[]string{"--trust", file([]byte("no key")), m.whole}, 1, ""},
		"two, flags between":  {[]string{m.whole, "--json", m.folder}, 1, ""},
		"no such flag after":  {[]string{m.whole, "--check-claims=false"}, 1, ""},
		"no value after":      {[]string{m.whole, "--trust"}, 1, ""},
		"no such flag":        {[]string{"--check-claims=false", m.whole}, 1, ""},
		"two folders":         {[]string{m.whole, m.folder}, 1, ""},
		"nothing":             {nil, 1, ""},
		"version":             {[]string{"--version"}, 0, "proviso-verify "},
		"version of no flag":  {[]string{"version", m.whole}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			if code := run(c.args, &out, &complaints); code != c.code || !strings.Contains(out.String(), c.says) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s%s", code, c.code, c.says, &out, &complaints)
			}
			if c.code == 1 && (!strings.HasPrefix(complaints.String(), "proviso-verify: ") || out.Len() > 0) {
				t.Errorf("it says %q and %q", &out, &complaints)
			}
			if c.says != "" && slices.Contains(c.args, "--json") && !json.Valid(out.Bytes()) {
				t.Error("it is no JSON")
			}
		})
	}
}

func flipped(raw []byte, at int) []byte {
	raw = bytes.Clone(raw)
	raw[at] ^= 1
	return raw
}

type broken struct{ io.Writer }

func (broken) Write([]byte) (int, error) { panic("broken") }

// A panic is an error of the program: neither verified nor, as the runtime would have it, incomplete.
func TestPanic(t *testing.T) {
	m := produce(t)
	var complaints bytes.Buffer
	if code := run([]string{m.folder}, broken{}, &complaints); code != 1 || !strings.Contains(complaints.String(), "says nothing of the evidence: broken") {
		t.Errorf("exit code %d: %s", code, &complaints)
	}
}

// It stays small enough to be read, and to be sent.
func TestSize(t *testing.T) {
	name := filepath.Join(t.TempDir(), "proviso-verify")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(20 << 20); info.Size() >= limit {
		t.Errorf("it has %d bytes, want fewer than %d", info.Size(), limit)
	}
}
