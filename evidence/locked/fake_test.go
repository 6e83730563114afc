//go:build unix

package locked_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/engine/store"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
	"proviso.dev/proviso/evidence/locked"
	"proviso.dev/proviso/evidence/producer"
)

// stored is a version of an object of the fake.
type stored struct {
	body        []byte
	mode, until string
}

// fake is a bucket under object lock, and what is wrong with it. Its versions are numbered from 0, per key.
type fake struct {
	mu       sync.Mutex
	objects  map[string][]stored
	requests map[string]int
	// fault answers a request in the fake's place, and reports whether it did.
	fault func(w http.ResponseWriter, r *http.Request, what string) bool
	// forgets makes it take locks and keep none, bare makes it tell no checksums.
	forgets, bare bool
	// breaks is how many readings of inputs end in their midst.
	breaks int
	// page is how many keys a page of a listing has.
	page int
}

func newFake() *fake {
	return &fake{objects: map[string][]stored{}, requests: map[string]int{}, page: 1000}
}

func (f *fake) bucket(t *testing.T) *locked.Bucket {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	b, err := locked.Open(t.Context(), store.Source{Bucket: "audit", Prefix: "prod/", Endpoint: server.URL, Budget: store.Budget{Attempts: 3, Stall: 5 * time.Second, Backoff: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	q := r.URL.Query()
	what := r.Method
	for _, sub := range []string{"versioning", "object-lock", "versions", "retention"} {
		if q.Has(sub) {
			what += " " + sub
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests[what]++
	if f.fault != nil && f.fault(w, r, what) {
		return
	}
	key := strings.TrimPrefix(r.URL.Path, "/audit/")
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
	}
	n, _ := strconv.Atoi(q.Get("versionId"))
	all := f.objects[key]
	switch what {
	case "GET versioning":
		io.WriteString(w, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	case "GET object-lock":
		io.WriteString(w, "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>")
	case "GET retention":
		if n >= len(all) || all[n].mode == "" {
			fail(404, "NoSuchObjectLockConfiguration")
			return
		}
		fmt.Fprintf(w, "<Retention><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate></Retention>", all[n].mode, all[n].until)
	case "GET versions":
		f.list(w, q.Get("prefix"), q.Get("key-marker"))
	case "PUT":
		sum := sha256.Sum256(body)
		switch {
		case r.Header.Get("X-Amz-Checksum-Sha256") != base64.StdEncoding.EncodeToString(sum[:]):
			fail(400, "BadDigest")
		case r.Header.Get("If-None-Match") == "*" && len(all) > 0:
			fail(412, "PreconditionFailed")
		default:
			s := stored{body: body}
			if !f.forgets {
				s.mode, s.until = r.Header.Get("X-Amz-Object-Lock-Mode"), r.Header.Get("X-Amz-Object-Lock-Retain-Until-Date")
			}
			w.Header().Set("X-Amz-Version-Id", strconv.Itoa(len(all)))
			f.objects[key] = append(all, s)
		}
	case "PUT retention":
		var in struct{ Mode, RetainUntilDate string }
		if err := xml.Unmarshal(body, &in); err != nil {
			panic(err)
		}
		if !f.forgets {
			all[n].mode, all[n].until = in.Mode, in.RetainUntilDate
		}
	case "GET", "HEAD":
		if n >= len(all) {
			fail(404, "NoSuchKey")
			return
		}
		v, h := all[n], w.Header()
		if sum := sha256.Sum256(v.body); !f.bare && r.Header.Get("Range") == "" {
			h.Set("X-Amz-Checksum-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
		}
		if v.mode != "" {
			h.Set("X-Amz-Object-Lock-Mode", v.mode)
			h.Set("X-Amz-Object-Lock-Retain-Until-Date", v.until)
		}
		if f.breaks > 0 && what == "GET" && strings.Contains(key, "/inputs/") {
			f.breaks--
			whole := httptest.NewRecorder()
			http.ServeContent(whole, r, "", time.Time{}, bytes.NewReader(v.body))
			maps.Copy(h, whole.Header())
			w.WriteHeader(whole.Code)
			_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(v.body))
	default:
		fail(501, "NotImplemented")
	}
}

func (f *fake) list(w io.Writer, prefix, after string) {
	var b strings.Builder
	n := 0
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if !strings.HasPrefix(key, prefix) || key <= after {
			continue
		}
		if n++; n > f.page {
			fmt.Fprintf(&b, "<IsTruncated>true</IsTruncated><NextKeyMarker>%s</NextKeyMarker>", after)
			break
		}
		after = key
		for i, v := range slices.Backward(f.objects[key]) {
			fmt.Fprintf(&b, "<Version><Key>%s</Key><VersionId>%d</VersionId><IsLatest>%t</IsLatest><Size>%d</Size></Version>", key, i, i == len(f.objects[key])-1, len(v.body))
		}
	}
	fmt.Fprintf(w, "<ListVersionsResult>%s</ListVersionsResult>", b.String())
}

// forge replaces the first version of the object whose name holds a text.
func (f *fake) forge(t *testing.T, part string, change func(*stored)) {
	t.Helper()
	for key, all := range f.objects {
		if strings.Contains(key, part) {
			all[0].body = bytes.Clone(all[0].body)
			change(&all[0])
			return
		}
	}
	t.Fatalf("no object is named %s", part)
}

// one is a log that is closed and sealed, and its key; it is made once.
var one struct {
	sync.Once
	folder fstest.MapFS
	key    *cosign.Key
}

func sealed(t *testing.T) (fstest.MapFS, *cosign.Key) {
	t.Helper()
	one.Do(func() {
		t.Setenv("COSIGN_PASSWORD", "test")
		ref, err := cosign.Generate(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		k, err := cosign.Open(t.Context(), ref, nil)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		w := run(t, dir, k, 40)
		if _, err := w.Append(t.Context(), evidence.Record{Close: &evidence.Close{Reason: "stopped"}}); err != nil {
			t.Fatal(err)
		}
		seal(t, w, k)
		if err := w.Close(t.Context(), "stopped"); err != nil {
			t.Fatal(err)
		}
		folder := fstest.MapFS{}
		err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(filepath.Join(dir, name))
			folder[name] = &fstest.MapFile{Data: text, Mode: 0o644}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		one.folder, one.key = folder, k
	})
	if one.key == nil {
		t.Fatal("the folder was not made")
	}
	return maps.Clone(one.folder), one.key
}

// run opens a folder and records a run of admissions in it, with a decision for each of so many inputs.
func run(t *testing.T, dir string, k *cosign.Key, decisions int) *producer.Writer {
	t.Helper()
	w, err := producer.Open(t.Context(), dir, producer.Options{Signer: k, Kind: "admission", Mode: producer.Batch, Run: rand.Text(), Engine: evidence.Engine{Version: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	judge(t, w, decisions)
	return w
}

func judge(t *testing.T, w *producer.Writer, decisions int) {
	t.Helper()
	pack, err := w.Object(strings.NewReader("the policies"))
	if err != nil {
		t.Fatal(err)
	}
	set := evidence.DigestOf([]byte("the set"))
	active, err := w.Append(t.Context(), evidence.Record{Activation: &evidence.Activation{PolicySet: set, Pack: pack, Policies: 1, Mode: "warn", Unknown: "warn"}})
	if err != nil {
		t.Fatal(err)
	}
	var pending []func() error
	for range decisions {
		in := evidence.Input{APIVersion: "v1", Kind: "ConfigMap", Name: rand.Text(), Object: map[string]any{"text": strings.Repeat("x", 4000)}}
		raw, err := evidence.Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		durable, err := w.Enqueue(t.Context(), evidence.Record{Decision: &evidence.Decision{Event: in.Name, Source: "admission", Subject: evidence.Subject{APIVersion: "v1", Kind: "ConfigMap", Name: in.Name}, Now: time.Now().UTC(),
			Input: evidence.DigestOf(raw), Activation: active.Seq, PolicySet: set, Results: []evidence.Result{{Policy: "a/b", Digest: set, Severity: "high", Verdict: "pass", Effect: "warn"}}}}, in)
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, durable)
	}
	for _, durable := range pending {
		if err := durable(); err != nil {
			t.Fatal(err)
		}
	}
}

// seal seals what was recorded so far.
func seal(t *testing.T, w *producer.Writer, k *cosign.Key) {
	t.Helper()
	if err := w.Seal(t.Context(), evidence.Seal{}, nil, k.Statement); err != nil {
		t.Fatal(err)
	}
}
