package bucket

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

// pages answers the listing with one page for each marker.
func pages(f *fakeS3, byMarker map[string]reaction) {
	f.handle["ListObjectVersions"] = func(q url.Values, _ *http.Request) reaction { return byMarker[q.Get("key-marker")] }
}

func locked(f *fakeS3) {
	f.answers["HeadObject"] = reaction{status: 200, header: map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE",
		"X-Amz-Object-Lock-Retain-Until-Date": "2026-03-01T00:00:00Z", "X-Amz-Object-Lock-Legal-Hold": "ON", "X-Amz-Server-Side-Encryption": "AES256"}}
}

func TestVersions(t *testing.T) {
	f := whole()
	locked(f)
	pages(f, map[string]reaction{"": listing("b#2", entry("a", "1", true), deleted("b", "3", true), entry("b", "2", false)), "b": listing("", entry("b", "1", false), entry("c", "1", true))})
	l := live(t, f)
	l.Objects = true
	subjects, unread := all(t, l)
	if len(unread) > 0 {
		t.Fatal(unread)
	}
	var got []string
	for _, s := range subjects[1:] {
		got = append(got, fmt.Sprintf("%s %s %t %v", s.Name, s.Object["versionId"], s.Object["deleteMarker"], s.Object["lock"]))
	}
	const until = "map[mode:COMPLIANCE retainUntil:2026-03-01T00:00:00Z]"
	want := []string{"a 1 false " + until, "b 3 true <nil>", "b 2 false " + until, "b 1 false " + until, "c 1 false " + until}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A sample is each n-th version, and each file that describes a backup.
func TestSample(t *testing.T) {
	f := whole()
	locked(f)
	var entries []string
	for i := range 10 {
		entries = append(entries, entry(fmt.Sprintf("backups/%d/velero-backup.json", i), "1", true), entry(fmt.Sprintf("backups/%d/x", i), "1", true))
	}
	pages(f, map[string]reaction{"": listing("", entries...)})
	l := live(t, f)
	l.Objects, l.Sample = true, 5
	subjects, _ := all(t, l)
	var others []string
	for _, s := range subjects[1:] {
		if s.Object["sampled"] != true {
			t.Errorf("%s does not say that it is one of a sample", s.Name)
		}
		if !strings.HasSuffix(s.Name, backupFile) {
			others = append(others, s.Name)
		}
	}
	if want := []string{"backups/2/x", "backups/7/x"}; len(subjects) != 13 || !slices.Equal(others, want) {
		t.Errorf("got %d subjects, of them %q beside the backups' files, want %q", len(subjects), others, want)
	}
}

// A listing that breaks its own rules twice is a hole, and nothing of the broken page is handed on.
func TestListingThatIsNotWhole(t *testing.T) {
	first := listing("b#1", entry("a", "1", true), entry("b", "1", true))
	for name, second := range map[string]reaction{
		"truncated without a marker": {status: 200, body: strings.Replace(listing("", entry("c", "1", true)).body, "false<", "true<", 1)},
		"repeated marker":            listing("b#1", entry("c", "1", true)),
		"marker goes back":           listing("a#1", entry("c", "1", true)),
		"marker behind the page":     listing("bb#1", entry("c", "1", true)),
		"repeated page":              listing("", entry("a", "1", true), entry("b", "1", true)),
		"duplicate":                  listing("", entry("c", "1", true), entry("c", "1", false)),
		"duplicate over pages":       listing("", entry("b", "1", false)),
		"unsorted":                   listing("", entry("d", "1", true), entry("c", "1", true)),
		"two latest":                 listing("", entry("c", "1", true), entry("c", "2", true)),
		"no latest":                  listing("", entry("c", "1", false), entry("d", "2", true)),
		"no latest at the end":       listing("", entry("c", "1", false)),
		"no key":                     listing("", entry("", "1", true)),
		"403":                        code(403, "AccessDenied"),
		"500":                        code(500, "InternalError"),
		"501":                        code(501, "NotImplemented"),
		"503":                        code(503, "SlowDown"),
		"empty 200":                  ok(""),
		"login page":                 ok("<html></html>"),
		"truncated XML":              ok(listing("", entry("c", "1", true)).body[:120]),
		"reset mid-body":             {status: 200, body: listing("", entry("c", "1", true)).body[:120], length: 900},
	} {
		f := whole()
		locked(f)
		pages(f, map[string]reaction{"": first, "b": second})
		l := live(t, f)
		l.Objects = true
		subjects, unread := all(t, l)
		if len(subjects) != 3 || len(unread) != 1 || unread[0].Kind != engine.Hole || !strings.Contains(unread[0].Error(), "not whole") {
			t.Errorf("%s: got %d subjects, unread %v; want the bucket, a, b, and a hole", name, len(subjects), unread)
		}
	}
}

// A page that is whole when it is asked for again is taken.
func TestListingIsAskedForAgain(t *testing.T) {
	f := whole()
	locked(f)
	f.faults["ListObjectVersions"] = []reaction{listing("", entry("b", "1", true), entry("a", "1", true)), listing("", entry("a", "1", true), entry("b", "1", true))}
	l := live(t, f)
	l.Objects = true
	if subjects, unread := all(t, l); len(subjects) != 3 || len(unread) > 0 {
		t.Errorf("got %d subjects, unread %v", len(subjects), unread)
	}
}

func TestListingWithoutEnd(t *testing.T) {
	f, n := whole(), 0
	f.handle["ListObjectVersions"] = func(url.Values, *http.Request) reaction { n++; return listing(fmt.Sprintf("k%06d#1", n)) }
	l := live(t, f)
	l.Objects = true
	if _, unread := all(t, l); len(unread) != 1 || unread[0].Kind != engine.Hole || n > 4*maxEmpty {
		t.Errorf("unread %v after %d pages", unread, n)
	}
}

func TestLockOfAVersion(t *testing.T) {
	bare := reaction{status: 200}
	for name, c := range map[string]struct {
		head, retention, hold reaction
		noLock                bool
		lock, legalHold       string
	}{
		"head tells":             {head: reaction{status: 200, header: map[string]string{"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2026-03-01T00:00:00Z", "X-Amz-Object-Lock-Legal-Hold": "OFF"}}, lock: `{"mode":"GOVERNANCE","retainUntil":"2026-03-01T00:00:00Z"}`, legalHold: "false"},
		"retention tells":        {head: bare, retention: ok(`<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2026-03-01T00:00:00Z</RetainUntilDate></Retention>`), hold: ok(`<LegalHold><Status>ON</Status></LegalHold>`), lock: `{"mode":"COMPLIANCE","retainUntil":"2026-03-01T00:00:00Z"}`, legalHold: "true"},
		"no retention at Amazon": {head: bare, retention: code(404, noLock), hold: code(404, noLock), lock: `{"mode":"NONE"}`, legalHold: "false"},
		"versitygw hides it":     {head: bare, retention: code(400, noLock), hold: code(400, noLock), lock: `{"derived":true,"mode":"COMPLIANCE","retainUntil":"2026-02-01T03:04:05Z"}`, legalHold: "false"},
		"head is refused":        {head: reaction{status: 403}, retention: code(404, noLock), hold: code(403, "AccessDenied"), lock: `{"mode":"NONE"}`, legalHold: "null"},
		"nobody tells":           {head: bare, retention: code(403, "AccessDenied"), hold: code(500, "InternalError"), lock: "null", legalHold: "null"},
		"empty answers":          {head: bare, retention: ok(""), hold: ok(`<LegalHold/>`), lock: "null", legalHold: "null"},
		"no lock in the bucket":  {head: bare, noLock: true, lock: `{"mode":"NONE"}`, legalHold: "false"},
	} {
		f := whole()
		f.answers["HeadObject"], f.answers["GetObjectRetention"], f.answers["GetObjectLegalHold"] = c.head, c.retention, c.hold
		if c.noLock {
			f.answers["GetObjectLockConfiguration"] = code(404, "ObjectLockConfigurationNotFoundError")
		}
		pages(f, map[string]reaction{"": listing("", entry("a", "1", true))})
		l := live(t, f)
		l.Objects = true
		subjects, unread := all(t, l)
		if len(subjects) != 2 || len(unread) > 0 {
			t.Fatalf("%s: %d subjects, unread %v", name, len(subjects), unread)
		}
		o := subjects[1].Object
		if got := strings.Join(strings.Fields(asJSON(t, o["lock"])), ""); got != c.lock {
			t.Errorf("%s: lock is %s, want %s", name, got, c.lock)
		}
		if got := asJSON(t, o["legalHold"]); got != c.legalHold {
			t.Errorf("%s: legal hold is %s, want %s", name, got, c.legalHold)
		}
	}
}

func TestBackupOfAVersion(t *testing.T) {
	for name, c := range map[string]struct {
		file  reaction
		want  string
		state string
	}{
		"told":         {ok(`{"kind":"Backup","metadata":{"name":"x"},"status":{"expiration":"2026-05-01T00:00:00Z"}}`), `{"expiration":"2026-05-01T00:00:00Z","name":"x"}`, Answered},
		"deleted":      {code(404, "NoSuchKey"), "null", Failed},
		"refused":      {code(403, "AccessDenied"), "null", Refused},
		"broken":       {ok(`{"kind":"Backup",`), "null", Failed},
		"another's":    {ok(`{"kind":"Backup","metadata":{"name":"y"}}`), "null", Failed},
		"cut short":    {reaction{status: 200, body: `{"kind":"Backup","metadata":{"name":"x"}}`, length: 900}, "null", Failed},
		"far too long": {ok(strings.Repeat(" ", 16<<20) + "{}"), "null", Failed},
	} {
		f := whole()
		locked(f)
		f.answers["GetObject"] = c.file
		pages(f, map[string]reaction{"": listing("", entry("p/backups/x/velero-backup.json", "1", true), entry("p/backups/x/x.tar.gz", "1", true))})
		l := live(t, f)
		l.Objects, l.Source.Prefix = true, "p/"
		subjects, _ := all(t, l)
		for _, s := range subjects[1:] {
			call := s.Object["calls"].(map[string]any)["backup"].(map[string]any)
			if got := strings.Join(strings.Fields(asJSON(t, s.Object["backup"])), ""); got != c.want || call["state"] != c.state {
				t.Errorf("%s: %s: backup is %s, call %v, want %s", name, s.Name, got, call, c.want)
			}
		}
		asked := 0
		for _, call := range f.asked {
			if call == "GetObject" {
				asked++
			}
		}
		if asked < 1 || asked > backupAttempts {
			t.Errorf("%s: the backup was read %d times", name, asked)
		}
	}
}

// many is a bucket of n versions, which are made as they are asked for.
func many(n int) *fakeS3 {
	f := whole()
	locked(f)
	f.handle["ListObjectVersions"] = func(q url.Values, _ *http.Request) reaction {
		at := 0
		fmt.Sscanf(q.Get("key-marker"), "data/%09d", &at)
		end := min(at+1000, n)
		entries := make([]string, 0, 1000)
		for i := at + 1; i <= end; i++ {
			entries = append(entries, entry(fmt.Sprintf("data/%09d", i), "v", true))
		}
		next := ""
		if end < n {
			next = fmt.Sprintf("data/%09d#v", end)
		}
		return listing(next, entries...)
	}
	return f
}

// 100,000 versions, or 1,000,000 where PROVISO_LARGE is set, are listed in memory that does not grow.
func TestManyVersionsInFlatMemory(t *testing.T) {
	n := 100_000
	if os.Getenv("PROVISO_LARGE") != "" {
		n = 1_000_000
	}
	l := live(t, many(n))
	l.Objects, l.Sample = true, 100
	seen, early, peak := 0, uint64(0), uint64(0)
	for _, err := range l.Inspect(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if every := n / 100 / 20; seen%every == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if early == 0 {
				early = m.HeapInuse
			}
			peak = max(peak, m.HeapInuse)
		}
	}
	if want := n/100 + 1; seen != want {
		t.Errorf("saw %d subjects, want %d", seen, want)
	}
	t.Logf("%d versions: HeapInuse %d KiB early, %d KiB at most", n, early>>10, peak>>10)
	if peak > early+16<<20 {
		t.Errorf("memory grows: HeapInuse %d KiB early, %d KiB at most", early>>10, peak>>10)
	}
}
