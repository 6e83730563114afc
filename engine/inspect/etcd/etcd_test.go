package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"proviso.dev/proviso/engine"
)

const canary = "c4n4ry-in-a-secret"

// TestMain lets the test binary be the child, and the children that nobody wants.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	switch os.Args[1] {
	case Verb:
		os.Exit(Child(os.Args[2:], os.Stdin, os.Stdout))
	case "__crash":
		panic(canary)
	case "__silent":
		os.Exit(0)
	case "__garble":
		fmt.Println(`{"revision": "` + canary + `"}`)
		os.Exit(0)
	case "__twice":
		fmt.Println(`{"revision":1,"keys":1}{"revision":2,"keys":2}`)
		os.Exit(0)
	case "__lie":
		fmt.Println(`{"revision":1,"keys":1,"secrets":{"total":1,"encrypted":2,"providers":{"kms":2}}}`)
		os.Exit(0)
	case "__leak":
		fmt.Println(`{"revision":9,"keys":9,"secrets":{"total":1,"encrypted":1,"providers":{"` + canary + ` X":1}}}`)
		os.Exit(0)
	case "__flood":
		for {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
				os.Exit(0)
			}
		}
	case "__swap":
		os.Chtimes(os.Args[2], time.Unix(1, 0), time.Unix(1, 0))
		fmt.Println(`{"revision":1,"keys":1,"consistent":true}`)
		os.Exit(0)
	case "__hang":
		io.Copy(io.Discard, os.Stdin)
	case "__greedy":
		if limit(256<<20) != nil {
			os.Exit(0)
		}
		var all [][]byte
		for {
			all = append(all, bytes.Repeat([]byte{1}, 16<<20))
			if len(all) > 64 {
				fmt.Println(`{"revision":1,"keys":1}`)
				os.Exit(0)
			}
		}
	}
	os.Exit(m.Run())
}

var cluster = []entry{
	{"/registry/namespaces/default", []byte("k8s\x00ns")},
	{"/registry/secrets/default/plain", []byte("k8s\x00" + canary)},
	{"/registry/secrets/default/kms", []byte("k8s:enc:kms:v2:vault:" + canary)},
	{"/registry/secrets/default/gone", []byte("k8s\x00" + canary)},
	{"/registry/secrets/default/was-plain", []byte("k8s\x00" + canary)},
	{"/registry/secrets/default/was-plain", []byte("k8s:enc:aescbc:v1:k1:" + canary)},
	{"/registry/secrets/default/gone", nil},
	{"/registry/example.com/secrets/default/custom", []byte("k8s\x00")},
	{"/registry/pods/default/p", []byte("k8s\x00pod")},
	{"compact_rev_key", []byte("7")},
}

func inspect(t testing.TB, f *File) (*engine.Subject, *engine.Unread) {
	t.Helper()
	var sub *engine.Subject
	var unread *engine.Unread
	for s, err := range f.Inspect(context.Background()) {
		switch {
		case s != nil && sub == nil:
			sub = s
		case err != nil && unread == nil && errors.As(err, &unread):
		default:
			t.Fatalf("%v, %v besides %v and %v", s, err, sub, unread)
		}
		var written []byte
		if s != nil {
			written, _ = json.Marshal(s.Object)
		}
		if strings.Contains(string(written), canary) || err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("a secret is told: %s %v", written, err)
		}
	}
	return sub, unread
}

func hashState(s *engine.Subject) any { return s.Object["hash"].(map[string]any)["state"] }

func TestSnapshot(t *testing.T) {
	sub, unread := inspect(t, &File{Path: save(t, cluster, true)})
	if unread != nil {
		t.Fatal(unread)
	}
	for key, want := range map[string]any{
		"kind": "EtcdSnapshot", "consistent": true, "revision": int64(11), "keys": int64(7), "hash": map[string]any{"state": "valid"},
		"secrets":        map[string]any{"total": int64(3), "encrypted": int64(2), "providers": map[string]any{"kms": int64(1), "aescbc": int64(1)}},
		"encryptedRatio": 2.0 / 3,
	} {
		if got := sub.Object[key]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if sub.Name != "snapshot.db" || len(sub.Origin.Digest) != len("sha256:")+64 {
		t.Errorf("subject is %v", sub)
	}
}

func TestWhatIsNotWhole(t *testing.T) {
	signed := func(change func(b []byte) []byte) string {
		path := save(t, cluster, false)
		b, _ := os.ReadFile(path)
		if err := os.WriteFile(path, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		sign(t, path)
		return path
	}
	other := func(bucket string, key, value []byte) string {
		path := filepath.Join(t.TempDir(), "other.db")
		db, _ := bbolt.Open(path, 0o600, nil)
		if err := db.Update(func(tx *bbolt.Tx) error {
			b, _ := tx.CreateBucket([]byte(bucket))
			return b.Put(key, value)
		}); err != nil {
			t.Fatal(err)
		}
		db.Close()
		return path
	}
	tampered := save(t, cluster, true)
	b, _ := os.ReadFile(tampered)
	at := bytes.Index(b, []byte("/registry/pods"))
	b[at] ^= 1
	os.WriteFile(tampered, b, 0o600)
	for name, c := range map[string]struct {
		path, state, hole string
		consistent        any
	}{
		"no hash":           {save(t, cluster, false), hashMissing, "", true},
		"tampered":          {tampered, hashInvalid, "", true},
		"no secrets":        {save(t, cluster[:1], true), hashValid, "", true},
		"not Kubernetes":    {save(t, cluster[9:], true), hashValid, "where Kubernetes keeps", true},
		"no keys":           {save(t, nil, true), hashValid, "where Kubernetes keeps", true},
		"zeros but a mark":  {signed(func(b []byte) []byte { return append(b[:20:20], make([]byte, len(b)-20)...) }), hashValid, "version mismatch", nil},
		"first page gone":   {signed(func(b []byte) []byte { return append(make([]byte, os.Getpagesize()), b[os.Getpagesize():]...) }), hashValid, "do not agree", false},
		"half":              {signed(func(b []byte) []byte { return b[:len(b)/2/512*512] }), hashValid, "read database", nil},
		"one page":          {signed(func(b []byte) []byte { return b[:4096] }), hashValid, "read database", nil},
		"no bucket":         {other("foo", []byte("k"), nil), hashMissing, "bucket named key", false},
		"short key":         {other("key", []byte("k"), nil), hashMissing, "records", false},
		"odd record":        {other("key", revisionKey(3, false), []byte{0xff}), hashMissing, "records", false},
		"another revision":  {other("key", revisionKey(3, false), kv(cluster[0], 4)), hashMissing, "records", false},
		"negative revision": {other("key", revisionKey(1<<63, false), kv(cluster[0], 1<<63)), hashMissing, "records", false},
	} {
		t.Run(name, func(t *testing.T) {
			sub, unread := inspect(t, &File{Path: c.path})
			if sub == nil {
				t.Fatal(unread)
			}
			if got := hashState(sub); got != c.state {
				t.Errorf("hash is %v, want %s", got, c.state)
			}
			if got := sub.Object["consistent"]; got != c.consistent {
				t.Errorf("consistent is %v, want %v", got, c.consistent)
			}
			if c.hole == "" != (unread == nil) || unread != nil && (!strings.Contains(unread.Error(), c.hole) || unread.Kind != engine.Hole) {
				t.Errorf("unread is %v, want %q", unread, c.hole)
			}
			if ratio := sub.Object["encryptedRatio"]; name == "no secrets" && ratio != nil {
				t.Errorf("ratio of nothing is %v", ratio)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	link, empty := filepath.Join(dir, "link"), filepath.Join(dir, "empty")
	if err := os.Symlink(save(t, cluster, true), link); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(empty, nil, 0o600)
	sparse := filepath.Join(dir, "sparse")
	os.WriteFile(sparse, []byte("x"), 0o600)
	if err := os.Truncate(sparse, maxSize+sector); err != nil {
		sparse = empty
	}
	text, zeros := filepath.Join(dir, "text"), filepath.Join(dir, "zeros")
	os.WriteFile(text, bytes.Repeat([]byte("root:x:0:0:root:/root:/bin/sh\n"), 100), 0o600)
	os.WriteFile(zeros, make([]byte, 1<<16), 0o600)
	sign(t, zeros)
	for _, path := range []string{link, empty, sparse, dir, "/dev/zero", filepath.Join(dir, "none"), text, zeros} {
		sub, unread := inspect(t, &File{Path: path})
		if sub != nil || unread == nil || unread.Kind != engine.Broken {
			t.Errorf("%s gives %v, %v", path, sub, unread)
		}
	}
}

func TestChildrenThatFail(t *testing.T) {
	for mode, want := range map[string]string{
		"__crash": "ended with", "__silent": "no answer", "__garble": "no answer", "__twice": "no answer", "__lie": "cannot be true",
		"__leak": "cannot be true", "__flood": "says more", "__hang": "longer than", "__greedy": "ended with", "__none": "start child", "__swap": "changed",
	} {
		t.Run(mode, func(t *testing.T) {
			f := &File{Path: save(t, cluster, true), Self: []string{os.Args[0], mode}}
			if mode == "__hang" {
				f.Timeout = 200 * time.Millisecond
			}
			if mode == "__none" {
				f.Self = []string{filepath.Join(t.TempDir(), "none")}
			}
			sub, unread := inspect(t, f)
			if sub == nil || hashState(sub) != hashValid || unread == nil || unread.Kind != engine.Hole || !strings.Contains(unread.Error(), want) {
				t.Fatalf("gives %v, %v", sub, unread)
			}
			for _, key := range []string{"consistent", "revision", "keys", "secrets", "encryptedRatio"} {
				if v, told := sub.Object[key]; told {
					t.Errorf("%s is told: %v", key, v)
				}
			}
		})
	}
}

// TestEveryPageDamaged flips bits in every page, and signs the file anew: what cannot be read must never look right.
func TestEveryPageDamaged(t *testing.T) {
	whole := save(t, append(slices.Clone(cluster), filler(150)...), false)
	good, _ := os.ReadFile(whole)
	page := os.Getpagesize()
	want, _ := inspect(t, &File{Path: whole})
	offsets := []int{0, 8, 10, 12, 16, 24}
	outcomes := map[string]int{}
	for at := 0; at < len(good); at += page {
		offset := offsets[at/page%len(offsets)]
		if at+offset >= len(good) {
			continue
		}
		path := filepath.Join(t.TempDir(), "s.db")
		bad := slices.Clone(good)
		for i := range 4 {
			bad[at+offset+i] ^= 0xff
		}
		os.WriteFile(path, bad, 0o600)
		sign(t, path)
		sub, unread := inspect(t, &File{Path: path, Timeout: time.Minute})
		switch {
		case sub == nil:
			t.Fatal(unread)
		case unread != nil && sub.Object["consistent"] != true:
			outcomes["told"]++
		case unread == nil && sub.Object["consistent"] == true && reflect.DeepEqual(figuresOf(sub), figuresOf(want)):
			outcomes["unharmed"]++ // a page that is free, or the older of the two meta pages
		default:
			t.Errorf("offset %d: %v, %v", at+offset, sub.Object, unread)
		}
	}
	if outcomes["told"] < 3 {
		t.Errorf("outcomes are %v of %d pages", outcomes, len(good)/page)
	}
	t.Log(outcomes)
}

func figuresOf(s *engine.Subject) map[string]any {
	m := maps.Clone(s.Object)
	for _, key := range []string{"file", "metadata", "modified", "size", "hash"} {
		delete(m, key)
	}
	return m
}

func filler(n int) []entry {
	var all []entry
	for i := range n {
		all = append(all, entry{fmt.Sprintf("/registry/configmaps/default/c%d", i), bytes.Repeat([]byte{byte(i)}, 1000)})
	}
	return all
}

func TestChildEndsWithItsParent(t *testing.T) {
	// A database that is open for writing is locked, so that a child that lives on would answer only later.
	path := save(t, cluster, false)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cmd := exec.Command(os.Args[0], Verb, path, "1000000000", "1m")
	cmd.Stdin = strings.NewReader("")
	if out, err := cmd.Output(); err == nil || len(out) > 0 {
		t.Errorf("a child without a parent answers %q, %v", out, err)
	}
	if _, unread := inspect(t, &File{Path: path}); unread == nil || !strings.Contains(unread.Error(), "timeout") {
		t.Errorf("a locked database gives %v", unread)
	}
	for _, args := range [][]string{nil, {path, "much", "1m"}, {path, "1000000", "long"}} {
		if Child(args, strings.NewReader(""), io.Discard) == 0 {
			t.Errorf("a child succeeds with arguments %q", args)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for sub, err := range (&File{Path: save(t, cluster, true)}).Inspect(ctx) {
		var unread *engine.Unread
		if sub != nil || !errors.As(err, &unread) || unread.Kind != engine.Hole {
			t.Errorf("gives %v, %v", sub, err)
		}
	}
}

// BenchmarkInspect reads a snapshot of some 200 MB.
func BenchmarkInspect(b *testing.B) {
	path := save(b, append(slices.Clone(cluster), filler(150_000)...), true)
	info, _ := os.Stat(path)
	b.SetBytes(info.Size())
	for b.Loop() {
		if _, unread := inspect(b, &File{Path: path}); unread != nil {
			b.Fatal(unread)
		}
	}
}
