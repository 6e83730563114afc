package velero

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/store"
)

// contents gathers what is told of one backup.
type contents struct {
	*run
	*folder
	fields map[string]any
	backup map[string]any
	listed []any // the files
	itself *engine.Subject
	first  outcome

	volumes        volumes
	contradictions []any
	problems       []any
	more           int
	kinds          map[string]int64
	claims         []string
	spaces         map[string]bool // namespaces with Secrets
	secrets        int64
	powers         map[string]int64
	// items is how many objects there are in the tarball; the index has a hash of kind and name of each.
	seed  maphash.Seed
	items int
	// relist reads the resource list again, once the objects are known.
	relist  func(func(kind, name string)) error
	last    map[string]any
	lastKey string
	planner Planner
	kept    *backupFacts
}

// mostProblems and mostNames bound the lists in an artifact.
const (
	mostProblems = 1000
	mostNames    = 100
)

func (c *contents) problem(entry, problem string) {
	if len(c.problems) >= mostProblems {
		c.more++
		return
	}
	c.problems = append(c.problems, map[string]any{"entry": entry, "problem": problem})
}

func (c *contents) meta() map[string]any {
	meta := map[string]any{"name": c.name}
	from, _ := c.backup["metadata"].(map[string]any)
	for _, key := range []string{"namespace", "labels"} {
		if from[key] != nil {
			meta[key] = from[key]
		}
	}
	return meta
}

// index reads the tarball for the first time and yields what it tells.
func (c *contents) index(t *tarball, info store.Info) {
	c.kinds, c.spaces, c.powers = map[string]int64{}, map[string]bool{}, map[string]int64{}
	for _, power := range []string{"rbac", "webhooks", "policies", "crds", "apiservices"} {
		c.powers[power] = 0
	}
	c.seed = maphash.MakeSeed()
	if c.Plan != nil {
		c.planner = c.Plan()
	}
	c.kept = c.facts.start(info.Key, c.limits.Facts)
	c.first = t.read(c.ctx, false, c.take)
	if c.ctx.Err() != nil {
		return
	}
	for n := range t.index.n {
		switch r := t.index.record(n); {
		case r.marks&preferred != 0 && r.marks&plain == 0:
			c.problem(shown(t.index.path(r)), "only its copy under the preferred version is there, which a restore does not read by default")
		case r.marks&versioned != 0:
			if p, _ := parsePlace(t.index.path(r)); t.index.find(p.plainKey()) == nil {
				c.problem(shown(t.index.path(r)), "only its copy under this version is there, which a restore does not read by default")
			}
		}
	}
	incomplete := ""
	if c.first.err != nil {
		incomplete = c.first.err.Error()
		c.problem(base(info), incomplete)
		c.unread(info.Key, engine.Hole, fmt.Errorf("read backup: %w", c.first.err))
	}
	c.tarball(t, info)
	c.kept.finish(incomplete)
	c.own()
	if c.stopped || !c.subject(c.artifact("BackupContents", info.Key, c.meta(), c.fields)) || c.planner == nil {
		return
	}
	if incomplete != "" {
		c.planner.Note(incomplete)
	}
	plan := maps.Clone(c.planner.Plan())
	c.planner = nil
	c.subject(c.artifact("RestorePlan", info.Key, c.meta(), plan))
}

// take is given every entry of the tarball.
func (c *contents) take(i *item) bool {
	if i.problem != "" {
		c.problem(i.entry, i.problem)
	}
	if i.refused && c.planner != nil {
		c.planner.Note(i.entry + ": " + i.problem)
	}
	if i.refused {
		c.kept.doubt(fmt.Sprintf("%s was not read", i.entry))
	}
	if i.err != nil {
		c.problem(i.entry, i.err.Error())
		c.kept.doubt(fmt.Sprintf("%s cannot be parsed", i.entry))
		if c.planner != nil {
			c.planner.Note(i.entry + ": " + i.err.Error())
		}
	}
	if i.object == nil {
		return !c.stopped
	}
	who := identify(i.object)
	if text := i.place.disagreement(who); text != "" {
		c.problem(i.entry, text)
	}
	if i.twin && (c.lastKey != i.place.key || !reflect.DeepEqual(c.last, i.object)) {
		c.problem(i.entry, "it differs from the other copy of the same object")
	}
	c.last, c.lastKey = i.object, i.place.key
	if !i.first {
		return true
	}
	if who.kind == "Secret" && who.group() == "" {
		c.secrets++
		c.spaces[strings.Clone(who.namespace)] = true // the name is part of the Secret's text
	}
	if i.place.kind == versioned {
		return true // a copy of an object that is counted by its plain path
	}
	c.kinds[who.gvk()]++
	if who.kind == "PersistentVolumeClaim" && who.group() == "" && len(c.claims) < maxClaims {
		c.claims = append(c.claims, who.namespace+"/"+who.name)
	}
	if power := powers[[2]string{who.group(), who.kind}]; power != "" {
		c.powers[power]++
	}
	i.kept.item = c.hash(who.gvk(), who.item())
	c.items++
	if c.planner != nil {
		c.planner.Add(i.object)
	}
	if group := who.group(); c.Kinds[[2]string{group, who.kind}] {
		c.kept.keep(who, i.text)
	}
	return true
}

// hash is never 0.
func (c *contents) hash(kind, name string) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	h.WriteString(kind)
	h.WriteByte(0)
	h.WriteString(name)
	return h.Sum64() | 1
}

// powers are the kinds that change who may do what in the cluster they are restored to.
var powers = map[[2]string]string{
	{"rbac.authorization.k8s.io", "Role"}: "rbac", {"rbac.authorization.k8s.io", "RoleBinding"}: "rbac",
	{"rbac.authorization.k8s.io", "ClusterRole"}: "rbac", {"rbac.authorization.k8s.io", "ClusterRoleBinding"}: "rbac",
	{"admissionregistration.k8s.io", "ValidatingWebhookConfiguration"}:   "webhooks",
	{"admissionregistration.k8s.io", "MutatingWebhookConfiguration"}:     "webhooks",
	{"admissionregistration.k8s.io", "ValidatingAdmissionPolicy"}:        "policies",
	{"admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"}: "policies",
	{"admissionregistration.k8s.io", "MutatingAdmissionPolicy"}:          "policies",
	{"admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"}:   "policies",
	{"apiextensions.k8s.io", "CustomResourceDefinition"}:                 "crds",
	{"apiregistration.k8s.io", "APIService"}:                             "apiservices",
}

// tarball fills in what the tarball told.
func (c *contents) tarball(t *tarball, info store.Info) {
	c.list(info, c.first.sha256)
	slices.SortFunc(c.listed, func(a, b any) int {
		return strings.Compare(a.(map[string]any)["key"].(string), b.(map[string]any)["key"].(string))
	})
	objects := map[string]any{"count": int64(c.items)}
	if c.first.err == nil {
		objects["digest"] = hex.EncodeToString(c.first.sequence[:])
	}
	status, _ := c.backup["status"].(map[string]any)
	progress, _ := status["progress"].(map[string]any)
	for field, key := range map[string]string{"reported": "itemsBackedUp", "expected": "totalItems"} {
		if n, ok := progress[key].(int64); ok {
			objects[field] = n
		}
	}
	if c.relist != nil {
		c.compare(t, objects)
	}
	if c.more > 0 {
		c.problems = append(c.problems, map[string]any{"entry": base(info), "problem": fmt.Sprintf("%d more problems", c.more)})
	}
	problems := c.problems
	if problems == nil {
		problems = []any{}
	}
	tarball := map[string]any{"key": info.Key, "size": info.Size, "uncompressed": c.first.uncompressed, "entries": int64(c.first.entries), "complete": c.first.err == nil, "problems": problems}
	if c.first.sha256 != "" {
		tarball["sha256"] = c.first.sha256
	}
	if c.fields["volumesKnown"] == true {
		c.fields["claimsWithoutVolume"] = c.claimsWithoutVolume()
	}
	c.fields["files"], c.fields["tarball"], c.fields["objects"] = c.listed, tarball, objects
	c.fields["kinds"], c.fields["powers"] = counts(c.kinds), counts(c.powers)
	c.fields["secrets"] = map[string]any{"count": c.secrets, "namespaces": sortedSet(c.spaces)}
}

// maxClaims is how many claims are held against the list of volumes, maxNamed how many of them are named.
const maxClaims, maxNamed = 100_000, 100

// claimsWithoutVolume are the claims of the tarball that the backup's list of volumes does not name.
func (c *contents) claimsWithoutVolume() []any {
	named := map[string]bool{}
	for _, v := range c.fields["volumes"].([]any) {
		if claim, ok := v.(map[string]any)["pvc"].(string); ok {
			named[claim] = true
		}
	}
	slices.Sort(c.claims)
	out := []any{}
	for _, claim := range c.claims {
		if !named[claim] && len(out) < maxNamed {
			out = append(out, claim)
		}
	}
	return out
}

func counts(m map[string]int64) map[string]any {
	out := make(map[string]any, len(m))
	for k, n := range m {
		out[k] = n
	}
	return out
}

// resourceList remembers how to read the list again: once for its faults, and once to compare it with the objects.
func (c *contents) resourceList(r io.Reader) error {
	info, _ := c.file(c.name + "-resource-list.json.gz")
	if err := resourceList(r, c.limits, func(string, string) {}); err != nil {
		return err
	}
	c.relist = func(each func(kind, name string)) error {
		_, err := c.Source.file(c.ctx, info, func(r io.Reader) error { return resourceList(r, c.limits, each) })
		return err
	}
	return nil
}

// compare finds what is listed and not there, and what is there and not listed.
func (c *contents) compare(t *tarball, objects map[string]any) {
	items := make([]uint64, 0, c.items)
	for n := range t.index.n {
		if item := t.index.record(n).item; item != 0 {
			items = append(items, item)
		}
	}
	slices.Sort(items)
	listed := make([]bool, len(items))
	missing, names := int64(0), []any{}
	n := int64(0)
	err := c.relist(func(kind, name string) {
		n++
		if i, there := slices.BinarySearch(items, c.hash(kind, name)); there {
			listed[i] = true
			return
		}
		if missing++; len(names) < mostNames {
			names = append(names, shown(kind+" "+name))
		}
	})
	if err != nil {
		c.unread(c.name+"-resource-list.json.gz", engine.Hole, fmt.Errorf("read backup a second time: %w", err))
		return
	}
	objects["listed"] = n
	if c.first.err != nil {
		return // what was not read is not missing
	}
	unlisted := map[uint64]bool{}
	for i, is := range listed {
		if !is {
			unlisted[items[i]] = true
		}
	}
	objects["missing"], objects["missingCount"] = names, missing
	objects["unlisted"], objects["unlistedCount"] = c.unlistedNames(t, unlisted), int64(len(unlisted))
}

// unlistedNames names objects that the resource list does not have, by their paths: their kinds were not kept.
func (c *contents) unlistedNames(t *tarball, unlisted map[uint64]bool) []any {
	names := []any{}
	if len(unlisted) == 0 {
		return names
	}
	byGroup := map[string][]string{} // resource.group cannot tell the kind, but the kinds of the backup are few
	for kind := range c.kinds {
		group := identity{apiVersion: kind[:strings.LastIndexByte(kind, '/')]}.group()
		byGroup[group] = append(byGroup[group], kind)
	}
	for n := 0; n < t.index.n && len(names) < mostNames; n++ {
		p, _ := parsePlace(t.index.path(t.index.record(n)))
		who := identity{namespace: p.namespace, name: p.name}
		for _, kind := range byGroup[p.group] {
			if isPlural(p.resource, kind[strings.LastIndexByte(kind, '/')+1:]) && unlisted[c.hash(kind, who.item())] {
				names = append(names, shown(kind+" "+who.item()))
			}
		}
	}
	slices.SortFunc(names, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	return names
}

func isJSON(text []byte) bool { return json.Valid(bytes.TrimSpace(text)) }
