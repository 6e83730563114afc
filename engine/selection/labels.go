package selection

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// labelSelector is a label selector that was written down; a nil pointer is none.
type labelSelector struct {
	terms []labelTerm
	// broken says why Velero cannot use it.
	broken string
}

type labelTerm struct {
	key, operator string
	values        []string
}

var (
	labelName  = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`)
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// readSelector reads a Kubernetes label selector; a nil map is none.
func readSelector(r *reader, at string, m map[string]any) *labelSelector {
	if m == nil {
		return nil
	}
	r.only(at, m, "matchLabels", "matchExpressions")
	s := &labelSelector{}
	for key, v := range r.object(at+".matchLabels", m["matchLabels"]) {
		s.add(labelTerm{key, "In", []string{r.text(at+".matchLabels."+key, v)}})
	}
	for i, v := range r.list(at+".matchExpressions", m["matchExpressions"]) {
		at := fmt.Sprintf("%s.matchExpressions[%d]", at, i)
		e := r.object(at, v)
		r.only(at, e, "key", "operator", "values")
		s.add(labelTerm{r.text(at+".key", e["key"]), r.text(at+".operator", e["operator"]), r.texts(at+".values", e["values"])})
	}
	return s
}

func (s *labelSelector) add(t labelTerm) {
	prefix, name, ok := strings.Cut(t.key, "/")
	if !ok {
		prefix, name = "a", t.key
	}
	switch {
	case len(name) > 63 || !labelName.MatchString(name) || len(prefix) > 253 || !dnsName.MatchString(prefix):
		s.broken = fmt.Sprintf("%q is no label", t.key)
	case !slices.Contains([]string{"In", "NotIn", "Exists", "DoesNotExist"}, t.operator):
		s.broken = fmt.Sprintf("%q is no operator of a label selector", t.operator)
	case (t.operator == "In" || t.operator == "NotIn") != (len(t.values) > 0):
		s.broken = fmt.Sprintf("operator %s of label %s has %d values", t.operator, t.key, len(t.values))
	}
	for _, v := range t.values {
		if len(v) > 63 || !labelValue.MatchString(v) {
			s.broken = fmt.Sprintf("%q is no value of a label", v)
		}
	}
	s.terms = append(s.terms, t)
}

func (s *labelSelector) matches(labels map[string]string) bool {
	for _, t := range s.terms {
		v, there := labels[t.key]
		ok := there
		switch t.operator {
		case "In":
			ok = there && slices.Contains(t.values, v)
		case "NotIn":
			ok = !there || !slices.Contains(t.values, v)
		case "DoesNotExist":
			ok = !there
		}
		if !ok {
			return false
		}
	}
	return true
}

// selectors are how the objects of one kind are asked for: by any of several, else by one.
type selectors struct {
	one *labelSelector
	any []*labelSelector
	// written selectors become a query's text, and an empty one becomes "<none>", which no API server can read. Those of a
	// resource policy become an empty text.
	written bool
}

// matches says whether the labels are asked for, and why not.
func (s selectors) matches(labels map[string]string) (bool, string) {
	all := s.any
	if len(all) == 0 && s.one != nil {
		all = []*labelSelector{s.one}
	}
	for _, one := range all {
		if one.broken != "" {
			return false, "the label selector cannot be used: " + one.broken
		}
		if s.written && len(one.terms) == 0 {
			return false, "the label selector is empty, which Velero turns into a query that fails: leave it out"
		}
	}
	if len(all) == 0 || slices.ContainsFunc(all, func(s *labelSelector) bool { return s.matches(labels) }) {
		return true, ""
	}
	return false, "its labels do not match the label selector"
}
