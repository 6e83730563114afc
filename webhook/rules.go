package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"proviso.dev/proviso/engine"
)

// Side is which of the two webhooks a request goes to: what the API server does where Proviso does not answer.
type Side uint8

const (
	// FailOpen lets the request in: the zero value, because an outage of Proviso must not become one of the cluster.
	FailOpen Side = iota
	// FailClosed keeps it out.
	FailClosed
)

func (s Side) String() string {
	if s == FailClosed {
		return "fail"
	}
	return "ignore"
}

// closed are the kinds whose every change waits for Proviso: they say where backups go, when they are made and how long
// they live; people and pipelines write them, and no workload needs them to run. Velero writes the status of its locations
// and schedules into the objects themselves, and cannot while nobody answers. All else fails open: things that controllers
// write all the time (Backup, Volume, Cluster, VirtualMachine, claims, workloads, the single runs of k8up and KubeStash) and
// kinds that Proviso does not know.
var closed = map[schema.GroupKind]bool{
	{Group: "velero.io", Kind: "BackupStorageLocation"}:                       true,
	{Group: "velero.io", Kind: "VolumeSnapshotLocation"}:                      true,
	{Group: "velero.io", Kind: "Schedule"}:                                    true,
	{Group: "storage.k8s.io", Kind: "StorageClass"}:                           true,
	{Group: "snapshot.storage.k8s.io", Kind: "VolumeSnapshotClass"}:           true,
	{Group: "groupsnapshot.storage.k8s.io", Kind: "VolumeGroupSnapshotClass"}: true,
	{Group: "s3.services.k8s.aws", Kind: "Bucket"}:                            true,
	{Group: "storage.cnrm.cloud.google.com", Kind: "StorageBucket"}:           true,
	{Group: "k8up.io", Kind: "Schedule"}:                                      true,
	{Group: "config.kio.kasten.io", Kind: "Policy"}:                           true,
	{Group: "config.kio.kasten.io", Kind: "PolicyPreset"}:                     true,
	{Group: "config.kio.kasten.io", Kind: "Profile"}:                          true,
	{Group: "cr.kanister.io", Kind: "Profile"}:                                true,
	{Group: "postgresql.cnpg.io", Kind: "ScheduledBackup"}:                    true,
	{Group: "barmancloud.cnpg.io", Kind: "ObjectStore"}:                       true,
	{Group: "snapscheduler.backube", Kind: "SnapshotSchedule"}:                true,
	{Group: "longhorn.io", Kind: "RecurringJob"}:                              true,
	{Group: "core.kubestash.com", Kind: "BackupConfiguration"}:                true,
	{Group: "storage.kubestash.com", Kind: "BackupStorage"}:                   true,
	{Group: "storage.kubestash.com", Kind: "RetentionPolicy"}:                 true,
}

// SideOf is the webhook for an operation on a kind. Moved are the kinds that a profile moves, as Kind.group. Proviso's own
// kinds always fail closed, and updates and deletions of Velero's Backup and Restore always open: Velero writes its own
// progress there, and neither a denial nor an outage may stop that.
func SideOf(group, kind, operation string, moved map[string]Side) Side {
	gk := schema.GroupKind{Group: group, Kind: kind}
	velero := group == "velero.io"
	switch side, isMoved := moved[gk.String()]; {
	case group == Group:
		return FailClosed
	case velero && (kind == "Backup" || kind == "Restore") && operation != engine.Create:
		return FailOpen
	case isMoved:
		return side
	case closed[gk], velero && (kind == "Restore" || kind == "DeleteBackupRequest") && operation == engine.Create:
		return FailClosed
	}
	return FailOpen
}

// Dropped is what policies name and no webhook watches.
type Dropped struct {
	Group, Kind string
	Operations  []string
	Reason      string
}

// artifacts is the group of what only Proviso makes: no API server has it.
const artifacts = "artifact.proviso.dev"

const (
	unasked = "the API server never asks a webhook about them; rules on them run in scans"
	busy    = "the cluster itself writes them all the time; rules on them run in scans"
)

// never are kinds that no rule names.
var never = map[schema.GroupKind]string{
	{Kind: "Secret"}:                              "Rules on Secrets run in scans",
	{Kind: "Node"}:                                busy,
	{Kind: "Event"}:                               busy,
	{Group: "events.k8s.io", Kind: "Event"}:       busy,
	{Group: "coordination.k8s.io", Kind: "Lease"}: busy,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   unasked,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     unasked,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:        unasked,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: unasked,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}:          unasked,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}:   unasked,
}

// Rules are what the two webhooks watch: the kinds and operations that rows name, as [engine.Set.Rows] gives them, and
// Proviso's own kinds. Known is what a cluster serves, or nil where there is none, which makes [Builtin] count. The rules
// are sorted, one for each group, versions and operations. What cannot be watched is an error or, where it is no mistake,
// dropped with a reason.
func Rules(rows []engine.MatchRow, known []Resource, moved map[string]Side) (fail, ignore []admissionregistration.RuleWithOperations, dropped []Dropped, err error) {
	b := builder{live: known != nil, known: index(known), groups: map[string]bool{}, rules: map[ruleKey][]string{}}
	if !b.live {
		b.known = index(Builtin())
	}
	for gk := range b.known {
		b.groups[gk.Group] = true
	}
	// Proviso's own kinds are watched from the first moment, also where their definitions are only about to be installed.
	own := engine.MatchRow{Group: Group}
	for _, r := range Builtin() {
		if r.Group == Group {
			b.known[schema.GroupKind{Group: r.Group, Kind: r.Kind}] = []Resource{r}
			own.Kinds, own.Operations = append(own.Kinds, r.Kind), []string{engine.Create, engine.Delete, engine.Update}
		}
	}
	rows = append(slices.DeleteFunc(slices.Clone(rows), func(r engine.MatchRow) bool { return r.Group == Group && slices.Contains(own.Kinds, r.Kinds[0]) }), own)

	named := map[string]bool{}
	var errs []error
	for _, row := range rows {
		for _, kind := range row.Kinds {
			named[schema.GroupKind{Group: row.Group, Kind: kind}.String()] = true
			if err := b.add(row, kind, moved); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, text := range slices.Sorted(maps.Keys(moved)) {
		switch gk := schema.ParseGroupKind(text); {
		case gk.Group == Group:
			errs = append(errs, fmt.Errorf("move %s: Proviso's own kinds stay where they are (take it out of the profile)", text))
		case !named[text]:
			errs = append(errs, fmt.Errorf("move %s: no policy is for it (write Kind.group, or take it out of the profile)", text))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, nil, err
	}
	fail, ignore = b.made(FailClosed), b.made(FailOpen)
	return fail, ignore, b.dropped, nil
}

// ruleKey is what the resources of one rule have in common.
type ruleKey struct {
	side                        Side
	group, versions, operations string
}

type builder struct {
	live    bool
	known   map[schema.GroupKind][]Resource
	groups  map[string]bool
	rules   map[ruleKey][]string
	dropped []Dropped
}

// add puts one kind of a row into the rules or among what is dropped.
func (b *builder) add(row engine.MatchRow, kind string, moved map[string]Side) error {
	gk := schema.GroupKind{Group: row.Group, Kind: kind}
	operations := row.Operations
	if len(operations) == 0 {
		operations = []string{engine.Create, engine.Update}
	}
	drop := func(reason string) error {
		b.dropped = append(b.dropped, Dropped{gk.Group, gk.Kind, operations, reason})
		return nil
	}
	resources, isKnown := b.known[gk]
	switch {
	case gk.Group == artifacts:
		return nil
	case gk.Group == "*" || kind == "*":
		return drop("a webhook for every kind would stand before every write to the cluster; name the kinds")
	case never[gk] != "":
		return drop(never[gk])
	case !isKnown && b.live && !b.groups[gk.Group]:
		return drop("the cluster does not serve the group; print the rules again once its definitions are installed")
	case !isKnown && b.live:
		return fmt.Errorf("watch %s: the cluster serves the group but not the kind (correct the policy's match, or install the definition)", gk)
	case !isKnown:
		return fmt.Errorf("watch %s: unknown kind (correct the policy's match, or let a cluster that serves it be asked)", gk)
	}
	sides := map[Side][]string{}
	for _, operation := range operations {
		side := SideOf(gk.Group, kind, operation, moved)
		sides[side] = append(sides[side], operation)
	}
	watched := false
	for _, r := range resources {
		versions := slices.DeleteFunc(slices.Clone(r.Versions), func(v string) bool { return len(row.Versions) > 0 && !slices.Contains(row.Versions, v) })
		if len(versions) == 0 {
			continue
		}
		watched = true
		for side, operations := range sides {
			key := ruleKey{side, gk.Group, strings.Join(versions, " "), strings.Join(slices.Sorted(slices.Values(operations)), " ")}
			b.rules[key] = append(b.rules[key], r.Plural)
			if slices.Contains(operations, engine.Update) { // nothing is created or deleted through these
				for _, sub := range r.Subresources {
					b.rules[key] = append(b.rules[key], r.Plural+"/"+sub)
				}
			}
		}
	}
	if !watched {
		return fmt.Errorf("watch %s: it is served as %s, not as %s (correct the policy's match)", gk, strings.Join(resources[0].Versions, ", "), strings.Join(row.Versions, ", "))
	}
	return nil
}

// made are the rules of one side. Their scope is left open: of a kind whose scope the table had wrong, a rule that says it
// would never match, and nobody would see that.
func (b *builder) made(side Side) []admissionregistration.RuleWithOperations {
	var list []admissionregistration.RuleWithOperations
	for key, resources := range b.rules {
		if key.side != side {
			continue
		}
		rule := admissionregistration.RuleWithOperations{Rule: admissionregistration.Rule{APIGroups: []string{key.group},
			APIVersions: strings.Fields(key.versions), Resources: slices.Compact(slices.Sorted(slices.Values(resources)))}}
		for _, operation := range strings.Fields(key.operations) {
			rule.Operations = append(rule.Operations, admissionregistration.OperationType(operation))
		}
		list = append(list, rule)
	}
	slices.SortFunc(list, func(a, b admissionregistration.RuleWithOperations) int {
		return cmp.Or(slices.Compare(a.APIGroups, b.APIGroups), slices.Compare(a.Operations, b.Operations), slices.Compare(a.APIVersions, b.APIVersions))
	})
	return list
}
