//go:build unix

package real

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// canaries are what Secrets hold in the clusters and backups here, and the stores' key. Nothing Proviso writes may hold one, in no encoding.
var canaries = []string{"canary-secret-7c41e9", "canary-token-0b9d52", storeSecret}

// found is what one scan answered.
type found struct {
	code      int
	raw, errs string
	Decisions []struct {
		Policy     struct{ ID string }
		Subject    struct{ Kind, Namespace, Name string }
		Verdict    string
		Violations []struct{ Message, Path string }
		Reason     string
	}
	Unread   []struct{ Source, Error string }
	Complete bool
	Summary  map[string]int
}

// proviso runs the command under test and searches what it wrote for secrets.
func proviso(t testing.TB, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=" + storeKey, "AWS_SECRET_ACCESS_KEY=" + storeSecret}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 0) {
		t.Fatalf("proviso %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	searchForSecrets(t, "standard output", out.Bytes())
	searchForSecrets(t, "standard error", errs.Bytes())
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		searchForSecrets(t, path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func searchForSecrets(t testing.TB, where string, data []byte) {
	t.Helper()
	for _, canary := range canaries {
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))} {
			if i := bytes.Index(data, []byte(form)); i >= 0 {
				t.Errorf("%s holds the secret %s: …%s…", where, canary, data[max(0, i-80):i])
			}
		}
	}
}

// scan is the report on sources, passes too.
func scan(t testing.TB, env []string, sources ...string) *found {
	t.Helper()
	code, out, errs := proviso(t, env, append([]string{"scan", "--all", "-o", "json"}, sources...)...)
	f := &found{code: code, raw: out, errs: errs}
	if err := json.Unmarshal([]byte(out), f); err != nil {
		t.Fatalf("scan %s: exit code %d, and no report: %v\n%s", strings.Join(sources, " "), code, err, errs)
	}
	return f
}

// policy is the id of the policy with a number of the catalogue.
func policy(t testing.TB, ref string) string {
	t.Helper()
	files, err := filepath.Glob("../../policies/*/*/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(strings.Split(string(text), "\n"), "ref: "+ref) {
			dir := filepath.Dir(file)
			return filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
		}
	}
	t.Fatalf("no policy has the number %s", ref)
	return ""
}

// verdicts are what a policy found on the subjects of a kind; name may be empty for all of them.
func (f *found) verdicts(t testing.TB, ref, kind, name string) []string {
	t.Helper()
	id := policy(t, ref)
	var all []string
	for _, d := range f.Decisions {
		if d.Policy.ID == id && d.Subject.Kind == kind && (name == "" || d.Subject.Name == name) {
			all = append(all, d.Verdict)
		}
	}
	return all
}

// want demands that a policy has judged subjects of a kind, and that its worst verdict is the one given.
func (f *found) want(t testing.TB, verdict, ref, kind, name string) {
	t.Helper()
	all, worst := f.verdicts(t, ref, kind, name), "not judged"
	for _, v := range []string{"fail", "unknown", "pass", "notApplicable"} {
		if slices.Contains(all, v) {
			worst = v
			break
		}
	}
	if worst == verdict {
		return
	}
	t.Errorf("%s (%s) on %s %s: %s, want %s", ref, policy(t, ref), kind, name, worst, verdict)
	for _, d := range f.Decisions {
		if d.Policy.ID == policy(t, ref) && d.Subject.Kind == kind && (name == "" || d.Subject.Name == name) {
			t.Logf("%s %s: %s %s %v", d.Subject.Kind, d.Subject.Name, d.Verdict, d.Reason, d.Violations)
		}
	}
	for _, u := range f.Unread {
		t.Logf("unread %s: %s", u.Source, u.Error)
	}
	if len(f.errs) > 0 {
		t.Logf("standard error: %s", f.errs)
	}
}
