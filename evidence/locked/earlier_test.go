//go:build unix

package locked_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/locked"
)

// month locks what was sealed for less than year does.
var month = locked.CopyOptions{Now: time.Now(), Until: func(sealed time.Time) time.Time { return sealed.AddDate(0, 1, 0) }}

// sealedTwice copies a log that was sealed twice, the second time for longer; between is done to its folder between.
func sealedTwice(t *testing.T, between func(t *testing.T, dir string)) (f *fake, b *locked.Bucket, dir string) {
	t.Helper()
	f = newFake()
	b = f.bucket(t)
	_, k := sealed(t)
	dir = t.TempDir()
	w := run(t, dir, k, 40)
	for n, o := range []locked.CopyOptions{month, year} {
		seal(t, w, k)
		if _, err := b.Copy(t.Context(), os.DirFS(dir), o); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			between(t, dir)
			judge(t, w, 40)
		}
	}
	if err := w.Close(t.Context(), "stopped"); err != nil {
		t.Fatal(err)
	}
	return f, b, dir
}

// short are the objects that are locked for less than a year.
func short(t *testing.T, f *fake) (keys []string) {
	t.Helper()
	for key, all := range f.objects {
		until, err := time.Parse(time.RFC3339, all[0].until)
		if err != nil {
			t.Fatal(err)
		}
		if until.Before(time.Now().AddDate(0, 11, 0)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// What only earlier seals list is locked for as long as what the newest does, so that it can be checked as long.
func TestCopyExtendsWhatEarlierSealsList(t *testing.T) {
	f, b, dir := sealedTwice(t, func(*testing.T, string) {})
	if keys := short(t, f); len(keys) > 0 {
		t.Errorf("it is locked as the first copy was: %v", keys)
	}
	if done, err := b.Copy(t.Context(), os.DirFS(dir), year); err != nil || done.Put+done.Extended > 0 {
		t.Errorf("the same copied again: %+v, %v", done, err)
	}
	put(f, "/records/", "records/0000000000.jsonl/"+strings.TrimPrefix(string(evidence.DigestOf([]byte("x"))), "sha256:"), "x")
	later := locked.CopyOptions{Now: time.Now(), Until: func(sealed time.Time) time.Time { return sealed.AddDate(2, 0, 0) }}
	if _, err := b.Copy(t.Context(), os.DirFS(dir), later); err != nil {
		t.Fatal(err)
	}
	strays := 0
	for _, all := range f.objects {
		if all[0].until == "" {
			strays++
		}
	}
	if strays != 1 {
		t.Error("what no seal lists was locked")
	}
	// Whatever is gone that only an earlier seal lists is no error, and nobody can tell whether it ever was there.
	gone := 0
	for key := range f.objects {
		if _, sum, ok := strings.Cut(key, "/records/0000000000.jsonl/"); ok && f.objects[key][0].until != "" {
			raw, err := os.ReadFile(filepath.Join(dir, evidence.RecordsFile(0)))
			if err != nil {
				t.Fatal(err)
			}
			if sum != strings.TrimPrefix(string(evidence.DigestOf(raw)), "sha256:") && len(f.objects[key][0].body) < len(raw)/2+1000 {
				delete(f.objects, key)
				gone++
			}
		}
	}
	if gone != 1 {
		t.Fatalf("%d objects are taken away, want the records of the first seal", gone)
	}
	if _, err := b.Copy(t.Context(), os.DirFS(dir), later); err != nil {
		t.Fatal(err)
	}
	v, err := verified(t, b)
	if err != nil || !slices.Contains(v.Unchecked, "the files of 1 earlier seal that are not there any more, or never were: the newest covers its records") {
		t.Errorf("it does not say what is not there: %v, %v", v, err)
	}
}

// What was erased is not locked for longer than it was.
func TestCopyDoesNotExtendWhatWasErased(t *testing.T) {
	f, _, _ := sealedTwice(t, func(t *testing.T, dir string) {
		name := filepath.Join(dir, evidence.InputsFile(0))
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, bytes.Replace(text, []byte("xxxx"), []byte("yyyy"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if keys := short(t, f); len(keys) != 1 || !strings.Contains(keys[0], "/"+evidence.InputsFile(0)+"/") {
		t.Errorf("locked as the first copy was: %v, want what was judged alone", keys)
	}
}

// What is wrong with a bucket is told in one order, whichever answer comes first.
func TestVerifyTellsInOrder(t *testing.T) {
	f, b, _ := sealedTwice(t, func(*testing.T, string) {})
	for _, all := range f.objects {
		all[0].until = "2020-01-01T00:00:00Z"
	}
	var before []evidence.Problem
	for range 3 {
		v, err := verified(t, b)
		if err != nil {
			t.Fatal(err)
		}
		unlocked := slices.DeleteFunc(v.Holes, func(p evidence.Problem) bool { return p.Code != locked.Unlocked })
		if len(unlocked) < 10 || !slices.IsSortedFunc(unlocked, func(a, b evidence.Problem) int { return strings.Compare(a.Place, b.Place) }) {
			t.Errorf("%d holes, in another order than their places': %v", len(unlocked), unlocked)
		}
		if before != nil && !reflect.DeepEqual(before, unlocked) {
			t.Error("twice verified it is told otherwise")
		}
		before = unlocked
	}
}
