package webhook_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

func TestSideOf(t *testing.T) {
	const closed, open = webhook.FailClosed, webhook.FailOpen
	for _, tc := range []struct {
		group, kind          string
		create, change, gone webhook.Side
	}{
		{"velero.io", "BackupStorageLocation", closed, closed, closed},
		{"velero.io", "VolumeSnapshotLocation", closed, closed, closed},
		{"velero.io", "Schedule", closed, closed, closed},
		{"storage.k8s.io", "StorageClass", closed, closed, closed},
		{"snapshot.storage.k8s.io", "VolumeSnapshotClass", closed, closed, closed},
		{"s3.services.k8s.aws", "Bucket", closed, closed, closed},
		{"storage.cnrm.cloud.google.com", "StorageBucket", closed, closed, closed},
		{"proviso.dev", "Waiver", closed, closed, closed},
		{"proviso.dev", "Profile", closed, closed, closed},
		{"velero.io", "Restore", closed, open, open},
		{"velero.io", "DeleteBackupRequest", closed, open, open},
		{"velero.io", "Backup", open, open, open},
		{"k8up.io", "Schedule", closed, closed, closed},
		{"k8up.io", "Restore", open, open, open},
		{"k8up.io", "Backup", open, open, open},
		{"config.kio.kasten.io", "Policy", closed, closed, closed},
		{"postgresql.cnpg.io", "ScheduledBackup", closed, closed, closed},
		{"postgresql.cnpg.io", "Cluster", open, open, open},
		{"longhorn.io", "RecurringJob", closed, closed, closed},
		{"longhorn.io", "Volume", open, open, open},
		{"volsync.backube", "ReplicationSource", open, open, open},
		{"kubevirt.io", "VirtualMachine", open, open, open},
		{"", "PersistentVolumeClaim", open, open, open},
		{"", "PersistentVolume", open, open, open},
		{"", "Namespace", open, open, open},
		{"apps", "StatefulSet", open, open, open},
		{"example.org", "Bucket", open, open, open},
	} {
		got := [3]webhook.Side{}
		for i, operation := range []string{engine.Create, engine.Update, engine.Delete} {
			got[i] = webhook.SideOf(tc.group, tc.kind, operation, nil)
		}
		if want := [3]webhook.Side{tc.create, tc.change, tc.gone}; got != want {
			t.Errorf("%s of %q: create, update, delete go to %v, want %v", tc.kind, tc.group, got, want)
		}
	}
}

func TestMovedKinds(t *testing.T) {
	moved := map[string]webhook.Side{"Backup.velero.io": webhook.FailClosed, "Restore.velero.io": webhook.FailClosed, "Schedule.velero.io": webhook.FailOpen,
		"Namespace": webhook.FailClosed, "Waiver.proviso.dev": webhook.FailOpen}
	for _, tc := range []struct {
		group, kind, operation string
		want                   webhook.Side
	}{
		{"velero.io", "Schedule", engine.Update, webhook.FailOpen},
		{"", "Namespace", engine.Update, webhook.FailClosed},
		{"velero.io", "Backup", engine.Create, webhook.FailClosed},
		// Velero writes its progress there: no profile can let an outage stop it.
		{"velero.io", "Backup", engine.Update, webhook.FailOpen},
		{"velero.io", "Backup", engine.Delete, webhook.FailOpen},
		{"velero.io", "Restore", engine.Update, webhook.FailOpen},
		// Who can move Waiver can turn the guard of waivers off.
		{"proviso.dev", "Waiver", engine.Create, webhook.FailClosed},
	} {
		if got := webhook.SideOf(tc.group, tc.kind, tc.operation, moved); got != tc.want {
			t.Errorf("%s of %s goes to %v, want %v", tc.operation, tc.kind, got, tc.want)
		}
	}
	rows := []engine.MatchRow{{Group: "velero.io", Kinds: []string{"Schedule"}}}
	for _, text := range []string{"Waiver.proviso.dev", "Shedule.velero.io", "velero.io/Schedule"} {
		if _, _, _, err := webhook.Rules(rows, nil, map[string]webhook.Side{text: webhook.FailOpen}); err == nil || !strings.Contains(err.Error(), "move "+text) {
			t.Errorf("moving %s is not refused: %v", text, err)
		}
	}
}

// flat is each group, version, resource and operation of rules, and how often.
func flat(rules []admissionregistration.RuleWithOperations) map[string]int {
	m := map[string]int{}
	for _, r := range rules {
		for _, g := range r.APIGroups {
			for _, v := range r.APIVersions {
				for _, res := range r.Resources {
					for _, op := range r.Operations {
						m[fmt.Sprint(g, "/", v, " ", res, " ", op)]++
					}
				}
			}
		}
	}
	return m
}

func TestRules(t *testing.T) {
	served := []webhook.Resource{
		{Group: "", Versions: []string{"v1"}, Kind: "Namespace", Plural: "namespaces", Subresources: []string{"finalize", "status"}},
		{Group: "velero.io", Versions: []string{"v1"}, Kind: "Restore", Plural: "restores", Namespaced: true},
		{Group: "example.org", Versions: []string{"v1", "v1beta1"}, Kind: "Tape", Plural: "tapes", Namespaced: true},
	}
	all := []string{engine.Create, engine.Delete, engine.Update}
	own := []string{"proviso.dev/v1alpha1 profiles CREATE", "proviso.dev/v1alpha1 profiles DELETE", "proviso.dev/v1alpha1 profiles UPDATE",
		"proviso.dev/v1alpha1 waivers CREATE", "proviso.dev/v1alpha1 waivers DELETE", "proviso.dev/v1alpha1 waivers UPDATE"}
	for _, tc := range []struct {
		name         string
		rows         []engine.MatchRow
		known        []webhook.Resource
		fail, ignore []string
		dropped, err string
	}{
		{name: "nothing", known: served},
		{name: "a policy on our own kind", rows: []engine.MatchRow{{Group: "proviso.dev", Kinds: []string{"Waiver"}, Operations: []string{engine.Create}}}},
		{name: "subresources are there for updates only", known: served, rows: []engine.MatchRow{{Kinds: []string{"Namespace"}, Operations: []string{engine.Create, engine.Update}}},
			ignore: []string{"/v1 namespaces CREATE", "/v1 namespaces UPDATE", "/v1 namespaces/finalize CREATE", "/v1 namespaces/finalize UPDATE", "/v1 namespaces/status CREATE", "/v1 namespaces/status UPDATE"}},
		{name: "no subresource on creation", known: served, rows: []engine.MatchRow{{Kinds: []string{"Namespace"}, Operations: []string{engine.Create}}}, ignore: []string{"/v1 namespaces CREATE"}},
		{name: "operations of one kind on both sides", known: served, rows: []engine.MatchRow{{Group: "velero.io", Kinds: []string{"Restore"}, Operations: all}},
			fail: []string{"velero.io/v1 restores CREATE"}, ignore: []string{"velero.io/v1 restores DELETE", "velero.io/v1 restores UPDATE"}},
		{name: "no operation is create and update", known: served, rows: []engine.MatchRow{{Group: "velero.io", Kinds: []string{"Restore"}}},
			fail: []string{"velero.io/v1 restores CREATE"}, ignore: []string{"velero.io/v1 restores UPDATE"}},
		{name: "every version", known: served, rows: []engine.MatchRow{{Group: "example.org", Kinds: []string{"Tape"}, Operations: []string{engine.Delete}}},
			ignore: []string{"example.org/v1 tapes DELETE", "example.org/v1beta1 tapes DELETE"}},
		{name: "one version", known: served, rows: []engine.MatchRow{{Group: "example.org", Versions: []string{"v1", "v9"}, Kinds: []string{"Tape"}, Operations: []string{engine.Delete}}},
			ignore: []string{"example.org/v1 tapes DELETE"}},
		{name: "a kind under two names", known: append(slices.Clone(served), webhook.Resource{Group: "example.org", Versions: []string{"v1"}, Kind: "Tape", Plural: "cassettes"}),
			rows: []engine.MatchRow{{Group: "example.org", Versions: []string{"v1"}, Kinds: []string{"Tape"}, Operations: []string{engine.Create}}}, ignore: []string{"example.org/v1 cassettes CREATE", "example.org/v1 tapes CREATE"}},
		{name: "a version nobody serves", known: served, rows: []engine.MatchRow{{Group: "example.org", Versions: []string{"v2"}, Kinds: []string{"Tape"}}},
			err: "watch Tape.example.org: it is served as v1, v1beta1, not as v2 (correct the policy's match)"},
		{name: "a kind the group does not have", known: served, rows: []engine.MatchRow{{Group: "velero.io", Kinds: []string{"Restor"}}},
			err: "watch Restor.velero.io: the cluster serves the group but not the kind"},
		{name: "a group that is not installed", known: served, rows: []engine.MatchRow{{Group: "k8up.io", Kinds: []string{"Schedule"}}},
			dropped: "Schedule.k8up.io CREATE UPDATE: the cluster does not serve the group"},
		{name: "a kind nobody knows", rows: []engine.MatchRow{{Group: "example.org", Kinds: []string{"Tape"}}}, err: "watch Tape.example.org: unknown kind"},
		{name: "artifacts", known: served, rows: []engine.MatchRow{{Group: "artifact.proviso.dev", Kinds: []string{"Bucket"}}}},
		{name: "every kind", known: served, rows: []engine.MatchRow{{Group: "velero.io", Kinds: []string{"*"}}}, dropped: "*.velero.io CREATE UPDATE: a webhook for every kind"},
		{name: "every group", known: served, rows: []engine.MatchRow{{Group: "*", Kinds: []string{"Restore"}}}, dropped: "Restore.* CREATE UPDATE: a webhook for every kind"},
		{name: "secrets", rows: []engine.MatchRow{{Kinds: []string{"Secret"}, Operations: all}}, dropped: "Secret. CREATE DELETE UPDATE: Rules on Secrets run in scans"},
		{name: "leases", known: append(slices.Clone(served), webhook.Resource{Group: "coordination.k8s.io", Versions: []string{"v1"}, Kind: "Lease", Plural: "leases"}),
			rows: []engine.MatchRow{{Group: "coordination.k8s.io", Kinds: []string{"Lease"}}}, dropped: "Lease.coordination.k8s.io CREATE UPDATE: the cluster itself"},
		{name: "webhooks themselves", rows: []engine.MatchRow{{Group: "admissionregistration.k8s.io", Kinds: []string{"ValidatingWebhookConfiguration"}}},
			dropped: "ValidatingWebhookConfiguration.admissionregistration.k8s.io CREATE UPDATE: the API server never asks"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fail, ignore, dropped, err := webhook.Rules(tc.rows, tc.known, nil)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for side, pair := range map[string][2][]string{"fail": {sorted(fail), append(slices.Clone(tc.fail), own...)}, "ignore": {sorted(ignore), tc.ignore}} {
				if slices.Sort(pair[1]); !slices.Equal(pair[0], pair[1]) {
					t.Errorf("%s:\n%q\nwant\n%q", side, pair[0], pair[1])
				}
			}
			text := ""
			for _, d := range dropped {
				text += fmt.Sprintf("%s.%s %s: %s", d.Kind, d.Group, strings.Join(d.Operations, " "), d.Reason)
			}
			if !strings.HasPrefix(text, tc.dropped) || (tc.dropped == "") != (text == "") {
				t.Errorf("dropped %q, want %q", text, tc.dropped)
			}
		})
	}
}

// sorted is each of [flat], as often as it is there.
func sorted(rules []admissionregistration.RuleWithOperations) []string {
	var list []string
	for text, n := range flat(rules) {
		list = append(list, slices.Repeat([]string{text}, n)...)
	}
	slices.Sort(list)
	return list
}

// Each kind and operation that a policy names is watched by one of the webhooks, once, or dropped with a reason.
func TestEveryRowIsSomewhere(t *testing.T) {
	rows := append(builtin(t).Rows(), engine.MatchRow{Kinds: []string{"Secret"}, Operations: []string{engine.Create}}, engine.MatchRow{Group: "batch", Kinds: []string{"*"}},
		engine.MatchRow{Group: "velero.io", Kinds: []string{"ServerStatusRequest"}, Operations: []string{engine.Create, engine.Update, engine.Delete}})
	fail, ignore, dropped, err := webhook.Rules(rows, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	plurals := map[[2]string]webhook.Resource{}
	for _, r := range webhook.Builtin() {
		plurals[[2]string{r.Group, r.Kind}] = r
	}
	left := map[string]int{}
	for _, d := range dropped {
		if d.Reason == "" {
			t.Errorf("%s of %s is dropped without a reason", d.Kind, d.Group)
		}
		for _, operation := range d.Operations {
			left[fmt.Sprint(d.Group, " ", d.Kind, " ", operation)]++
		}
	}
	closed, open := flat(fail), flat(ignore)
	for _, row := range rows {
		if row.Group == "artifact.proviso.dev" {
			continue
		}
		operations := row.Operations
		if len(operations) == 0 {
			operations = []string{engine.Create, engine.Update}
		}
		for _, operation := range operations {
			r := plurals[[2]string{row.Group, row.Kinds[0]}]
			places := left[fmt.Sprint(row.Group, " ", row.Kinds[0], " ", operation)]
			for _, v := range append(row.Versions, r.Versions...)[:min(1, len(r.Versions))] {
				key := fmt.Sprint(row.Group, "/", v, " ", r.Plural, " ", operation)
				places += closed[key] + open[key]
			}
			if places != 1 {
				t.Errorf("%s of %s in %q has %d places, want one", operation, row.Kinds[0], row.Group, places)
			}
		}
	}
	slices.Reverse(rows)
	again, openAgain, _, err := webhook.Rules(rows, nil, nil)
	if err != nil || !reflect.DeepEqual(again, fail) || !reflect.DeepEqual(openAgain, ignore) {
		t.Errorf("the order of rows changes the rules (%v)", err)
	}
}
