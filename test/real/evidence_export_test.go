//go:build unix

package real

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"proviso.dev/proviso/evidence"
)

// toolbox is a folder for PATH in which one cosign, fsck and our programs are called as VERIFY.md calls them.
func toolbox(t *testing.T, cosignOf string) string {
	t.Helper()
	dir := t.TempDir()
	verifier := filepath.Join(dir, "proviso-verify")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", verifier, "../../cmd/proviso-verify").CombinedOutput(); err != nil {
		t.Fatalf("build proviso-verify: %v: %s", err, out)
	}
	ours, err := built()
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"cosign": tool(t, cosignOf), "fsck": tool(t, "fsck"), "proviso": ours} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// auditorBundle is a scan of two documents, exported with two records signed on their own, as an auditor unpacks it with tar.
func auditorBundle(t *testing.T, ref string) string {
	t.Helper()
	dir := t.TempDir()
	manifests := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(manifests, "all.yaml"), []byte("apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata: {name: a, namespace: velero}\nspec: {provider: aws, config: {region: us-east-1}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b, namespace: shop}\n"))
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	from, tar := filepath.Join(dir, "evidence"), filepath.Join(dir, "bundle.tar")
	scan := exec.CommandContext(t.Context(), bin, "scan", manifests, "--evidence", from, "--key", ref)
	if out, err := scan.CombinedOutput(); scan.ProcessState.ExitCode() != 3 {
		t.Fatalf("scan: %v: %s", err, out)
	}
	run(t, os.Environ(), "", bin, "evidence", "export", from, "-o", tar, "--key", ref, "--record", "3", "--record", "4")
	to := filepath.Join(dir, "unpacked")
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	run(t, os.Environ(), "", "tar", "-xf", tar, "-C", to)
	return to
}

var shellBlocks = regexp.MustCompile("(?ms)^## ([^\n]+)\n|^```sh\n(.*?)^```$")

// steps are the commands of VERIFY.md under their headings, literally.
func steps(t *testing.T, dir string) (names []string, scripts map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, evidence.InstructionsFile))
	if err != nil {
		t.Fatal(err)
	}
	scripts = map[string]string{}
	heading, n := "", 0
	for _, m := range shellBlocks.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			heading, n = m[1], 0
			continue
		}
		n++
		name := fmt.Sprintf("%s %d", heading, n)
		names, scripts[name] = append(names, name), m[2]
	}
	return names, scripts
}

// follow runs one step in a folder.
func follow(t *testing.T, dir, tools, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), offline(t)...), "PATH="+tools+string(filepath.ListSeparator)+os.Getenv("PATH"), "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// VERIFY.md is true as it is written: each command says yes to the bundle, and no to its twin in which something is altered
// that the command is there for.
func TestRealExportInstructions(t *testing.T) {
	all := keys(t)
	flip := func(name, old, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%s has no %q", name, old)
			}
			put(t, path, bytes.Replace(text, []byte(old), []byte(to), 1))
		}
	}
	signature := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(text, []byte(`"payload":"`)) + len(`"payload":"`) + 40
			text[at] ^= 1
			put(t, path, text)
		}
	}
	twins := map[string]map[string]func(t *testing.T, dir string){
		"Everything at once 1": {"a record": flip("evidence/records/0000000000.jsonl", "BackupStorageLocation", "BackupStorageLocatioN"), "the page": flip(evidence.SummaryHTML, "fail", "pass"),
			"a file more": func(t *testing.T, dir string) { put(t, filepath.Join(dir, "more"), nil) }},
		"Judge again 1":                       {"a record": flip("evidence/records/0000000000.jsonl", `"fail"`, `"pass"`), "an input": flip("evidence/inputs/0000000000.jsonl", "us-east-1", "us-east-2")},
		"The manifest, with openssl 1":        {"the manifest": flip(evidence.ManifestFile, `"leftOut":0`, `"leftOut":1`), "the statement": signature(evidence.ManifestStatement)},
		"The manifest, with openssl 2":        {"a record": flip("evidence/records/0000000000.jsonl", `"fail"`, `"pass"`), "a file less": func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, evidence.GapsFile)) }},
		"The head of the log, with openssl 1": {"its size": flip("evidence/log/checkpoint", "\n6\n", "\n5\n")},
		"The log, with fsck 1":                {"an entry": flip("evidence/log/tile/entries/000.p/6", "\x00\x20", "\x00\x1f"), "the head": flip("evidence/log/checkpoint", "\n6\n", "\n5\n")},
		"The signatures, with cosign 1":       {"the manifest": flip(evidence.ManifestFile, `"leftOut":0`, `"leftOut":1`), "the statement": signature(evidence.ManifestStatement)},
		"The signatures, with cosign 2":       {"the list of files": flip("evidence/seals/000001/files.json", "salt", "sal7"), "the statement": signature("evidence/seals/000001/statement.sigstore.json")},
		"The signatures, with cosign 3":       {"what was judged": flip("bundles/0000000004.input.json", "shop", "shot"), "the record": signature("bundles/0000000003.sigstore.json")},
		"A sample 1":                          {},
	}
	for _, from := range []string{"ours", "Ed25519"} {
		dir := auditorBundle(t, all[from])
		names, scripts := steps(t, dir)
		if len(names) != len(twins) {
			t.Errorf("the steps are %q", names)
		}
		for _, by := range []string{"cosign2", "cosign3"} {
			tools := toolbox(t, by)
			for _, name := range names {
				if by == "cosign3" && !strings.Contains(name, "cosign") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s", from, by, name), func(t *testing.T) {
					changes, known := twins[name]
					if !known {
						t.Fatal("it has no altered twin")
					}
					if out, err := follow(t, dir, tools, scripts[name]); err != nil {
						t.Errorf("refused: %v\n%s\n%s", err, scripts[name], out)
					}
					for what, change := range changes {
						twin := filepath.Join(t.TempDir(), "twin")
						if err := os.CopyFS(twin, os.DirFS(dir)); err != nil {
							t.Fatal(err)
						}
						change(t, twin)
						if out, err := follow(t, twin, tools, scripts[name]); err == nil {
							t.Errorf("with %s altered it says:\n%s", what, out)
						}
					}
				})
			}
		}
		proofs(t, dir)
		// The checks wrote nothing into the folder.
		if out, err := follow(t, dir, toolbox(t, "cosign2"), scripts["Everything at once 1"]); err != nil {
			t.Errorf("after all checks: %v\n%s", err, out)
		}
	}
}

// proofs reads the proofs as c2sp.org/tlog-proof has them, without our reader.
func proofs(t *testing.T, dir string) {
	t.Helper()
	records, err := os.ReadFile(filepath.Join(dir, "evidence/records/0000000000.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, seq := range []int{3, 4} {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("proofs/%010d.tlog-proof", seq)))
		if err != nil {
			t.Fatal(err)
		}
		head, note, _ := strings.Cut(string(text), "\n\n")
		lines := strings.Split(head, "\n")
		if lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprint("index ", seq) {
			t.Fatalf("the proof begins with %q", lines[:2])
		}
		var proof tlog.RecordProof
		for _, line := range lines[2:] {
			h, err := tlog.ParseHash(line)
			if err != nil {
				t.Fatal(err)
			}
			proof = append(proof, h)
		}
		checkpoint := strings.Split(note, "\n")
		root, err := tlog.ParseHash(checkpoint[2])
		if err != nil {
			t.Fatal(err)
		}
		line := bytes.Split(records, []byte("\n"))[seq]
		leaf := sha256.Sum256(line)
		if err := tlog.CheckRecord(proof, 6, root, int64(seq), tlog.RecordHash(leaf[:])); err != nil {
			t.Errorf("the proof of record %d: %v", seq, err)
		}
	}
}
