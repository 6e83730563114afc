// Package selection says which objects a Velero Backup or Schedule takes, by the rules of Velero 1.18: its lists of
// namespaces and resources with their wildcards, the cluster-scoped rules, label selectors, the exclude label, resource
// policies, and what its plugins bring along. It asks nobody and never guesses: what cannot be decided from what it is
// given is [Unknown], with the reason.
//
// Start at [Compile], say what is known of the cluster with [Selector.In], then ask [Selector.Selects] for an object and
// [Selector.Volume] for the data of a volume claim.
package selection

import (
	"fmt"
	"slices"
	"strings"
)

// Answer says whether something is taken. Zero is Unknown.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota
	Selected
	Excluded
)

func (a Answer) String() string { return []string{"unknown", "selected", "excluded"}[a] }

// Object is what is asked about.
type Object struct {
	// Resource is plural.group, and the plural alone in the core group.
	Resource, Kind, Namespace, Name string
	Labels, Annotations             map[string]string
	ClusterScoped                   bool
	// NamespaceLabels are those of the object's namespace; nil where they are not known and [Cluster] does not tell.
	NamespaceLabels map[string]string
	// Phase is a Namespace's; empty is Active.
	Phase string
	// Deleting is set where the object has a deletion timestamp.
	Deleting bool
	// Related are the objects that bring this one along when they are taken: the Pods and bound PVC around a volume, the
	// running Pods for a Pod, what is in a Namespace, the objects of a CustomResourceDefinition. Nil is not known; empty is
	// known to be none.
	Related []Object
}

func (o Object) String() string {
	if o.Namespace != "" {
		return o.Kind + " " + o.Namespace + "/" + o.Name
	}
	return o.Kind + " " + o.Name
}

// Namespace is one namespace of a cluster.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Cluster is what is known of the cluster a backup is taken from.
type Cluster struct {
	// Namespaces are all there are; nil where they are not known.
	Namespaces []Namespace
	// Resources are custom kinds the cluster serves; with AllResources they are all of them.
	Resources    []Resource
	AllResources bool
	// Policy is the decoded content of the ConfigMap that spec.resourcePolicy names; nil where it is not known.
	Policy map[string]any
	labels map[string]map[string]string
}

// Indexed is the cluster with its namespaces found by name, for many selectors.
func (c Cluster) Indexed() Cluster {
	if c.Namespaces != nil {
		c.labels = map[string]map[string]string{}
		for _, ns := range c.Namespaces {
			c.labels[ns.Name] = ns.Labels
		}
	}
	return c
}

const (
	excludeLabel   = "velero.io/exclude-from-backup"
	skipAnnotation = "velero.io/skip-from-backup"
)

// Selector is a compiled spec. It is immutable and safe for concurrent use.
type Selector struct {
	spec    spec
	cluster Cluster
	// labels are those of the cluster's namespaces by name; nil where they are not known.
	labels map[string]map[string]string
	policy *policy
	// refused says why Velero takes nothing at all.
	refused string
	known   catalogue
	lists   lists
}

// Compile reads a Backup's spec or a Schedule's template. Errors are fields that are not of their type, and whatever makes
// Velero refuse the Backup (phase FailedValidation).
func Compile(from map[string]any) (*Selector, error) {
	s, err := readSpec(from)
	if err != nil {
		return nil, err
	}
	return (&Selector{spec: s}).In(Cluster{}), nil
}

// In is the selector in a cluster of which something is known.
func (s *Selector) In(c Cluster) *Selector {
	s = &Selector{spec: s.spec, cluster: c}
	s.known = slices.Concat(builtin, c.Resources)
	if s.labels = c.labels; s.labels == nil {
		s.labels = c.Indexed().labels
	}
	if s.spec.policyName != "" && c.Policy != nil {
		s.policy, s.refused = readPolicy(c.Policy)
		if s.refused == "" && s.spec.old && s.policy != nil && s.policy.filters() {
			s.refused = "the resource policy filters resources, which does not go with includedResources, excludedResources and includeClusterResources"
		}
	}
	s.bindNamespaces()
	s.lists = s.bind(s.known)
	return s
}

// bindNamespaces finds what the cluster's namespaces make Velero refuse.
func (s *Selector) bindNamespaces() {
	for name, labels := range s.labels {
		if labels[excludeLabel] == "true" && slices.Contains(s.spec.namespaces.include, name) && s.refused == "" {
			s.refused = fmt.Sprintf("namespace %s is included by name and carries the label %s=true", name, excludeLabel)
		}
	}
	if s.spec.expands() && s.refused == "" {
		for _, pattern := range slices.Concat(s.spec.namespaces.include, s.spec.namespaces.exclude) {
			if _, err := compileGlob(pattern); err != nil && wild(pattern) {
				s.refused = "namespaces cannot be expanded: " + err.Error()
			}
		}
	}
}

// Selects says whether the object itself is taken, and why. A volume claim that is taken says nothing of its data: ask
// [Selector.Volume].
func (s *Selector) Selects(o Object) (Answer, string) {
	if s.refused != "" {
		return Excluded, "Velero refuses the backup: " + s.refused
	}
	f := s.about(o)
	took := f.block()
	if took.answer == Selected {
		if _, skip := o.Annotations[skipAnnotation]; skip && skippable[o.Resource] {
			return Excluded, "it has the annotation " + skipAnnotation
		}
	}
	return took.answer, took.why
}

// skippable are the kinds one of Velero's own actions looks at; nobody else honours the annotation.
var skippable = map[string]bool{"pods": true, "persistentvolumeclaims": true, "serviceaccounts": true, "customresourcedefinitions.apiextensions.k8s.io": true}

// found is an answer on its way.
type found struct {
	answer Answer
	why    string
}

func yes(why string) found   { return found{Selected, why} }
func no(why string) found    { return found{Excluded, why} }
func maybe(why string) found { return found{Unknown, why} }

// and is what both say: the first that excludes, else the first that does not know.
func (f found) and(next func() found) found {
	if f.answer == Excluded {
		return f
	}
	n := next()
	if n.answer == Excluded || f.answer == Selected {
		return n
	}
	return f
}

// inquiry is one object asked about.
type inquiry struct {
	*Selector
	o     Object
	lists lists
}

func (s *Selector) about(o Object) inquiry {
	known, there := s.known.with(o)
	if there {
		return inquiry{s, o, s.lists}
	}
	return inquiry{s, o, s.bind(known)}
}

// block is whether the object is put into a block of items to take: it was collected or is brought along by one that was,
// and nothing excludes it.
func (f inquiry) block() found {
	checks := f.checks()
	if checks.answer == Excluded {
		return checks
	}
	collected := f.collected()
	if collected.answer == Selected {
		return collected.and(func() found { return checks })
	}
	brought, can := f.brought()
	if !can {
		return collected
	}
	if brought.answer == Selected {
		return checks.and(func() found { return brought })
	}
	if collected.answer == Unknown || brought.answer == Excluded {
		return collected
	}
	return brought
}

// brought is whether another object brings this one along; can is false for kinds nothing brings.
func (f inquiry) brought() (found, bool) {
	crd := f.o.Resource == "customresourcedefinitions.apiextensions.k8s.io"
	switch {
	case crd:
	case f.o.Resource == "persistentvolumeclaims", f.o.Resource == "persistentvolumes", f.o.Resource == "pods":
	case f.o.Resource == "priorityclasses.scheduling.k8s.io":
	case strings.HasSuffix(f.o.Resource, ".rbac.authorization.k8s.io") && f.o.ClusterScoped:
	default:
		return found{}, false
	}
	if f.o.Related == nil {
		return maybe("the label or resource lists leave it out, and what brings it along is not known"), true
	}
	last := no("nothing that is taken brings it along")
	for _, r := range f.o.Related {
		in := f.about(r).block()
		if crd && in.answer == Selected {
			in.answer, in.why = f.Selects(r)
		}
		switch in.answer {
		case Selected:
			return yes("taken with " + r.String()), true
		case Unknown:
			last = in
		}
	}
	return last, true
}
