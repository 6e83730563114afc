package fleet

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/schedule"
	"proviso.dev/proviso/engine/selection"
)

const maxBackups = 20

func (j Join) joined(m *memory) iter.Seq[*engine.Subject] {
	return func(yield func(*engine.Subject) bool) {
		for _, source := range slices.Sorted(maps.Keys(m.sources)) {
			c := j.cluster(m, source)
			if len(c.kinds["Schedule"])+len(c.kinds["Backup"]) == 0 && !strings.HasPrefix(source, "cluster:") {
				continue
			}
			for _, n := range c.kinds["PersistentVolumeClaim"].sorted() {
				if !yield(c.claim(n)) {
					return
				}
			}
			for _, n := range c.kinds["Namespace"].sorted() {
				if j.TierLabel != "" && dig(c.kinds["Namespace"][n], "metadata", "labels", j.TierLabel) != nil && !yield(c.namespace(n)) {
					return
				}
			}
		}
		for _, source := range slices.Sorted(maps.Keys(m.sources)) {
			c := j.cluster(m, source)
			for _, n := range c.kinds["BackupStorageLocation"].sorted() {
				if len(m.buckets)+len(m.contents) > 0 && !yield(c.location(n)) {
					return
				}
			}
		}
	}
}

// cluster is one source with what is known of it.
type cluster struct {
	Join
	*memory
	declared Cluster
	source   string
	kinds    map[string]objects
	known    selection.Cluster
	pods     map[name][]map[string]any
	// What is the same for every claim is found out once: the order of schedules and backups, what each selects, and the
	// longest gap of a cron expression.
	order     map[string][]name
	selectors map[asking]*selector
	gaps      map[string]longest
}

// asking names a spec that selects: of the object of a kind.
type asking struct {
	kind string
	name
}

type selector struct {
	*selection.Selector
	err error
}

type longest struct {
	gap time.Duration
	err error
}

// in are the objects of a kind, in order.
func (c *cluster) in(kind string) []name {
	if _, known := c.order[kind]; !known {
		c.order[kind] = c.kinds[kind].sorted()
	}
	return c.order[kind]
}

func (c *cluster) longestGap(cron string) (time.Duration, error) {
	known, ok := c.gaps[cron]
	if !ok {
		parsed, err := schedule.Parse(cron)
		if err == nil {
			known.gap, err = parsed.LongestGap(c.Now)
		}
		known.err = err
		c.gaps[cron] = known
	}
	return known.gap, known.err
}

func (j Join) cluster(m *memory, source string) *cluster {
	c := &cluster{Join: j, memory: m, source: source, kinds: m.sources[source], declared: j.Clusters[source], pods: map[name][]map[string]any{},
		order: map[string][]name{}, selectors: map[asking]*selector{}, gaps: map[string]longest{}}
	if c.declared.Name == "" {
		c.declared.Name = source
	}
	if c.whole("", "Namespace") {
		c.known.Namespaces = []selection.Namespace{}
		for _, n := range c.kinds["Namespace"].sorted() {
			c.known.Namespaces = append(c.known.Namespaces, selection.Namespace{Name: n.name, Labels: selection.ObjectOf(c.kinds["Namespace"][n]).Labels})
		}
	}
	c.known = c.known.Indexed()
	for _, n := range c.kinds["Pod"].sorted() {
		pod := c.kinds["Pod"][n]
		for _, v := range list(pod, "spec", "volumes") {
			if claim := text(v, "persistentVolumeClaim", "claimName"); claim != "" {
				at := name{n.namespace, claim}
				c.pods[at] = append(c.pods[at], pod)
			}
		}
	}
	return c
}

// whole is whether every object of a kind in the source was seen.
func (c *cluster) whole(group, kind string) bool {
	return c.Listed != nil && len(c.holes[c.source])+len(c.holes[""]) == 0 && c.Listed(c.source, group, kind)
}

// protection is one artifact in the making.
type protection struct {
	*cluster
	what, namespace, name string
	object                map[string]any
	unknown               []any
	regions, accounts     map[string]bool
	media                 map[string]bool
	copies                []any
}

func (p *protection) doubt(what, why string) {
	p.unknown = append(p.unknown, map[string]any{"what": what, "why": why})
}

func (c *cluster) claim(n name) *engine.Subject {
	return c.protect("PersistentVolumeClaim", n, func(of asking, spec map[string]any) (selection.Answer, selection.Method, string) {
		s := c.selector(of, spec)
		if s.err != nil {
			return selection.Excluded, "", "Velero refuses the backup: " + s.err.Error()
		}
		claim := c.kinds["PersistentVolumeClaim"][n]
		o := c.object(claim)
		pods := c.pods[n]
		if c.whole("", "Pod") {
			pods = append([]map[string]any{}, pods...)
			o.Related = []selection.Object{}
		}
		for _, pod := range pods {
			related := c.object(pod)
			related.Related = []selection.Object{}
			o.Related = append(o.Related, related)
		}
		answer, why := s.Selects(o)
		if answer != selection.Selected {
			return answer, "", why
		}
		return s.Volume(selection.Volume{Claim: claim, PV: c.kinds["PersistentVolume"][name{"", text(claim, "spec", "volumeName")}], Pods: pods, NamespaceLabels: o.NamespaceLabels})
	})
}

func (c *cluster) namespace(n name) *engine.Subject {
	return c.protect("Namespace", n, func(of asking, spec map[string]any) (selection.Answer, selection.Method, string) {
		s := c.selector(of, spec)
		if s.err != nil {
			return selection.Excluded, "", "Velero refuses the backup: " + s.err.Error()
		}
		answer, why := s.Selects(c.object(c.kinds["Namespace"][n]))
		return answer, "", why
	})
}

// object is a Kubernetes object as the selector asks for it.
func (c *cluster) object(m map[string]any) selection.Object {
	o := selection.ObjectOf(m)
	if ns := c.kinds["Namespace"][name{"", o.Namespace}]; ns != nil {
		if o.NamespaceLabels = selection.ObjectOf(ns).Labels; o.NamespaceLabels == nil {
			o.NamespaceLabels = map[string]string{}
		}
	}
	return o
}

func (c *cluster) selector(of asking, spec map[string]any) *selector {
	if c.selectors[of] == nil {
		s, err := c.compile(spec, of.namespace)
		c.selectors[of] = &selector{s, err}
	}
	return c.selectors[of]
}

func (c *cluster) compile(spec map[string]any, namespace string) (*selection.Selector, error) {
	s, err := selection.Compile(spec)
	if err != nil {
		return nil, err
	}
	known := c.known
	if at := text(spec, "resourcePolicy", "name"); at != "" && c.Decode != nil {
		data, _ := dig(c.kinds["ConfigMap"][name{namespace, at}], "data").(map[string]any)
		for _, v := range data {
			s, _ := v.(string)
			if policy, err := c.Decode(s); err == nil {
				known.Policy = policy
			}
		}
	}
	return s.In(known), nil
}

type asked func(of asking, spec map[string]any) (selection.Answer, selection.Method, string)

func (c *cluster) protect(what string, n name, ask asked) *engine.Subject {
	p := &protection{cluster: c, what: what, namespace: n.namespace, name: n.name, regions: map[string]bool{}, accounts: map[string]bool{}, media: map[string]bool{}}
	labels := map[string]any{}
	at := name{"", n.namespace}
	if what == "Namespace" {
		at = n
	}
	for _, o := range []map[string]any{c.kinds["Namespace"][at], c.kinds[what][n]} {
		more, _ := dig(o, "metadata", "labels").(map[string]any)
		maps.Copy(labels, more)
	}
	meta := map[string]any{"name": n.name, "labels": labels}
	if n.namespace != "" {
		meta["namespace"] = n.namespace
	}
	p.object = map[string]any{"apiVersion": APIVersion, "kind": "Protection", "metadata": meta, "cluster": c.declared.Name, "what": what}
	for _, hole := range slices.Concat(c.holes[c.source], c.holes[""]) {
		p.doubt("listing", hole)
	}
	p.coverage(ask)
	p.backups(ask)
	if p.unknown == nil {
		p.unknown = []any{}
	}
	p.object["unknown"] = p.unknown
	return &engine.Subject{APIVersion: APIVersion, Kind: "Protection", Namespace: n.namespace, Name: n.name, Object: p.object, Origin: engine.Origin{Source: c.source}}
}

// coverage asks every schedule.
func (p *protection) coverage(ask asked) {
	covering, excluded := []any{}, []any{}
	var gap time.Duration
	open := false
	for _, n := range p.in("Schedule") {
		s := p.kinds["Schedule"][n]
		template, _ := dig(s, "spec", "template").(map[string]any)
		cron, paused := text(s, "spec", "schedule"), dig(s, "spec", "paused") == true
		answer, _, why := ask(asking{"Schedule", n}, template)
		switch {
		case answer == selection.Excluded:
		case paused:
			answer, why = selection.Excluded, "the schedule is paused"
		case text(s, "status", "phase") == "FailedValidation":
			answer, why = selection.Excluded, "the schedule failed validation"
		}
		switch answer {
		case selection.Excluded:
			excluded = append(excluded, map[string]any{"schedule": n.name, "why": why})
			continue
		case selection.Unknown:
			open = true
			p.doubt("schedule "+n.name, why)
			continue
		}
		one := map[string]any{"name": n.name, "namespace": n.namespace, "location": p.locationName(template, n.namespace), "cron": cron, "paused": paused, "why": why}
		if longest, err := p.longestGap(cron); err != nil {
			p.doubt("gap of schedule "+n.name, err.Error())
		} else {
			one["gapSeconds"] = int64(longest / time.Second)
			if gap == 0 || longest < gap {
				gap = longest
			}
		}
		covering = append(covering, one)
	}
	p.object["schedules"], p.object["excluded"] = covering, excluded
	switch {
	case len(covering) > 0:
		p.object["covered"] = true
	case !open && p.whole("velero.io", "Schedule"):
		p.object["covered"] = false
	case !open:
		p.doubt("covered", fmt.Sprintf("not every schedule of %s was listed", p.declared.Name))
	}
	if gap > 0 {
		p.object["longestGapSeconds"] = int64(gap / time.Second)
	}
}

// locationName is where a backup goes; the one marked as default where its spec does not say.
func (c *cluster) locationName(spec map[string]any, namespace string) string {
	if l := text(spec, "storageLocation"); l != "" {
		return l
	}
	for _, n := range c.kinds["BackupStorageLocation"].sorted() {
		if n.namespace == namespace && dig(c.kinds["BackupStorageLocation"][n], "spec", "default") == true {
			return n.name
		}
	}
	return "default"
}
