//go:build unix

package real

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"proviso.dev/proviso/evidence/cosign"
)

// anchored is a store that evidence is copied to, and who scans into folders of it.
type anchored struct {
	*s3server
	env []string
	key string
}

func anchors(t *testing.T, each func(t *testing.T, a *anchored)) {
	stores := []*s3server{gateway(t), minio(t)}
	t.Setenv("COSIGN_PASSWORD", "real")
	key, err := cosign.Generate(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) { each(t, &anchored{s, []string{"COSIGN_PASSWORD=real"}, key}) })
	}
}

// place is a bucket as the command line has it.
func (a *anchored) place(bucket string) string {
	return fmt.Sprintf("s3://%s/prod?endpoint=%s&region=%s", bucket, a.endpoint, region)
}

// scan scans into a folder, once more where there is one.
func (a *anchored) scan(t *testing.T, dir string) {
	t.Helper()
	sample, err := filepath.Abs(fixture)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, errs := proviso(t, a.env, "scan", "velero:"+sample, "--evidence", dir, "--key", a.key); code == 1 || code == 4 {
		t.Fatalf("scan: exit code %d\n%s", code, errs)
	}
}

// want runs the command and demands an exit code and texts in what it writes.
func (a *anchored) want(t *testing.T, code int, texts []string, args ...string) string {
	t.Helper()
	got, out, errs := proviso(t, a.env, append([]string{"evidence"}, args...)...)
	if got != code {
		t.Errorf("proviso evidence %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
	}
	for _, text := range texts {
		if !strings.Contains(out+errs, text) {
			t.Errorf("proviso evidence %s: does not say %q:\n%s%s", strings.Join(args, " "), text, out, errs)
		}
	}
	return out
}

func cloned(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// What is sealed lies in the bucket, locked, and is verified from there; what the bucket has tells an old copy of the folder, and
// another history, from the log.
func TestRealEvidenceCopy(t *testing.T) {
	anchors(t, func(t *testing.T, a *anchored) {
		const bucket = "evidence-copy"
		a.bucket(t, bucket, 1)
		to, dir := a.place(bucket), filepath.Join(t.TempDir(), "evidence")
		a.scan(t, dir)
		a.want(t, 1, []string{"there is no log of evidence"}, "verify", to)
		a.want(t, 4, []string{"[other-log]"}, "verify", dir, "--against", to)
		a.want(t, 0, []string{"copied seal 1", " 0 there already"}, "copy", dir, to, "--keep", "30d")
		a.want(t, 0, []string{"copied seal 1", "0 objects put, 0 locked for longer"}, "copy", dir, to, "--keep", "30d")
		a.want(t, 0, []string{"locked in COMPLIANCE mode, until " + time.Now().UTC().AddDate(0, 0, 30).Format("2006-01")}, "verify", to)
		if out := a.want(t, 0, nil, "copy", dir, to, "--keep", "40d"); strings.Contains(out, " 0 locked for longer") {
			t.Errorf("what was locked for less was not locked for longer: %s", out)
		}

		salt, err := os.ReadFile(filepath.Join(dir, "salt"))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range a.keys(t, bucket, "") {
			if bytes.Contains(a.get(t, bucket, key), salt) || strings.Contains(key, "/salt") || strings.Contains(key, "/lock/") || strings.Contains(key, ".state") {
				t.Errorf("%s was copied", key)
			}
		}

		old := cloned(t, dir)
		a.scan(t, dir)
		a.want(t, 0, []string{"verified"}, "verify", dir, "--against", to)
		a.want(t, 0, []string{"copied seal 2"}, "copy", dir, to, "--keep", "40d")
		a.want(t, 0, []string{"1 earlier seal: every file it lists is in the bucket"}, "verify", to)

		t.Run("locked for longer", func(t *testing.T) {
			const bucket = "evidence-longer"
			a.bucket(t, bucket, 1)
			to, dir, soon := a.place(bucket), filepath.Join(t.TempDir(), "evidence"), time.Now().Add(12*time.Second).Truncate(time.Second)
			a.scan(t, dir)
			a.want(t, 0, nil, "copy", dir, to, "--until", soon.UTC().Format(time.RFC3339))
			a.scan(t, dir)
			a.want(t, 0, []string{"copied seal 2"}, "copy", dir, to, "--keep", "2d")
			time.Sleep(time.Until(soon.Add(time.Second)))
			a.want(t, 0, []string{"1 earlier seal: every file it lists is in the bucket", "until " + time.Now().UTC().AddDate(0, 0, 2).Format("2006-01")}, "verify", to)
		})
		t.Run("rollback", func(t *testing.T) {
			a.want(t, 4, []string{"[rollback]", "nothing was copied"}, "copy", old, to, "--keep", "40d")
			a.want(t, 4, []string{"[rollback]"}, "verify", old, "--against", to)
		})
		t.Run("split view", func(t *testing.T) {
			before := a.keys(t, bucket, "")
			fork := cloned(t, old)
			a.scan(t, fork)
			a.want(t, 0, nil, "verify", fork)
			a.want(t, 4, []string{"[split-view]", "nothing was copied"}, "copy", fork, to, "--keep", "40d")
			a.want(t, 4, []string{"[split-view]"}, "verify", fork, "--against", to)
			if !slices.Equal(before, a.keys(t, bucket, "")) {
				t.Error("something was copied")
			}
		})
		t.Run("altered", func(t *testing.T) {
			altered := cloned(t, dir)
			name := filepath.Join(altered, "records", "0000000000.jsonl")
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			put(t, name, bytes.Replace(text, []byte(`"verdict":"fail"`), []byte(`"verdict":"pass"`), 1))
			a.want(t, 4, []string{"nothing was copied"}, "copy", altered, to, "--keep", "40d")
		})
		t.Run("set", func(t *testing.T) {
			other := filepath.Join(t.TempDir(), "other")
			a.scan(t, other)
			a.want(t, 0, nil, "copy", other, to, "--keep", "30d")
			if out := a.want(t, 0, nil, "verify", to); strings.Count(out, "\nlog       ") != 2 {
				t.Errorf("want two logs:\n%s", out)
			}
			a.want(t, 4, []string{"[rollback]"}, "verify", other, old, "--against", to)
		})
	})
}

// Nobody deletes what was copied or locks it for less; what can be done to it is told, and alters nothing that is read.
func TestRealEvidenceCopyAttacked(t *testing.T) {
	anchors(t, func(t *testing.T, a *anchored) {
		const bucket = "evidence-attacked"
		a.bucket(t, bucket, 1)
		to, dir := a.place(bucket), filepath.Join(t.TempDir(), "evidence")
		a.scan(t, dir)
		a.want(t, 0, nil, "copy", dir, to, "--keep", "30d")
		versions, _ := a.versions(t, bucket, "")
		if len(versions) < 10 {
			t.Fatalf("%d objects were copied", len(versions))
		}
		soon := time.Now().Add(time.Minute)
		for _, v := range versions {
			if _, err := a.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId, BypassGovernanceRetention: aws.Bool(true)}); err == nil {
				t.Errorf("%s was deleted", *v.Key)
			}
			if _, err := a.client.PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{Bucket: aws.String(bucket), Key: v.Key, VersionId: v.VersionId, BypassGovernanceRetention: aws.Bool(true),
				Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeCompliance, RetainUntilDate: &soon}}); err == nil {
				t.Errorf("%s was locked for less", *v.Key)
			}
		}
		a.want(t, 0, nil, "verify", to)
		named := func(part string) string {
			for _, v := range versions {
				if strings.Contains(*v.Key, part) {
					return *v.Key
				}
			}
			t.Fatalf("no object is named %s", part)
			return ""
		}

		if _, err := a.client.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: aws.String(named("/records/"))}); err != nil {
			t.Fatal(err)
		}
		a.want(t, 2, []string{"[hidden]"}, "verify", to)
		a.want(t, 0, []string{"0 objects put"}, "copy", dir, to, "--keep", "30d")

		// The same bytes once more are no attack; others are, and what is verified is still what was copied.
		tile := named("/log/tile/entries/")
		a.put(t, bucket, tile, a.get(t, bucket, tile))
		a.want(t, 2, nil, "verify", to)
		for _, part := range []string{"/log/tile/entries/", "/statement.sigstore.json"} {
			a.put(t, bucket, named(part), []byte("forged"))
		}
		out := a.want(t, 4, []string{"[overwritten]", "statement.sigstore.json: other bytes were put over it"}, "verify", to)
		if strings.Count(out, "  wrong ") != 2 {
			t.Errorf("what was put over the copy is more than told:\n%s", out)
		}

		// Things that no seal lists.
		id := strings.Split(*versions[0].Key, "/")[1]
		a.put(t, bucket, "prod/"+id+"/records/0000000001.jsonl/more", []byte("more"))
		a.want(t, 4, []string{"[file-unlisted]"}, "verify", to)
		a.put(t, bucket, "prod/"+id+"/seals/000007/statement.sigstore.json", []byte("more"))
		a.want(t, 4, []string{"[unfinished]"}, "verify", to)
		a.want(t, 4, []string{"[rollback]"}, "copy", dir, to, "--keep", "30d")
	})
}

// A bucket without object lock is refused; and what lies in one, byte for byte, is no anchor.
func TestRealEvidenceCopyUnlocked(t *testing.T) {
	anchors(t, func(t *testing.T, a *anchored) {
		const bucket, plain, versioned = "evidence-held", "evidence-plain", "evidence-versioned"
		a.bucket(t, bucket, 1)
		a.bucket(t, plain, 0)
		a.bucket(t, versioned, 0)
		a.version(t, versioned, types.BucketVersioningStatusEnabled)
		dir := filepath.Join(t.TempDir(), "evidence")
		a.scan(t, dir)
		for _, name := range []string{plain, versioned} {
			a.want(t, 1, []string{"--object-lock-enabled-for-bucket"}, "copy", dir, a.place(name), "--keep", "30d")
			if keys := a.keys(t, name, ""); len(keys) > 0 {
				t.Errorf("%s holds %v", name, keys)
			}
		}
		a.want(t, 1, []string{"nobody can undo it"}, "copy", dir, a.place(bucket))
		a.want(t, 1, []string{"which is past"}, "copy", dir, a.place(bucket), "--until", "2020-01-01")
		a.want(t, 0, nil, "copy", dir, a.place(bucket), "--keep", "30d")
		for _, key := range a.keys(t, bucket, "") {
			a.put(t, versioned, key, a.get(t, bucket, key))
		}
		a.want(t, 2, []string{"[unlocked]"}, "verify", a.place(versioned))

		// What somebody put before, unlocked, is compared and locked.
		a.bucket(t, "evidence-before", 1)
		for _, key := range a.keys(t, bucket, "")[:3] {
			a.put(t, "evidence-before", key, a.get(t, bucket, key))
		}
		a.want(t, 0, []string{" 3 locked for longer"}, "copy", dir, a.place("evidence-before"), "--keep", "30d")
		a.want(t, 0, nil, "verify", a.place("evidence-before"))
	})
}

// A copy that is killed leaves nothing that passes for one, and is taken up again; a server that answers an upload it has taken with an
// error is asked again, and nothing is there twice.
func TestRealEvidenceCopyCutOff(t *testing.T) {
	anchors(t, func(t *testing.T, a *anchored) {
		dir := filepath.Join(t.TempDir(), "evidence")
		a.scan(t, dir)
		once := func(t *testing.T, bucket string) {
			t.Helper()
			seen := map[string]bool{}
			versions, _ := a.versions(t, bucket, "")
			for _, v := range versions {
				if seen[*v.Key] {
					t.Errorf("%s is there twice", *v.Key)
				}
				seen[*v.Key] = true
			}
		}
		for _, after := range []int64{1, 7, 15} {
			bucket := fmt.Sprintf("evidence-killed-%d", after)
			a.bucket(t, bucket, 1)
			var puts atomic.Int64
			var reached sync.Once
			held := make(chan struct{})
			proxy, address := newFaulty(t, a.endpoint)
			proxy.fault, proxy.proxy.ErrorLog = slowDown, log.New(io.Discard, "", 0)
			proxy.pick = func(r *http.Request) bool {
				if r.Method == http.MethodPut && puts.Add(1) > after {
					reached.Do(func() { close(held) })
					_, _ = io.Copy(io.Discard, r.Body) // or nobody sees that the client is gone
					<-r.Context().Done()
				}
				return false
			}
			bin, err := built()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(bin, "evidence", "copy", dir, fmt.Sprintf("s3://%s/prod?endpoint=%s&region=%s", bucket, address, region), "--keep", "30d")
			cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+storeKey, "AWS_SECRET_ACCESS_KEY="+storeSecret)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-held:
			case <-time.After(time.Minute):
				t.Error("the copy did not get so far")
			}
			until(t, time.Minute, "what was on its way", func(ctx context.Context) error {
				if n := len(a.keys(t, bucket, "")); int64(n) < after {
					return fmt.Errorf("%d objects, want %d", n, after)
				}
				return nil
			})
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			code, out, errs := proviso(t, a.env, "evidence", "verify", a.place(bucket))
			if code != 1 && code != 2 || code == 2 && !strings.Contains(out, "[unfinished]") {
				t.Errorf("cut off after %d objects: exit code %d\n%s%s", after, code, out, errs)
			}
			a.want(t, 0, []string{fmt.Sprintf(" %d there already", after)}, "copy", dir, a.place(bucket), "--keep", "30d")
			a.want(t, 0, nil, "verify", a.place(bucket))
			once(t, bucket)
		}

		a.bucket(t, "evidence-lost", 1)
		proxy, address := newFaulty(t, a.endpoint)
		proxy.fault, proxy.times = slowDown, 6
		proxy.pick = func(r *http.Request) bool { return r.Method == http.MethodPut }
		a.want(t, 0, []string{"copied seal 1"}, "copy", dir, fmt.Sprintf("s3://evidence-lost/prod?endpoint=%s&region=%s", address, region), "--keep", "30d")
		a.want(t, 0, nil, "verify", a.place("evidence-lost"))
		once(t, "evidence-lost")
	})
}

// A scan that is told so copies what it sealed.
func TestRealScanCopies(t *testing.T) {
	anchors(t, func(t *testing.T, a *anchored) {
		a.bucket(t, "evidence-scanned", 1)
		sample, err := filepath.Abs(fixture)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"scan", "velero:" + sample, "--key", a.key, "--evidence", filepath.Join(t.TempDir(), "evidence")}
		plain, _, _ := proviso(t, a.env, args...)
		code, _, errs := proviso(t, a.env, append(args, "--copy", a.place("evidence-scanned"), "--keep", "30d")...)
		if code != plain || !strings.Contains(errs, "copied seal 2") {
			t.Errorf("exit code %d, want %d\n%s", code, plain, errs)
		}
		a.want(t, 0, nil, "verify", a.place("evidence-scanned"))
	})
}
