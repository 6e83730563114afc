package fleet_test

import (
	"errors"
	"strings"
	"testing"

	"proviso.dev/proviso/engine"
)

const taken = `"volumes":[{"pvc":"shop/data","skipped":false,"result":"succeeded"}]`

// stored is what the bucket vault, scanned from its root, holds of a backup that began when those of moved did; rest replaces
// what it says of itself.
func stored(name, prefix, rest string) *engine.Subject {
	return of("s3://vault", "artifact.proviso.dev/v1alpha1/BackupContents velero/"+name, `{"backup":{"name":"`+name+`","namespace":"velero","started":"`+began+`","phase":"Completed","errors":0},
		"location":{"store":"s3://vault","bucket":"vault","prefix":"`+prefix+`"},"tarball":{"complete":true},"volumesKnown":true,`+rest+`}`)
}

func TestBackupIsGoodByWhatIsStoredOfIt(t *testing.T) {
	told := func(rest string) *engine.Subject { return stored("b1", "", taken+`,`+rest) }
	itself := func(rest string) *engine.Subject {
		return told(`"backup":{"name":"b1","namespace":"velero","started":"` + began + `"` + rest + `}`)
	}
	volume := func(entries string) *engine.Subject { return stored("b1", "", `"volumes":[`+entries+`]`) }
	const done, left = `{"pvc":"shop/data","skipped":false,"result":"succeeded"}`, `{"pvc":"shop/data","skipped":true}`
	for name, c := range map[string]struct {
		in   *engine.Subject
		good bool
		why  string // in the doubt; empty is none
	}{
		"whole":                          {stored("b1", "", taken), true, ""},
		"damaged tarball":                {told(`"tarball":{"complete":false}`), false, "its tarball"},
		"no tarball":                     {told(`"tarball":null`), false, "its tarball"},
		"failed in part":                 {itself(`,"phase":"PartiallyFailed","errors":0`), false, "PartiallyFailed"},
		"no phase":                       {itself(`,"errors":0`), false, "phase"},
		"errors":                         {itself(`,"phase":"Completed","errors":12`), false, "counts 12 errors"},
		"errors as text":                 {itself(`,"phase":"Completed","errors":"7"`), false, "how many errors"},
		"half an error":                  {itself(`,"phase":"Completed","errors":0.5`), false, "how many errors"},
		"errors not said":                {itself(`,"phase":"Completed"`), false, "how many errors"},
		"volume failed":                  {volume(`{"pvc":"shop/data","skipped":false,"result":"failed"}`), false, ""},
		"volume cancelled":               {volume(`{"pvc":"shop/data","skipped":false,"phase":"Canceled"}`), false, ""},
		"volume on its way":              {volume(`{"pvc":"shop/data","skipped":false,"phase":"InProgress"}`), false, "does not say that the data"},
		"volume without a result":        {volume(`{"pvc":"shop/data","skipped":false}`), false, "does not say that the data"},
		"volume of which skip is text":   {volume(`{"pvc":"shop/data","skipped":"true","result":"succeeded"}`), false, "does not say that the data"},
		"volume of an older version":     {volume(`{"pvc":"shop/data","skipped":false,"phase":"Completed"}`), true, ""},
		"taken, then skipped":            {volume(done + `,` + left), false, ""},
		"taken, then not known":          {volume(done + `,{"pvc":"shop/data","skipped":false}`), false, "does not say that the data"},
		"another file says it failed":    {told(`"volumesNotHeld":[{"pvc":"shop/data","state":"failed"}]`), false, ""},
		"another file names its volume":  {told(`"volumesNotHeld":[{"pv":"v","state":"failed"}]`), false, ""},
		"another file is not sure":       {told(`"volumesNotHeld":[{"pvc":"shop/data","state":"unknown"}]`), false, "does not say that the data"},
		"another volume failed":          {told(`"volumesNotHeldCount":2,"volumesNotHeld":[{"pvc":"shop/other","pv":"v","state":"failed"},{"pv":"w","state":"failed"}]`), true, ""},
		"more failed than are named":     {told(`"volumesNotHeldCount":2,"volumesNotHeld":[{"pvc":"shop/other","state":"failed"}]`), false, "names not all"},
		"other claims alone":             {volume(`{"pvc":"shop/other","skipped":false,"result":"succeeded"}`), false, ""},
		"list not known":                 {stored("b1", "", `"volumesKnown":false,"volumes":[]`), true, ""},
		"list not known, volume skipped": {stored("b1", "", `"volumesKnown":false,"volumes":[`+left+`]`), false, ""},
	} {
		got := protected(t, base(place("default", "vault"), found("vault", `{}`), moved("b1", "default"), c.in), true, "lastGood", "backups", "unknown")
		if (got["lastGood"] != "") != c.good || !strings.Contains(got["unknown"], c.why) || (got["unknown"] == "[]") != (c.why == "") || (got["backups"] == "") != (c.why != "") {
			t.Errorf("%s: %v, want a good backup: %v, a doubt with %q", name, got, c.good, c.why)
		}
	}
}

// A backup that the cluster lists and its store no longer holds is neither good nor a copy.
func TestBackupThatIsGoneFromItsStore(t *testing.T) {
	below := of(prod, "velero.io/v1/BackupStorageLocation velero/default", `{"spec":{"provider":"aws","objectStorage":{"bucket":"vault","prefix":"prod/"}}}`)
	drill := of("s3://vault", "artifact.proviso.dev/v1alpha1/Drill r", `{"location":{"store":"s3://vault","bucket":"vault"}}`)
	none := func(source, why string) *engine.Unread {
		return &engine.Unread{Source: source, Kind: engine.Hole, Err: errors.New(why)}
	}
	const empty = "find backups: there are none (give a folder or prefix that holds backups/, or one backup's own folder)"
	for name, c := range map[string]struct {
		in   []any
		gone bool
	}{
		"it is there":                        {[]any{place("default", "vault"), stored("b1", "", taken)}, false},
		"it is there below":                  {[]any{below, stored("b1", "prod", taken)}, false},
		"another is there":                   {[]any{place("default", "vault"), stored("b0", "", taken)}, true},
		"another is there below":             {[]any{below, stored("b0", "prod", taken)}, true},
		"a restore is there":                 {[]any{place("default", "vault"), drill}, true},
		"nothing is there":                   {[]any{place("default", "vault"), none("s3://vault?endpoint=https://x", empty)}, true},
		"nothing is there below":             {[]any{below, none("s3://vault/prod", empty)}, true},
		"nothing is below what was scanned":  {[]any{below, none("s3://vault", empty)}, true},
		"only another location is below":     {[]any{below, stored("b0", "dev", taken)}, true},
		"a location above it was scanned":    {[]any{below, stored("b0", "dev", taken), stored("b0", "", taken)}, false},
		"another bucket was scanned":         {[]any{place("default", "else"), stored("b0", "", taken)}, false},
		"another prefix was scanned":         {[]any{below, none("s3://vault/dev", empty)}, false},
		"a prefix that begins alike":         {[]any{below, none("s3://vault/pro", empty)}, false},
		"the bucket's settings were scanned": {[]any{place("default", "vault"), none("s3://vault", "get policy: refused")}, false},
		"a copy without its bucket's name":   {[]any{of("/copy", "artifact.proviso.dev/v1alpha1/BackupContents velero/b0", `{"backup":{"name":"b0","namespace":"velero"},"location":{"store":"/copy"}}`)}, false},
		"nothing was scanned":                {[]any{place("default", "vault")}, false},
	} {
		got := protected(t, base(append(c.in, moved("b1", "default"))...), true, "lastGood", "copies", "unknown")
		doubted := strings.Contains(got["unknown"], `"what":"backup b1","why":"its location vault`)
		if doubted != c.gone || (got["lastGood"] == "") != c.gone || strings.Contains(got["copies"], "object-store") == c.gone {
			t.Errorf("%s: %v, want it gone: %v", name, got, c.gone)
		}
	}
}

// What is no whole number is not zero.
func TestErrorsThatCannotBeCounted(t *testing.T) {
	counted := func(errors string) *engine.Subject {
		return of(prod, "velero.io/v1/Backup velero/b1", `{"status":{"phase":"Completed",`+errors+`"startTimestamp":"`+began+`","completionTimestamp":"`+began+`"}}`)
	}
	restore := func(errors string) *engine.Subject {
		return of(prod, "velero.io/v1/Restore velero/r", `{"spec":{"backupName":"b1"},"status":{"phase":"Completed",`+errors+`"startTimestamp":"`+began+`","completionTimestamp":"`+began+`"}}`)
	}
	for errors, c := range map[string]struct{ good, doubted bool }{
		``: {true, false}, `"errors":0,`: {true, false}, `"errors":7,`: {false, false}, `"errors":-7,`: {false, false}, `"errors":"7",`: {false, true}, `"errors":[],`: {false, true},
	} {
		got := protected(t, base(counted(errors)), true, "lastGood", "unknown")
		if (got["lastGood"] != "") != c.good || strings.Contains(got["unknown"], `"backup b1"`) != c.doubted {
			t.Errorf("backup with %s %v, want a good one: %v, a doubt: %v", errors, got, c.good, c.doubted)
		}
		got = protected(t, base(counted(""), restore(errors)), true, "drill", "unknown")
		if (got["drill"] != "") != c.good || strings.Contains(got["unknown"], `"drill r"`) != c.doubted {
			t.Errorf("restore with %s %v, want a drill: %v, a doubt: %v", errors, got, c.good, c.doubted)
		}
	}
}

// A restore can only have tried a backup that was there.
func TestDrillThatBeganBeforeItsBackup(t *testing.T) {
	const fields = `{"restored":{"namespaces":["shop"],"claims":["shop/data"]},`
	for name, c := range map[string]struct {
		start, end, fields string
		want, doubted      bool
	}{
		"after":                         {"2026-07-10T13:00:00Z", "2026-07-10T13:30:00Z", fields, true, false},
		"at once":                       {began, "2026-07-10T13:30:00Z", fields, true, false},
		"began before it":               {"2026-07-10T11:59:59Z", "2026-07-10T13:30:00Z", fields, false, false},
		"ended before it":               {"2026-07-01T13:00:00Z", "2026-07-01T13:30:00Z", fields, false, false},
		"start not said":                {"", "2026-07-10T13:30:00Z", fields, false, true},
		"ended before it began":         {"2026-07-10T14:00:00Z", "2026-07-10T13:30:00Z", fields, false, true},
		"what it took back is not said": {"2026-07-10T13:00:00Z", "2026-07-10T13:30:00Z", `{`, false, true},
	} {
		one := of("velero:x", "artifact.proviso.dev/v1alpha1/Drill r", c.fields+`"restore":{"name":"r","backup":"b1"},"succeeded":true,"started":"`+c.start+`","completed":"`+c.end+`","location":{"store":"/copy"}}`)
		got := protected(t, base(place("default", "vault"), moved("b1", "default"), one), true, "drill", "unknown")
		if (got["drill"] != "") != c.want || strings.Contains(got["unknown"], `"drill r"`) != c.doubted {
			t.Errorf("%s: %v, want a drill: %v, a doubt: %v", name, got, c.want, c.doubted)
		}
	}
}

// What lies in a backup's tarball is a copy of a cluster and no cluster; a ! in a name makes none.
func TestOnlyArchivesAreLeftOut(t *testing.T) {
	for file, want := range map[string]bool{"mx/a.yaml": true, "m!x/a.yaml": true, "m!x/backups/b/b.tar.gz!resources/pods.json": false, "b.tar.gz!namespaces/a!b.json": false} {
		in := base()
		for _, one := range in {
			one.(*engine.Subject).Origin.File = file
		}
		if got := protected(t, in, true, "covered")["covered"]; (got != "") != want {
			t.Errorf("%s: covered is %q, want it told: %v", file, got, want)
		}
	}
}

// Whether a pod is taken can hang on the labels of its namespace, which are in the scan.
func TestPodsAreTakenByTheLabelsOfTheirNamespace(t *testing.T) {
	pod := of(prod, "v1/Pod shop/p", `{"metadata":{"annotations":{"backup.velero.io/backup-volumes":"data"}},"spec":{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data"}}]},"status":{"phase":"Running"}}`)
	plan := of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"includedNamespaces":["shop"],"snapshotVolumes":false}}}`)
	if got := protected(t, base(pod, plan), false, "covered", "unknown"); got["covered"] != "true" {
		t.Errorf("%v, want the claim covered", got)
	}
}
