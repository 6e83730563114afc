//go:build unix

package evidence_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"proviso.dev/proviso/evidence"
)

// blocks are the commands of VERIFY.md.
func blocks(text []byte) (all []string) {
	for _, m := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllSubmatch(text, -1) {
		all = append(all, string(m[1]))
	}
	return all
}

// Each block of VERIFY.md ends with a word on what it found, in a shell that ends at the first failure and in one that goes on;
// and says no where something was altered, though the tool it runs says yes.
func TestInstructionsSayWhatTheyFind(t *testing.T) {
	for _, name := range []string{"openssl", "sha256sum"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip("needs " + name)
		}
	}
	f, _ := export(t)
	reformat := func(f folder) {
		f.edit(evidence.ManifestFile, func(raw []byte) []byte {
			var b bytes.Buffer
			if err := json.Indent(&b, raw, "", " "); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		})
	}
	spaced := func(f folder) { // the one entry that is reformatted is that of the file that was altered
		f.edit(evidence.ManifestFile, func(raw []byte) []byte {
			return bytes.Replace(raw, []byte(`{"path":"summary.html"`), []byte(`{"path": "summary.html"`), 1)
		})
		f.edit(evidence.SummaryHTML, func(raw []byte) []byte { return bytes.Replace(raw, []byte("fail"), []byte("pass"), 1) })
	}
	page := func(f folder) {
		f.edit(evidence.SummaryHTML, func(raw []byte) []byte { return bytes.Replace(raw, []byte("fail"), []byte("pass"), 1) })
	}
	for name, c := range map[string]struct {
		block  string // a part of it
		tools  string // what cosign and fsck do
		change func(folder)
		says   string
	}{
		"the manifest":                 {"DSSEv1", "exit 1", func(folder) {}, "manifest.json is what was signed\n"},
		"the manifest, reformatted":    {"DSSEv1", "exit 1", reformat, "NOT VERIFIED: manifest.json is not what the key in manifest.pub signed\n"},
		"the manifest, an entry":       {"DSSEv1", "exit 1", spaced, "NOT VERIFIED: manifest.json is not what the key in manifest.pub signed\n"},
		"the files":                    {"sha256sum", "exit 1", func(folder) {}, "files are what manifest.json says\n"},
		"the files, reformatted":       {"sha256sum", "exit 1", reformat, "and not all are what it says\n"},
		"the files, an entry":          {"sha256sum", "exit 1", spaced, "and not all are what it says\n"},
		"the files, one altered":       {"sha256sum", "exit 1", page, "and not all are what it says\n"},
		"the files, one more":          {"sha256sum", "exit 1", func(f folder) { f.put("more", nil) }, "and not all are what it says\n"},
		"the files, one less":          {"sha256sum", "exit 1", func(f folder) { delete(f, evidence.GapsFile) }, "and not all are what it says\n"},
		"the head":                     {"log/checkpoint", "exit 1", func(folder) {}, "the head of the log is what was signed\n"},
		"fsck":                         {"fsck", "echo \"Successfully fsck'd log\"", func(folder) {}, "the log is what its head says\n"},
		"fsck, which ends with 0":      {"fsck", "echo fsck failed", func(folder) {}, "NOT VERIFIED: fsck does not say that the log is what its head says\n"},
		"cosign, of the manifest":      {"manifest.sigstore.json --new", "true", func(folder) {}, "manifest.json is what was signed\n"},
		"cosign, refused":              {"manifest.sigstore.json --new", "exit 1", func(folder) {}, "NOT VERIFIED: manifest.json is not what the key in manifest.pub signed\n"},
		"cosign, of seals":             {"evidence/seals", "true", func(folder) {}, "every seal is what was signed\n"},
		"cosign, of seals, refused":    {"evidence/seals", "exit 1", func(folder) {}, "NOT VERIFIED: evidence/seals/000001\n"},
		"cosign, of records":           {"bundles/", "true", func(folder) {}, "every record is what was signed, about what was judged\n"},
		"cosign, of records, one of 2": {"bundles/", `case "$*" in *0000000004.input*) exit 1;; esac`, func(folder) {}, "NOT VERIFIED: 0000000004\n"},
	} {
		t.Run(name, func(t *testing.T) {
			twin := f.clone()
			c.change(twin)
			dir, tools := filepath.Join(t.TempDir(), "bundle"), t.TempDir()
			if err := os.CopyFS(dir, fstest.MapFS(twin)); err != nil {
				t.Fatal(err)
			}
			for _, tool := range []string{"cosign", "fsck"} {
				if err := os.WriteFile(filepath.Join(tools, tool), []byte("#!/bin/sh\n"+c.tools+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			all := blocks(f[evidence.InstructionsFile].Data)
			at := slices.IndexFunc(all, func(b string) bool { return strings.Contains(b, c.block) })
			if at < 0 {
				t.Fatalf("no block has %q", c.block)
			}
			for _, flags := range [][]string{{"-e", "-c", all[at]}, {"-c", all[at]}} {
				cmd := exec.CommandContext(t.Context(), "sh", flags...)
				cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"), "TMPDIR="+t.TempDir())
				out, err := cmd.CombinedOutput()
				if fine := !strings.Contains(c.says, "NOT VERIFIED") && !strings.Contains(c.says, "not all"); (err == nil) != fine || !strings.HasSuffix(string(out), c.says) || strings.Contains(string(out), "NOT VERIFIED") == fine {
					t.Errorf("sh %s: %v: it says %q, want %q", flags[0], err, out, c.says)
				}
			}
		})
	}
}

// What a bundle does not hold is not spoken of, and what it holds is.
func TestInstructionsOfWhatIsThere(t *testing.T) {
	dir, k := t.TempDir(), newKey(t)
	scanInto(t, dir, k, "cluster-a", 4)
	for name, c := range map[string]struct {
		o         evidence.ExportOptions
		has, lack []string
	}{
		"nothing on its own": {evidence.ExportOptions{}, []string{"replay", "cmd/proviso@"}, []string{"bundles/", "proofs/"}},
		"two on their own":   {evidence.ExportOptions{Records: []uint64{4, 5}}, []string{"2 of the records", "for seq in 0000000004 0000000005; do", "proofs/", ".input.json"}, []string{"--check-claims=false"}},
		"without what was judged": {evidence.ExportOptions{Records: []uint64{4}, Filter: evidence.Filter{WithoutInputs: true}}, []string{"1 of the records", "for seq in 0000000004; do", "--check-claims=false", "proofs/"},
			[]string{"replay", "cmd/proviso@", ".input.json"}},
	} {
		text := string(unpacked(t, exported(t, os.DirFS(dir), k, c.o))[evidence.InstructionsFile].Data)
		for _, has := range append(c.has, "cmd/proviso-verify@VERSION", "github.com/sigstore/cosign", "tessera/cmd/fsck@VERSION") {
			if !strings.Contains(text, has) {
				t.Errorf("%s: VERIFY.md does not speak of %q", name, has)
			}
		}
		for _, lack := range append(c.lack, "{{", "<!--") {
			if strings.Contains(text, lack) {
				t.Errorf("%s: VERIFY.md speaks of %q", name, lack)
			}
		}
	}
}
