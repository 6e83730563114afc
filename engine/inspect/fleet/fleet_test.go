package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/fleet"
)

// things are subjects and errors to yield.
type things []any

func (l things) Inspect(context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		for _, one := range l {
			s, _ := one.(*engine.Subject)
			err, _ := one.(error)
			if !yield(s, err) {
				return
			}
		}
	}
}

// of reads a subject of a source from JSON with apiVersion, kind and metadata in short: "v1/Kind ns/name" and the rest.
func of(source, what, rest string) *engine.Subject {
	kind, at, _ := strings.Cut(what, " ")
	i := strings.LastIndex(kind, "/")
	namespace, name, ok := strings.Cut(at, "/")
	if !ok {
		namespace, name = "", at
	}
	o := map[string]any{}
	if rest == "" {
		rest = "{}"
	}
	if err := json.Unmarshal([]byte(rest), &o); err != nil {
		panic(fmt.Sprintf("%s: %v", rest, err))
	}
	meta, _ := o["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
	}
	meta["name"] = name
	if namespace != "" {
		meta["namespace"] = namespace
	}
	o["apiVersion"], o["kind"], o["metadata"] = kind[:i], kind[i+1:], meta
	return &engine.Subject{APIVersion: kind[:i], Kind: kind[i+1:], Namespace: namespace, Name: name, Object: o, Origin: engine.Origin{Source: source}}
}

const (
	prod  = "cluster:prod"
	claim = "v1/PersistentVolumeClaim shop/data"
	bound = `{"spec":{"volumeName":"v"},"status":{"phase":"Bound"}}`
	daily = "velero.io/v1/Schedule velero/daily"
)

// base is a cluster with one claim on a CSI volume.
func base(more ...any) things {
	return append(things{of(prod, "v1/Namespace shop", `{"metadata":{"labels":{"tier":"gold"}}}`), of(prod, "v1/Namespace velero", ""), of(prod, claim, bound),
		of(prod, "v1/PersistentVolume v", `{"spec":{"csi":{"driver":"ebs.csi.aws.com"}}}`)}, more...)
}

func backup(name, completed, spec string) *engine.Subject {
	return of(prod, "velero.io/v1/Backup velero/"+name, `{"spec":`+spec+`,"status":{"phase":"Completed","startTimestamp":"`+completed+`","completionTimestamp":"`+completed+`","expiration":"2026-08-09T12:00:00Z"}}`)
}

func TestProtection(t *testing.T) {
	const noon = "2026-07-10T12:00:00Z"
	location := of(prod, "velero.io/v1/BackupStorageLocation velero/default", `{"spec":{"provider":"aws","default":true,"objectStorage":{"bucket":"vault"},"config":{"region":"eu-west-1"}}}`)
	bucket := of("bucket:s3://vault", "artifact.proviso.dev/v1alpha1/Bucket vault", `{"provider":"s3","region":"eu-central-1","account":"222","objectLock":{"enabled":true,"mode":"COMPLIANCE","days":30},"encryption":{"algorithm":"AES256"},
		"replication":[{"status":"Enabled","bucket":"far","region":"eu-north-1","account":"333"},{"status":"Disabled","bucket":"off","region":"eu-south-1"}]}`)
	contents := func(volumes, more string) *engine.Subject {
		return of("velero:s3://vault", "artifact.proviso.dev/v1alpha1/BackupContents velero/b1", `{"backup":{"name":"b1","namespace":"velero","started":"`+noon+`","phase":"Completed","errors":0},"location":{"bucket":"vault"`+more+`},"tarball":{"complete":true},"volumesKnown":true,"volumes":`+volumes+`}`)
	}
	moved := backup("b1", noon, `{"snapshotMoveData":true}`)
	for name, c := range map[string]struct {
		in       things
		want     map[string]string
		unlisted bool
	}{
		"covered by a schedule of everything": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{}},"status":{"phase":"Enabled"}}`)),
			map[string]string{"covered": "true", "longestGapSeconds": "86400", "unknown": "[]", "cluster": `"production"`}, false},
		"namespace not included": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"includedNamespaces":["other"]}}}`)),
			map[string]string{"covered": "false", "excluded": `[{"schedule":"daily","why":"its namespace is not included"}]`}, false},
		"nothing was listed whole": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"includedNamespaces":["other"]}}}`)),
			map[string]string{"covered": "", "unknown": `[{"what":"covered","why":"not every schedule of production was listed"},{"what":"backups","why":"not every backup of production was listed"}]`}, true},
		"namespace by wildcard": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"includedNamespaces":["sh*"]}}}`)), map[string]string{"covered": "true"}, false},
		"exclude label on the namespace": {base(of(prod, "v1/Namespace shop", `{"metadata":{"labels":{"velero.io/exclude-from-backup":"true"}}}`), of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{}}}`)),
			map[string]string{"covered": "false", "excluded": `[{"schedule":"daily","why":"its namespace has the label velero.io/exclude-from-backup=true"}]`}, false},
		"exclude label on the claim": {base(of(prod, claim, `{"metadata":{"labels":{"velero.io/exclude-from-backup":"true"}},"spec":{"volumeName":"v"}}`), of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{}}}`)),
			map[string]string{"covered": "false"}, false},
		"paused":            {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","paused":true,"template":{}}}`)), map[string]string{"covered": "false", "excluded": `[{"schedule":"daily","why":"the schedule is paused"}]`}, false},
		"failed validation": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{}},"status":{"phase":"FailedValidation"}}`)), map[string]string{"covered": "false"}, false},
		"object but not its data": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"snapshotVolumes":false}}}`)),
			map[string]string{"covered": "false", "excluded": `[{"schedule":"daily","why":"snapshotVolumes is false and no pod's files are copied"}]`}, false},
		"a policy nobody could read": {base(of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"resourcePolicy":{"kind":"configmap","name":"p"}}}}`)),
			map[string]string{"covered": "", "unknown": `[{"what":"schedule daily","why":"the resource policy in ConfigMap p is not known"}]`}, false},
		"a policy that skips": {base(of(prod, "v1/ConfigMap velero/p", `{"data":{"p":"{\"version\":\"v1\",\"volumePolicies\":[{\"conditions\":{\"csi\":{}},\"action\":{\"type\":\"skip\"}}]}"}}`),
			of(prod, daily, `{"spec":{"schedule":"0 3 * * *","template":{"resourcePolicy":{"kind":"configmap","name":"p"}}}}`)),
			map[string]string{"covered": "false", "excluded": `[{"schedule":"daily","why":"the resource policy skips the volume"}]`}, false},
		"a refused listing": {base(&engine.Unread{Source: prod, Kind: engine.Hole, Err: errors.New("list schedules: refused")}),
			map[string]string{"covered": "", "unknown": `[{"what":"listing","why":"list schedules: refused"},{"what":"covered","why":"not every schedule of production was listed"},{"what":"backups","why":"not every backup of production was listed"}]`}, false},
		"the newest good backup": {base(backup("b1", noon, `{}`), backup("b0", "2026-07-01T12:00:00Z", `{}`), backup("b2", "2026-07-11T12:00:00Z", `{"includedNamespaces":["other"]}`)),
			map[string]string{"lastGood": `{"completed":"2026-07-10T12:00:00Z","location":"default","name":"b1"}`}, false},
		"skipped in the backup's own list": {base(location, moved, contents(`[{"pvc":"shop/data","skipped":true}]`, "")), map[string]string{"backups": "[]", "lastGood": ""}, false},
		"two stores that tell different things": {base(location, moved, contents(`[{"pvc":"shop/data","skipped":false,"result":"succeeded"}]`, ""), contents(`[{"pvc":"shop/data","skipped":true}]`, "")),
			map[string]string{"lastGood": "", "unknown": `[{"what":"backup b1","why":"several stores in the scan hold a backup of its name: scan the one its location names"}]`}, false},
		"two clusters writing under one prefix": {base(location, backup("b1", "2026-07-10T11:00:00Z", `{"snapshotMoveData":true}`), contents(`[{"pvc":"shop/data","skipped":false,"result":"succeeded"}]`, "")),
			map[string]string{"lastGood": "", "unknown": `[{"what":"backup b1","why":"what lies under its name in bucket vault was started 2026-07-10T12:00:00Z, not 2026-07-10T11:00:00Z: another cluster may write under the same prefix"}]`}, false},
		"copies in other regions": {base(location, bucket, moved, contents(`[{"pvc":"shop/data","skipped":false,"result":"succeeded"}]`, "")), map[string]string{
			"domains": `{"accounts":["111","222","333"],"media":["cluster","object-store"],"regions":["eu-central-1","eu-north-1","eu-west-1"]}`,
			"copies": `[{"account":"111","location":"production","medium":"cluster","offsite":false,"region":"eu-west-1"},` +
				`{"account":"222","bucket":"vault","encrypted":true,"immutable":true,"location":"default","medium":"object-store","offsite":true,"provider":"aws","region":"eu-central-1","verified":true},` +
				`{"account":"333","bucket":"far","location":"default","medium":"object-store","offsite":true,"region":"eu-north-1"}]`}, false},
		"a snapshot is no second place": {base(location, backup("b1", noon, `{}`)), map[string]string{"domains": `{"accounts":["111"],"media":["cluster","snapshot"],"regions":["eu-west-1"]}`}, false},
		"the newest drill of a good backup": {base(backup("b1", noon, `{}`),
			of(prod, "velero.io/v1/Restore velero/r1", `{"spec":{"backupName":"b1"},"status":{"phase":"Completed","startTimestamp":"2026-07-10T13:00:00Z","completionTimestamp":"2026-07-10T13:30:00Z"}}`),
			of(prod, "velero.io/v1/Restore velero/r2", `{"spec":{"backupName":"gone"},"status":{"phase":"Completed","startTimestamp":"2026-07-11T13:00:00Z","completionTimestamp":"2026-07-11T13:30:00Z"}}`),
			of(prod, "velero.io/v1/Restore velero/r3", `{"spec":{"backupName":"b1"},"status":{"phase":"PartiallyFailed","startTimestamp":"2026-07-12T13:00:00Z","completionTimestamp":"2026-07-12T13:30:00Z"}}`)),
			map[string]string{"drill": `{"completed":"2026-07-10T13:30:00Z","durationSeconds":1800,"location":"default","name":"r1"}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			j := fleet.Join{In: c.in, Clusters: map[string]fleet.Cluster{prod: {Name: "production", Region: "eu-west-1", Account: "111"}}, Listed: func(_, _, kind string) bool { return !c.unlisted }, Now: time.Date(2026, 7, 12, 0, 0, 0, 0, time.UTC),
				Decode: func(text string) (m map[string]any, err error) { return m, json.Unmarshal([]byte(text), &m) }}
			var got *engine.Subject
			passed := 0
			for s, err := range j.Inspect(context.Background()) {
				if err != nil || s.Kind != "Protection" && s.Kind != "StorageLocation" {
					passed++
				} else if s.Kind == "Protection" {
					got = s
				}
			}
			if passed != len(c.in) {
				t.Errorf("%d of %d passed through", passed, len(c.in))
			}
			if got == nil {
				t.Fatal("no Protection")
			}
			for field, want := range c.want {
				have := ""
				if v, ok := got.Object[field]; ok {
					text, _ := json.Marshal(v)
					have = string(text)
				}
				if have != want {
					t.Errorf("%s is\n%s, want\n%s", field, have, want)
				}
			}
		})
	}
}
