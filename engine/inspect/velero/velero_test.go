package velero

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// memory is a store of files held in memory.
type memory map[string][]byte

func (m memory) String() string { return "memory" }

func (m memory) List(_ context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if strings.HasPrefix(k, prefix) && !yield(store.Info{Key: k, Size: int64(len(m[k]))}, nil) {
				return
			}
		}
	}
}

func (m memory) Open(_ context.Context, key string) (io.ReadCloser, store.Info, error) {
	b, ok := m[key]
	if !ok {
		return nil, store.Info{}, fmt.Errorf("open %s: %w", key, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(b)), store.Info{Key: key, Size: int64(len(b))}, nil
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

type entry struct{ name, text string }

const canary = "Y2FuYXJ5LXNlY3JldA=="

func object(apiVersion, kind, ns, name, more string) string {
	meta := fmt.Sprintf(`"name":%q`, name)
	if ns != "" {
		meta += fmt.Sprintf(`,"namespace":%q`, ns)
	}
	return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{%s}%s}`, apiVersion, kind, meta, more)
}

// twins are the two entries Velero writes for an object.
func twins(dir, version, scope, text string) []entry {
	return []entry{{"resources/" + dir + "/" + scope + ".json", text}, {"resources/" + dir + "/" + version + "-preferredversion/" + scope + ".json", text}}
}

func sample() []entry {
	e := []entry{{"metadata/version", "1.1.0\n"}}
	e = append(e, twins("namespaces", "v1", "cluster/shop", object("v1", "Namespace", "", "shop", ""))...)
	e = append(e, twins("deployments.apps", "v1", "namespaces/shop/web", object("apps/v1", "Deployment", "shop", "web", `,"spec":{"replicas":2}`))...)
	return append(e, twins("secrets", "v1", "namespaces/shop/db", object("v1", "Secret", "shop", "db", `,"type":"Opaque","data":{"password":"`+canary+`"}`))...)
}

func tarOf(entries ...entry) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		_ = w.WriteHeader(&tar.Header{Name: e.name, Size: int64(len(e.text)), Typeflag: tar.TypeReg, Mode: 0o755})
		_, _ = w.Write([]byte(e.text))
	}
	_ = w.Close()
	return out.Bytes()
}

// backup is Velero's layout of one backup under backups/.
func backup(name string, tarball []byte) memory {
	dir := "backups/" + name + "/"
	m := memory{dir + metadataFile: []byte(`{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"` + name + `","namespace":"velero","labels":{"tier":"gold"}},` +
		`"spec":{"ttl":"720h0m0s"},"status":{"phase":"Completed","formatVersion":"1.1.0","progress":{"totalItems":3,"itemsBackedUp":3}}}`), dir + name + ".tar.gz": tarball}
	for suffix, text := range map[string]string{
		"-logs.gz": "time=\"2026-01-01T00:00:00Z\" level=info msg=hi\n", "-results.gz": `{"errors":{"velero":["e1"]},"warnings":{"namespaces":{"shop":["w1","w2"]}}}`,
		"-resource-list.json.gz":    `{"v1/Namespace":["shop"],"apps/v1/Deployment":["shop/web"],"v1/Secret":["shop/db"]}`,
		"-volumeinfo.json.gz":       `[{"pvcName":"p","pvcNamespace":"shop","skipped":true,"skippedReason":"policy","nativeSnapshotInfo":{"volumeAZ":"eu-1a","Phase":"Completed"}}]`,
		"-podvolumebackups.json.gz": "null", "-volumesnapshots.json.gz": "[]", "-itemoperations.json.gz": `[{"status":{"phase":"Failed"}},{"status":{"phase":"InProgress"}}]`,
	} {
		m[dir+name+suffix] = gz([]byte(text))
	}
	return m
}

type seen struct {
	subjects []*engine.Subject
	unread   []*engine.Unread
}

func (s seen) of(kind string) map[string]any {
	for _, sub := range s.subjects {
		if sub.Kind == kind {
			return sub.Object
		}
	}
	return nil
}

func inspect(t testing.TB, s *Source) (out seen) {
	t.Helper()
	for sub, err := range s.Inspect(t.Context()) {
		var u *engine.Unread
		if errors.As(err, &u) {
			out.unread = append(out.unread, u)
		} else if err != nil {
			t.Fatal(err)
		} else {
			out.subjects = append(out.subjects, sub)
		}
	}
	return out
}

func TestBackup(t *testing.T) {
	m := backup("b1", gz(tarOf(sample()...)))
	maps.Copy(m, memory{
		"restores/r1/restore-r1-logs.gz": gz([]byte("time=\"2026-01-01T00:00:00Z\" level=info msg=\"starting restore\"\n" +
			"time=\"2026-01-01T00:00:01Z\" level=info msg=\"Starting restore of backup velero/b1\"\n" +
			"time=\"2026-01-01T00:00:02Z\" level=info msg=\"Attempting to restore PersistentVolumeClaim: p.\" logSource=restore.go:1 namespace=shop original name=p restore=velero/r1\n" +
			"{\"time\":\"2026-01-01T00:00:03Z\",\"msg\":\"Attempting to restore Service: web.\",\"namespace\":\"front\"}\n{\"time\":\"2026-01-01T00:01:00Z\",\"msg\":\"restore completed\"}\n")),
		"restores/r1/restore-r1-results.gz":            gz([]byte(`{"errors":{},"warnings":{}}`)),
		"restores/r1/restore-r1-resource-list.json.gz": gz([]byte(`{"v1/PersistentVolumeClaim":["shop/p(created)"],"v1/Service":["drill/web(updated)"]}`)),
	})
	s := &Source{Store: m, Kinds: map[[2]string]bool{{"", "Namespace"}: true}}
	got := inspect(t, s)
	for _, u := range got.unread {
		t.Error(u)
	}
	names := []string{}
	for _, sub := range got.subjects {
		names = append(names, sub.String())
	}
	if want := "Backup velero/b1, BackupContents velero/b1, Namespace shop, Deployment shop/web, Secret shop/db, Drill r1"; strings.Join(names, ", ") != want {
		t.Errorf("%s\nwant %s", strings.Join(names, ", "), want)
	}
	if text := fmt.Sprint(got.of("Drill")["restored"]); text != "map[claims:[shop/p] namespaces:[front shop]]" {
		t.Errorf("restored: %s", text)
	}
	c := got.of("BackupContents")
	other := memory{}
	maps.Copy(other, m)
	files := sample()
	files[len(files)-1].text += " "
	other["backups/b1/b1.tar.gz"] = gz(tarOf(files...))
	digest := func(c map[string]any) any { return c["objects"].(map[string]any)["digest"] }
	if changed := inspect(t, &Source{Store: other}).of("BackupContents"); digest(c) == nil || digest(c) == digest(changed) {
		t.Errorf("the digest of the objects is %v, and %v of others", digest(c), digest(changed))
	}
	for field, want := range map[string]string{
		"kinds": "map[apps/v1/Deployment:1 v1/Namespace:1 v1/Secret:1]", "secrets": "map[count:1 namespaces:[shop]]", "absent": "[]",
		"issues": "map[errors:1 messages:[e1 w1 w2] warnings:2]", "operations": "map[failed:1 total:2 unfinished:1]",
		"volumes": "[map[phase:Completed pvc:shop/p reason:policy skipped:true zone:eu-1a]]",
	} {
		if text := fmt.Sprint(c[field]); text != want {
			t.Errorf("%s: %s, want %s", field, text, want)
		}
	}
	if o := c["objects"].(map[string]any); o["count"] != int64(3) || o["listed"] != int64(3) || o["missingCount"] != int64(0) || o["unlistedCount"] != int64(0) {
		t.Error(o)
	}
	if text := fmt.Sprint(c["tarball"].(map[string]any)["problems"]); text != "[]" {
		t.Error(text)
	}
	if d := got.of("Drill"); d["succeeded"] != true || d["durationSeconds"] != int64(60) || d["backup"] != "b1" {
		t.Error(d)
	}
	for _, sub := range got.subjects {
		if strings.Contains(fmt.Sprintf("%v", sub.Object), canary) {
			t.Errorf("%s shows a secret", sub)
		}
	}
	about := got.subjects[3]
	if v, state, err := s.Fact(t.Context(), engine.FactQuery{Kind: "Namespace", Name: "shop"}, about); state != engine.FactFound {
		t.Error(v, err)
	}
	if _, state, _ := s.Fact(t.Context(), engine.FactQuery{Kind: "Namespace", Name: "no"}, about); state != engine.FactUnknown {
		t.Errorf("a backup proves nothing absent: %v", state)
	}
}

func TestProblems(t *testing.T) {
	web := object("apps/v1", "Deployment", "shop", "web", "")
	at := "resources/deployments.apps/namespaces/shop/web.json"
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"duplicate":        {[]entry{{at, web}, {at, web + " "}}, "different contents"},
		"twin differs":     {[]entry{{at, web}, {"resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json", object("apps/v1", "Deployment", "shop", "web", `,"x":1`)}}, "differs from the other copy"},
		"path trick":       {[]entry{{"resources/x/../deployments.apps/namespaces/shop/web.json", web}}, "not clean"},
		"dot":              {[]entry{{"./" + at, web}}, "not clean"},
		"out":              {[]entry{{"../../etc/passwd", web}}, "leads out of the archive"},
		"swapped":          {[]entry{{"resources/deployments.apps/namespaces/shop/api.json", web}}, "is named web"},
		"other kind":       {[]entry{{"resources/secrets/namespaces/shop/web.json", object("v1", "ConfigMap", "shop", "web", "")}}, "is a ConfigMap"},
		"long name":        {[]entry{{strings.Repeat("a/", 600) + "x", web}}, "refused: limit 1024 bytes of name"},
		"large":            {[]entry{{at, strings.Repeat(" ", 9<<20)}}, "refused: limit 8388608 bytes of an entry"},
		"yaml":             {[]entry{{at, "a: b"}}, "as JSON, at line 1, column 1"},
		"empty":            {[]entry{{at, ""}}, "cannot be parsed"},
		"a key twice":      {[]entry{{at, `{"a":1,"a":2}`}}, "cannot be parsed"},
		"only preferred":   {[]entry{{"resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json", web}}, "only its copy"},
		"foreign":          {[]entry{{"evil.sh", "x"}}, "no file that Velero writes"},
		"lists, same path": {[]entry{{at, web}, {"/" + at, web}}, "it is there twice"},
	} {
		got := inspect(t, &Source{Store: backup("b", gz(tarOf(c.entries...)))})
		text := fmt.Sprint(got.of("BackupContents")["tarball"].(map[string]any)["problems"])
		if !strings.Contains(text, c.want) {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
	m := backup("b", gz(tarOf(sample()...)))
	m["backups/b/"+metadataFile] = bytes.ReplaceAll(m["backups/b/"+metadataFile], []byte(`"b"`), []byte(`"c"`))
	if text := fmt.Sprint(inspect(t, &Source{Store: m}).of("BackupContents")["tarball"]); !strings.Contains(text, "in the place of b") {
		t.Error(text)
	}
}

func TestTruncationIsCaught(t *testing.T) {
	whole := tarOf(sample()...)
	for n := 0; n < len(whole); n += 512 {
		got := inspect(t, &Source{Store: backup("b", gz(whole[:n]))})
		if got.of("BackupContents")["tarball"].(map[string]any)["complete"] != false || len(got.unread) == 0 {
			t.Errorf("cut at %d of %d: not caught", n, len(whole))
		}
	}
	packed := gz(whole)
	for n := range packed {
		got := inspect(t, &Source{Store: backup("b", packed[:n])})
		if got.of("BackupContents")["tarball"].(map[string]any)["complete"] != false || len(got.unread) == 0 {
			t.Errorf("gzip cut at %d of %d: not caught", n, len(packed))
		}
	}
}

func TestBombsAreRefused(t *testing.T) {
	header := func(flag byte, size int64) []byte {
		var out bytes.Buffer
		_ = tar.NewWriter(&out).WriteHeader(&tar.Header{Name: "x", Size: size, Typeflag: tar.TypeReg})
		b := out.Bytes()[:512]
		b[156] = flag
		copy(b[148:156], "        ")
		sum := 0
		for _, c := range b {
			sum += int(c)
		}
		copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
	for name, c := range map[string]struct {
		tarball []byte
		want    string
	}{
		"ratio":   {gz(tarOf(slices.Repeat([]entry{{"evil", strings.Repeat("a", 7<<20)}}, 4)...)), "refused: limit ratio 100:1"},
		"members": {bytes.Repeat(gz(nil), 1_000_000), "refused: limit 64 gzip members"},
		"header":  {gz(append(header('x', 1<<30), make([]byte, 4096)...)), "refused: limit 65536 bytes of extended header"},
		"sparse":  {gz(append(header('S', 1<<30), make([]byte, 4096)...)), "refused: limit 0 sparse entries"},
		"hidden":  {gz(append(tarOf(sample()...), header('0', 0)...)), "bytes follow the end mark"},
		"link":    {gz(append(header('2', 0), make([]byte, 1024)...)), "refused: it is a link"},
		"device":  {gz(append(header('3', 0), make([]byte, 1024)...)), "refused: it is a device"},
	} {
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := inspect(t, &Source{Store: backup("b", c.tarball)})
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
			t.Errorf("%s: the heap grew by %d MiB", name, grown>>20)
		}
		text := fmt.Sprint(got.of("BackupContents")["tarball"].(map[string]any)["problems"])
		if !strings.Contains(text, c.want) || len(got.unread) == 0 {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}

// shifting is a store whose tarball is another one the second time it is read.
type shifting struct {
	memory
	reads  int
	second []byte
}

func (s *shifting) Open(ctx context.Context, key string) (io.ReadCloser, store.Info, error) {
	if strings.HasSuffix(key, ".tar.gz") {
		if s.reads++; s.reads > 1 {
			return io.NopCloser(bytes.NewReader(s.second)), store.Info{Key: key, Size: int64(len(s.memory[key]))}, nil
		}
	}
	return s.memory.Open(ctx, key)
}

func TestATarballThatChangesIsAHole(t *testing.T) {
	text := tarOf(sample()...)
	m := backup("b", text)
	stored := func(b []byte) []byte {
		var out bytes.Buffer
		w, _ := gzip.NewWriterLevel(&out, gzip.NoCompression)
		_, _ = w.Write(b)
		_ = w.Close()
		return out.Bytes()
	}
	m["backups/b/b.tar.gz"] = stored(text)
	got := inspect(t, &Source{Store: &shifting{memory: m, second: stored(bytes.ReplaceAll(text, []byte(`"replicas":2`), []byte(`"replicas":9`)))}})
	if len(got.unread) == 0 || got.unread[0].Kind != engine.Hole || got.of("Deployment") != nil {
		t.Errorf("%v", got.unread)
	}
}

// squeeze writes a tar short, so that a fuzzer has little to change: a zero and a number stand for that many zeros.
func squeeze(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		if b[0] != 0 {
			out, b = append(out, b[0]), b[1:]
			continue
		}
		n := 1
		for n < len(b) && n < 255 && b[n] == 0 {
			n++
		}
		out, b = append(out, 0, byte(n)), b[n:]
	}
	return out
}

// unsqueeze makes a tar of what squeeze wrote. Every block gets the checksum it would need as a header, or hardly a change
// would get past that.
func unsqueeze(b []byte, most int) []byte {
	var out []byte
	for i := 0; i < len(b) && len(out) < most; i++ {
		if b[i] != 0 || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		out = append(out, make([]byte, b[i])...)
	}
	for at := 0; at+block <= len(out); at += block {
		head := out[at : at+block]
		if zero(head) {
			continue
		}
		copy(head[148:156], "        ")
		sum := 0
		for _, c := range head {
			sum += int(c)
		}
		copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	return out
}

func FuzzGuard(f *testing.F) {
	var odd bytes.Buffer
	w := tar.NewWriter(&odd)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"a": "b"}},
		{Typeflag: tar.TypeReg, Name: strings.Repeat("n", 120), Size: 1, Format: tar.FormatGNU},
		{Typeflag: tar.TypeReg, Name: "é", Format: tar.FormatPAX},
		{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "t"},
	} {
		if err := w.WriteHeader(h); err != nil {
			f.Fatal(err)
		}
		_, _ = w.Write(make([]byte, h.Size))
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	for _, tarball := range [][]byte{tarOf(entry{"a", "1"}, entry{"b", ""}), odd.Bytes()} {
		// The blocks that are no headers get a checksum, too, which these are read the same with.
		seed := squeeze(tarball)
		g := newGuard(bytes.NewReader(unsqueeze(seed, 1<<16)), Limits{}.orDefault())
		for {
			if _, err := g.next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				f.Fatalf("a seed is not read to its end: %v", err)
			}
		}
		f.Add(seed)
	}
	limits := Limits{Header: 4 << 10}.orDefault()
	f.Fuzz(func(t *testing.T, squeezed []byte) {
		b := unsqueeze(squeezed, 1<<16)
		g := newGuard(bytes.NewReader(b), limits)
		n := 0
		for {
			_, err := g.next()
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				return
			}
			n++
		}
		// What the guard takes whole, archive/tar alone takes whole as well, with as many entries.
		r := tar.NewReader(bytes.NewReader(b))
		for range n {
			if _, err := r.Next(); err != nil {
				t.Fatalf("the guard took an entry that archive/tar does not: %v", err)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("archive/tar sees another entry: %v", err)
		}
	})
}
