package velero

import (
	"fmt"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// drilled is the Drill of a restore whose log has the lines, as "namespace: message", and whose list is the text.
func drilled(t *testing.T, list string, lines ...string) map[string]any {
	t.Helper()
	log := `{"time":"2026-01-01T00:00:00Z","msg":"Starting restore of backup velero/b1"}` + "\n"
	for _, line := range lines {
		namespace, message, _ := strings.Cut(line, ": ")
		log += fmt.Sprintf(`{"time":"2026-01-01T00:00:01Z","msg":%q,"namespace":%q}`, message, namespace) + "\n"
	}
	log += `{"time":"2026-01-01T00:01:00Z","msg":"restore completed"}` + "\n"
	m := memory{"restores/r/restore-r-logs.gz": gz([]byte(log)), "restores/r/restore-r-results.gz": gz([]byte(`{"errors":{},"warnings":{}}`))}
	if list != "" {
		m["restores/r/restore-r-resource-list.json.gz"] = gz([]byte(list))
	}
	return inspect(t, &Source{Store: m}).of("Drill")
}

// What a restore tried counts as taken back where its list says that it was made.
func TestDrillTookBackWhatWasMade(t *testing.T) {
	try := func(namespace, what string) string { return namespace + ": Attempting to restore " + what + "." }
	claim := func(namespace string) string { return try(namespace, "PersistentVolumeClaim: data") }
	put := func(namespace, into string) string {
		return namespace + ": the managed fields for " + into + "/data is patched"
	}
	claims := func(entries string) string { return `{"v1/PersistentVolumeClaim":[` + entries + `]}` }
	const all = "map[claims:[shop/data] namespaces:[shop]]"
	const none, unsaid = "map[claims:[] namespaces:[]]", "<nil>"
	for name, c := range map[string]struct {
		list  string
		lines []string
		want  string
	}{
		"created":                             {claims(`"shop/data(created)"`), []string{claim("shop")}, all},
		"updated":                             {claims(`"shop/data(updated)"`), []string{claim("shop")}, all},
		"created in another namespace":        {claims(`"drill/data(created)"`), []string{claim("shop")}, all},
		"it was there already":                {claims(`"shop/data(skipped)"`), []string{claim("shop")}, none},
		"failed":                              {claims(`"shop/data(failed)"`), []string{claim("shop")}, none},
		"what became of it is not said":       {claims(`"shop/data"`), []string{claim("shop")}, unsaid},
		"what became of it is cut short":      {claims(`"shop/data(created"`), []string{claim("shop")}, unsaid},
		"the log names no namespace":          {claims(`"shop/data(created)"`), []string{claim("")}, none},
		"not said of another":                 {claims(`"shop/data(created)","shop/more"`), []string{claim("shop")}, unsaid},
		"the list is not there":               {"", []string{claim("shop")}, unsaid},
		"the list is cut short":               {`{"v1/PersistentVolumeClaim":["shop/data(created)"`, []string{claim("shop")}, unsaid},
		"the list is empty":                   {`{}`, []string{claim("shop")}, none},
		"another name was made":               {claims(`"shop/other(created)"`), []string{claim("shop")}, none},
		"another kind was made":               {`{"v1/Secret":["shop/data(created)"]}`, []string{claim("shop")}, none},
		"something else of its namespace":     {`{"v1/PersistentVolumeClaim":["shop/data(skipped)"],"apps/v1/Deployment":["shop/web(created)"]}`, []string{claim("shop"), try("shop", "Deployment: web")}, "map[claims:[] namespaces:[shop]]"},
		"the namespace alone":                 {`{"v1/Namespace":["shop(created)"],"v1/PersistentVolumeClaim":["shop/data(skipped)"]}`, []string{try("", "Namespace: shop"), claim("shop")}, none},
		"two, both made":                      {claims(`"a/data(created)","b/data(created)"`), []string{claim("shop"), claim("front")}, "map[claims:[front/data shop/data] namespaces:[front shop]]"},
		"two, one made":                       {claims(`"shop/data(created)","front/data(skipped)"`), []string{claim("shop"), claim("front")}, none},
		"two, one made where the log says":    {claims(`"a/data(created)","b/data(skipped)"`), []string{claim("shop"), claim("front"), put("shop", "a")}, all},
		"two, one skipped where the log says": {claims(`"a/data(created)","b/data(skipped)"`), []string{claim("shop"), claim("front"), put("shop", "b")}, none},
		"two into one":                        {claims(`"a/data(created)"`), []string{claim("shop"), claim("front")}, none},
		"one of two groups":                   {`{"a/v1/Ledger":["shop/main(created)"],"b/v1/Ledger":["shop/main(failed)"]}`, []string{try("shop", "Ledger: main")}, none},
		"the other of two groups":             {`{"a/v1/Ledger":["shop/main(failed)"],"b/v1/Ledger":["shop/main(created)"]}`, []string{try("shop", "Ledger: main")}, none},
	} {
		if text := fmt.Sprint(drilled(t, c.list, c.lines...)["restored"]); text != c.want {
			t.Errorf("%s: restored %s, want %s", name, text, c.want)
		}
	}
}

// A restore of more than is held tells of nothing that it took back, and says so.
func TestDrillOfTooMuchIsAHole(t *testing.T) {
	var log strings.Builder
	log.WriteString(`{"time":"2026-01-01T00:00:00Z","msg":"Attempting to restore PersistentVolumeClaim: data.","namespace":"shop"}` + "\n")
	for i := range maxTried {
		fmt.Fprintf(&log, `{"time":"2026-01-01T00:00:00Z","msg":"Attempting to restore Secret: s%x.","namespace":"shop"}`+"\n", uint64(i)*0x9e3779b97f4a7c15)
	}
	got := inspect(t, &Source{Store: memory{"restores/r/restore-r-logs.gz": gz([]byte(log.String())),
		"restores/r/restore-r-resource-list.json.gz": gz([]byte(`{"v1/PersistentVolumeClaim":["shop/data(created)"]}`))}})
	holes := 0
	for _, u := range got.unread {
		if u.Kind == engine.Hole && strings.Contains(u.Error(), "refused: limit 250000 objects") {
			holes++
		}
	}
	if d := got.of("Drill"); holes != 1 || d == nil || d["restored"] != nil {
		t.Errorf("%v, unread %v, want a hole and nothing restored", d, got.unread)
	}
}

// A list that lies before the log, as in a tar, is read after it.
func TestDrillReadsTheLogFirst(t *testing.T) {
	m := backup("b1", gz(tarOf(sample()...)))
	f := &folder{dir: "restores/r", name: "r"}
	m["restores/r/restore-r-logs.gz"] = gz([]byte(`{"time":"2026-01-01T00:00:00Z","msg":"Attempting to restore Secret: db.","namespace":"shop"}` + "\n"))
	m["restores/r/restore-r-resource-list.json.gz"] = gz([]byte(`{"v1/Secret":["shop/db(created)"]}`))
	for info, err := range m.List(t.Context(), "restores/") {
		if err != nil {
			t.Fatal(err)
		}
		f.files = append([]store.Info{info}, f.files...)
	}
	var got map[string]any
	r := &run{Source: &Source{Store: m}, ctx: t.Context(), limits: Limits{}.orDefault(), yield: func(s *engine.Subject, _ error) bool {
		got = s.Object
		return true
	}}
	r.drill(f)
	if text := fmt.Sprint(got["restored"]); text != "map[claims:[] namespaces:[shop]]" {
		t.Errorf("restored %s", text)
	}
}

// The fleet's join knows an emptied store by these words.
func TestStoreWithoutBackupsSaysSo(t *testing.T) {
	got := inspect(t, &Source{Store: memory{}})
	if len(got.unread) != 1 || !strings.HasPrefix(got.unread[0].Err.Error(), "find backups: there are none") {
		t.Error(got.unread)
	}
}
