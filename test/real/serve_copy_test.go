//go:build unix

package real

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A replica copies what it seals into a bucket under object lock. While the bucket does not answer, requests are answered all
// the same, and what was not copied is with the next run.
func TestRealServeCopiesEvidence(t *testing.T) {
	a, store := recordedCluster(t), minio(t)
	const name, bucket = "copied", "evidence-of-serve"
	store.bucket(t, bucket, 1)
	a.mode(t, "strict")
	b := balance(t, 0)
	dir, silent := filepath.Join(scratch, name+".evidence"), &anchored{s3server: newS3("silent", "127.0.0.1:1")}
	bucketOf := func(s *anchored) []string { return []string{"--copy", s.place(bucket), "--keep", "30d"} }
	a.hang(t, name, b.port(), append([]string{"--evidence", "/var/lib/proviso/evidence", "--key", "/etc/proviso-key/cosign.key"}, bucketOf(silent)...),
		"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret", "StatefulSet", "ValidatingWebhookConfiguration")
	if out := a.kubectl(t, "", "get", "statefulset", name, "-n", "proviso-system", "-o", "yaml"); !strings.Contains(out, "--copy="+silent.place(bucket)) || !strings.Contains(out, "--keep=30d") {
		t.Errorf("the pods are not told where to copy to:\n%s", out)
	}
	a.account = a.as(t, name)
	serve := func(to *anchored) *replica {
		t.Helper()
		r := a.serve(t, name, port(t), append(a.flags(name, dir), bucketOf(to)...)...)
		t.Cleanup(func() { b.end(r.port, syscall.SIGTERM) })
		b.put(r)
		until(t, 30*time.Second, "the API server to ask", func(context.Context) error {
			if denied, err := a.through(t)(0, true); !denied {
				return fmt.Errorf("not denied: %w", err)
			}
			return nil
		})
		return r
	}
	const copied = "proviso_evidence_copied_timestamp_seconds "

	first := serve(silent)
	until(t, time.Minute, "the bucket's silence to be told", func(context.Context) error {
		text, err := os.ReadFile(first.log)
		if err == nil && !strings.Contains(string(text), `"error":"copy evidence: `) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	a.denied(t, "us-east-1", bsl("abroad", "us-east-1", ""), "create", "-f", "-")
	if at := first.number(t, copied); at != 0 {
		t.Errorf("it was copied at %v", at)
	}
	b.end(first.port, syscall.SIGTERM)
	if first.err == nil {
		t.Error("it ended as if its evidence had been copied")
	}

	kept := &anchored{s3server: store}
	second := serve(kept)
	until(t, time.Minute, "what the first run left to be copied", func(context.Context) error {
		if second.number(t, copied) == 0 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	kept.want(t, 0, []string{"locked in COMPLIANCE mode"}, "verify", kept.place(bucket))
	b.end(second.port, syscall.SIGTERM)
	if second.err != nil {
		t.Errorf("it ended with %v", second.err)
	}
	kept.want(t, 0, []string{"1 earlier seal: every file it lists is in the bucket"}, "verify", kept.place(bucket), "--trust", filepath.Join(filepath.Dir(a.key), "cosign.pub"))
	kept.want(t, 0, nil, "verify", dir, "--against", kept.place(bucket))
}
