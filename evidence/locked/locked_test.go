//go:build unix

package locked_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/locked"
)

// year locks what was sealed for a year.
var year = locked.CopyOptions{Now: time.Now(), Until: func(sealed time.Time) time.Time { return sealed.AddDate(1, 0, 0) }}

// verified is the one log of a bucket.
func verified(t *testing.T, b *locked.Bucket) (found *evidence.Verified, err error) {
	t.Helper()
	for v, bad := range b.Verify(t.Context(), evidence.Options{Now: time.Now()}, nil) {
		if found != nil {
			t.Fatal("there are two logs")
		}
		found, err = v, bad
	}
	return found, err
}

func codes(problems []evidence.Problem) (all []string) {
	for _, p := range problems {
		all = append(all, p.Code)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// copied is a bucket that a log was copied to that is closed and sealed.
func copied(t *testing.T) (*fake, *locked.Bucket) {
	t.Helper()
	folder, _ := sealed(t)
	f := newFake()
	b := f.bucket(t)
	if _, err := b.Copy(t.Context(), folder, year); err != nil {
		t.Fatal(err)
	}
	if v, err := verified(t, b); err != nil || v.ExitCode() != evidence.ExitVerified {
		t.Fatalf("the copy to begin with: %v, %v", err, v)
	}
	return f, b
}

// A log that goes on while it is copied is copied as it was sealed, and each seal's files stay to be read.
func TestCopyOfALogThatGoesOn(t *testing.T) {
	f := newFake()
	b := f.bucket(t)
	_, k := sealed(t)
	dir := t.TempDir()
	w := run(t, dir, k, 40)
	for n := 1; n <= 3; n++ {
		seal(t, w, k)
		judge(t, w, 250) // tiles that were not full are, and the segment is longer
		if _, err := w.Checkpoint(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			continue // not copied in its time
		}
		done, err := b.Copy(t.Context(), os.DirFS(dir), year)
		if err != nil {
			t.Fatal(err)
		}
		if done.Seal != n || done.Put == 0 {
			t.Errorf("seal %d: %+v", n, done)
		}
		v, err := verified(t, b)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Problems) > 0 || v.Seals != n {
			t.Errorf("seal %d: %d seals, problems %v", n, v.Seals, v.Problems)
		}
		if text := strings.Join(append(v.Checked, v.Unchecked...), "\n"); n == 3 && (!strings.Contains(text, "1 earlier seal: every file it lists") || !strings.Contains(text, "the files of 1 earlier seal that are not there any more, or never were")) {
			t.Errorf("what is told of the earlier seals:\n%s", text)
		}
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
}

// What lies in the bucket is told by its own name and seal, wherever it is altered, and what lacks is never green.
func TestVerifyTells(t *testing.T) {
	flip := func(s *stored) { s.body[len(s.body)/2] ^= 1 }
	for name, c := range map[string]struct {
		alter           func(t *testing.T, f *fake)
		problems, holes []string
	}{
		"records":    {alter: func(t *testing.T, f *fake) { f.forge(t, "/records/", flip) }, problems: []string{evidence.FileAltered, evidence.RecordAltered, evidence.RecordMissing}},
		"large file": {alter: func(t *testing.T, f *fake) { f.forge(t, "/inputs/", flip) }, problems: []string{evidence.FileAltered, evidence.InputAltered, evidence.InputMissing}},
		"list": {alter: func(t *testing.T, f *fake) {
			f.forge(t, "/files.json", func(s *stored) { s.body = append(s.body, ' ') })
		}, problems: []string{evidence.FileAltered}, holes: []string{evidence.Unfinished}},
		"checkpoint": {alter: func(t *testing.T, f *fake) { f.forge(t, "/seals/000001/checkpoint", flip) }, problems: []string{evidence.SignatureInvalid}},
		"gone": {alter: func(t *testing.T, f *fake) {
			for name := range f.objects {
				if strings.Contains(name, "/log/tile/0/") {
					delete(f.objects, name)
				}
			}
		}, holes: []string{evidence.Unfinished}},
		"governance": {alter: func(t *testing.T, f *fake) { f.forge(t, "/records/", func(s *stored) { s.mode = "GOVERNANCE" }) }, holes: []string{locked.Unlocked}},
		"expired": {alter: func(t *testing.T, f *fake) {
			f.forge(t, "/records/", func(s *stored) { s.until = "2020-01-01T00:00:00Z" })
		}, holes: []string{locked.Unlocked}},
		"no lock": {alter: func(t *testing.T, f *fake) {
			f.forge(t, "/producer.json/", func(s *stored) { s.mode, s.until = "", "" })
		}, holes: []string{locked.Unlocked}},
		"left over": {alter: func(t *testing.T, f *fake) {
			put(f, "/records/", "records/0000000001.jsonl/"+strings.TrimPrefix(string(evidence.DigestOf([]byte("x"))), "sha256:"), "x")
		}, holes: []string{evidence.Unfinished}},
		"left over and altered": {alter: func(t *testing.T, f *fake) {
			put(f, "/records/", "records/0000000001.jsonl/"+strings.TrimPrefix(string(evidence.DigestOf([]byte("x"))), "sha256:"), "y")
		}, problems: []string{evidence.FileAltered}, holes: []string{evidence.Unfinished}},
	} {
		t.Run(name, func(t *testing.T) {
			f, b := copied(t)
			c.alter(t, f)
			v, err := verified(t, b)
			if err != nil {
				t.Fatal(err)
			}
			if got := codes(v.Holes); !slices.Equal(got, c.holes) {
				t.Errorf("holes %v, want %v", v.Holes, c.holes)
			}
			for _, code := range c.problems {
				if !slices.Contains(codes(v.Problems), code) {
					t.Errorf("problems %v, want %s", v.Problems, code)
				}
			}
			if len(c.problems) == 0 && len(v.Problems) > 0 {
				t.Errorf("problems %v", v.Problems)
			}
		})
	}
}

// put puts an object beside another of the same log.
func put(f *fake, beside, name, text string) {
	for key := range f.objects {
		if log, _, ok := strings.Cut(key, beside); ok {
			f.objects[log+"/"+name] = []stored{{body: []byte(text)}}
			return
		}
	}
}

// A server that fails is asked again; one that goes on failing, or contradicts itself, says nothing about the evidence.
func TestServerFaults(t *testing.T) {
	lists := func(texts ...string) func(http.ResponseWriter, *http.Request, string) bool {
		n := 0
		return func(w http.ResponseWriter, _ *http.Request, what string) bool {
			if what != "GET versions" {
				return false
			}
			io.WriteString(w, "<ListVersionsResult>"+texts[min(n, len(texts)-1)]+"</ListVersionsResult>")
			n++
			return true
		}
	}
	entry := func(key string) string {
		return "<Version><Key>" + key + "</Key><VersionId>0</VersionId><Size>1</Size></Version>"
	}
	for name, c := range map[string]struct {
		fault  func(http.ResponseWriter, *http.Request, string) bool
		breaks int
		bad    string
	}{
		"broken twice":       {breaks: 2},
		"broken for ever":    {breaks: 1 << 30, bad: "unavailable"},
		"more and not where": {fault: lists("<IsTruncated>true</IsTruncated>" + entry("prod/a/seals/000001/files.json")), bad: "not where"},
		"marker stands":      {fault: lists("<IsTruncated>true</IsTruncated><NextKeyMarker>prod/a</NextKeyMarker>"), bad: "not where"},
		"keys go back":       {fault: lists("<IsTruncated>true</IsTruncated><NextKeyMarker>prod/b</NextKeyMarker>"+entry("prod/b"), entry("prod/a")), bad: "contradicts itself"},
		"another prefix":     {fault: lists(entry("other/a")), bad: "contradicts itself"},
		"refused": {fault: func(w http.ResponseWriter, _ *http.Request, what string) bool {
			if what == "HEAD" {
				w.WriteHeader(403)
			}
			return what == "HEAD"
		}, bad: "refused"},
		"locks that are not told for now": {fault: func(w http.ResponseWriter, _ *http.Request, what string) bool {
			switch what {
			case "HEAD": // as of a version that is not locked
				w.Header().Set("Content-Length", "1")
			case "GET retention":
				w.WriteHeader(500)
			default:
				return false
			}
			return true
		}, bad: "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			f, b := copied(t)
			f.fault, f.breaks = c.fault, c.breaks
			v, err := verified(t, b)
			switch {
			case c.bad == "" && (err != nil || v.ExitCode() != evidence.ExitVerified):
				t.Errorf("%v, %+v", err, v)
			case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
				t.Errorf("error %v, want one that says %q; found %+v", err, c.bad, v)
			}
		})
	}
	t.Run("pages", func(t *testing.T) {
		f, b := copied(t)
		f.page = 3
		if v, err := verified(t, b); err != nil || v.ExitCode() != evidence.ExitVerified {
			t.Errorf("%v, %+v", err, v)
		}
	})
}

// Copying trusts no server's word, and puts nothing where the bucket has something else.
func TestCopyRefuses(t *testing.T) {
	begin := func(t *testing.T) (*fake, *locked.Bucket, fstest.MapFS) {
		t.Helper()
		folder, _ := sealed(t)
		f := newFake()
		return f, f.bucket(t), folder
	}
	t.Run("forgotten locks", func(t *testing.T) {
		f, b, folder := begin(t)
		f.forgets = true
		if _, err := b.Copy(t.Context(), folder, year); err == nil || !strings.Contains(err.Error(), "does not tell of it") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no checksums", func(t *testing.T) {
		f, b, folder := begin(t)
		f.bare = true
		for range 2 {
			if _, err := b.Copy(t.Context(), folder, year); err != nil {
				t.Fatal(err)
			}
		}
		f.forge(t, "/records/", func(s *stored) { s.body[0] ^= 1 })
		_, err := b.Copy(t.Context(), folder, year)
		if refused, ok := errors.AsType[*locked.Refused](err); !ok || refused.Code != evidence.SplitView {
			t.Errorf("error %v", err)
		}
	})
	t.Run("altered since it was sealed", func(t *testing.T) {
		_, b, folder := begin(t)
		folder[evidence.RecordsFile(0)] = &fstest.MapFile{Data: bytes.Replace(folder[evidence.RecordsFile(0)].Data, []byte(`"pass"`), []byte(`"fail"`), 1)}
		_, err := b.Copy(t.Context(), folder, year)
		if refused, ok := errors.AsType[*locked.Refused](err); !ok || refused.Code != evidence.FileAltered {
			t.Errorf("error %v", err)
		}
		if v, err := verified(t, b); err == nil && v.ExitCode() == evidence.ExitVerified {
			t.Error("what was copied of it verifies")
		}
	})
	t.Run("list that was not signed", func(t *testing.T) {
		f, b, folder := begin(t)
		folder[evidence.SealDir(1)+"/"+evidence.SealFiles] = &fstest.MapFile{Data: []byte(`{"files":[]}` + "\n")}
		if _, err := b.Copy(t.Context(), folder, year); err == nil || !strings.Contains(err.Error(), "does not seal") {
			t.Errorf("error %v", err)
		}
		if len(f.objects) > 0 {
			t.Error("something was copied")
		}
	})
	t.Run("seal that is not there", func(t *testing.T) {
		_, b, folder := begin(t)
		maps.DeleteFunc(folder, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, evidence.SealsDir) })
		if _, err := b.Copy(t.Context(), folder, year); err == nil || !strings.Contains(err.Error(), "nothing in it is sealed yet") {
			t.Errorf("error %v", err)
		}
	})
}
