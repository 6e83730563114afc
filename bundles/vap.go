package bundles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/host"
)

// A Floor is what the API server can hold of a set without Proviso: policies as ValidatingAdmissionPolicies.
type Floor struct {
	Policies []FloorPolicy
	// Left are the policies that cannot be exported, each with the reason.
	Left []LeftOut
}

// FloorPolicy is one exported policy.
type FloorPolicy struct {
	ID      string
	Policy  *admission.ValidatingAdmissionPolicy
	Binding *admission.ValidatingAdmissionPolicyBinding
}

// LeftOut is a policy that the API server cannot hold.
type LeftOut struct{ ID, Reason string }

// Served says where the API server serves a kind: its plural, with those subresources through which more than status can be
// changed, and its versions.
type Served func(group, kind string) (resources, versions []string, ok bool)

// artifacts is the group of what lies in backups and buckets; no API server serves it.
const artifacts = "artifact.proviso.dev"

// Floor exports the set's policies, which are of this catalogue. A policy that cannot be said whole in the API server's own
// words is left out: half a policy would look like the whole.
func (c *Catalogue) Floor(set *engine.Set, served Served) *Floor {
	floor := &Floor{}
	for _, p := range set.Policies() {
		exported, err := c.exportPolicy(p, served)
		if err != nil {
			floor.Left = append(floor.Left, LeftOut{p.ID, strings.Join(strings.Fields(err.Error()), " ")})
			continue
		}
		floor.Policies = append(floor.Policies, *exported)
	}
	return floor
}

func (c *Catalogue) exportPolicy(p *engine.Policy, served Served) (*FloorPolicy, error) {
	f, err := c.Folder(p.ID)
	if err != nil {
		return nil, err
	}
	when, rule, err := f.exportable()
	if err != nil {
		return nil, err
	}
	rules, err := resourceRules(p, served)
	if err != nil {
		return nil, err
	}
	e, err := newExport(p, rules)
	if err != nil {
		return nil, err
	}
	if err := e.write(when, rule); err != nil {
		return nil, err
	}
	name := "proviso-" + strings.ReplaceAll(p.ID, "/", "-")
	fail, equivalent := admission.Fail, admission.Equivalent
	match := &admission.MatchResources{MatchPolicy: &equivalent, ResourceRules: rules}
	about := map[string]string{"proviso.dev/policy": p.ID, "proviso.dev/digest": string(p.Digest), "proviso.dev/title": p.Title}
	return &FloorPolicy{ID: p.ID,
		Policy: &admission.ValidatingAdmissionPolicy{
			TypeMeta:   meta.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
			ObjectMeta: meta.ObjectMeta{Name: name, Annotations: about},
			Spec: admission.ValidatingAdmissionPolicySpec{FailurePolicy: &fail, MatchConstraints: match, MatchConditions: e.conditions,
				Variables: e.variables, Validations: e.validations},
		},
		Binding: &admission.ValidatingAdmissionPolicyBinding{
			TypeMeta:   meta.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding"},
			ObjectMeta: meta.ObjectMeta{Name: name},
			Spec:       admission.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admission.ValidationAction{actions[p.Mode]}},
		}}, nil
}

var actions = map[engine.Mode]admission.ValidationAction{engine.ModeDeny: admission.Deny, engine.ModeWarn: admission.Warn, engine.ModeRecord: admission.Audit}

// exportable is the source of the policy's when and rule, or why no API server can evaluate them.
func (f *Folder) exportable() (when, rule string, err error) {
	if f.Language != "cel" {
		return "", "", fmt.Errorf("its rule is written in %s, and the API server reads CEL", strings.ToUpper(f.Language[:1])+f.Language[1:])
	}
	if len(f.Facts) > 0 {
		return "", "", errors.New("it asks for facts, and the API server shows a rule nothing but the request")
	}
	compiled, err := f.rule()
	if err != nil {
		return "", "", err
	}
	reads := compiled.Reads()
	if f.when != nil {
		condition, err := f.when()
		if err != nil {
			return "", "", err
		}
		reads = slices.Concat(reads, condition.reads)
	}
	if slices.ContainsFunc(reads, func(r engine.Read) bool { return r.Path == "now" || strings.HasPrefix(r.Path, "now.") }) {
		return "", "", errors.New("it reads now, and the API server has no clock for rules")
	}
	source, err := fs.ReadFile(f.fsys, path.Join(f.Dir, f.ruleFile))
	if err != nil {
		return "", "", err
	}
	var spec policyFile
	err = f.doc.Into(&spec)
	return spec.When, string(source), err
}

// resourceRules are the policy's match in the API server's terms.
func resourceRules(p *engine.Policy, served Served) ([]admission.NamedRuleWithOperations, error) {
	var rules []admission.NamedRuleWithOperations
	for _, row := range p.Match {
		if row.Group == artifacts {
			continue
		}
		var operations []admission.OperationType
		for _, op := range row.Operations {
			operations = append(operations, admission.OperationType(op))
		}
		if len(row.Operations) == 0 {
			operations = []admission.OperationType{admission.Create, admission.Update}
		}
		for text := range p.Requires {
			if strings.HasPrefix(text, "old.") { // where there is no old object the policy does not apply
				operations = slices.DeleteFunc(operations, func(op admission.OperationType) bool { return op == admission.Create })
			}
		}
		if len(operations) == 0 {
			continue
		}
		for _, kind := range row.Kinds {
			resources, versions, ok := served(row.Group, kind)
			if !ok {
				return nil, fmt.Errorf("the resource name of kind %s in group %q is not known", kind, row.Group)
			}
			if len(row.Versions) > 0 {
				versions = row.Versions
			}
			rules = append(rules, admission.NamedRuleWithOperations{RuleWithOperations: admission.RuleWithOperations{Operations: operations,
				Rule: admission.Rule{APIGroups: []string{row.Group}, APIVersions: versions, Resources: resources}}})
		}
	}
	if len(rules) == 0 {
		return nil, errors.New("it judges nothing that passes through an API server")
	}
	return rules, nil
}

// hostFunction is the host function that a call of this receiver and name is, or "".
func hostFunction(receiver, name string) string {
	for _, f := range host.Functions(nil) {
		if f.Name == receiver+"."+name {
			return f.Name
		}
	}
	return ""
}

const floorHeader = `# Policies of Proviso that the API server holds by itself; it needs Kubernetes 1.35 or later.
# On CREATE and DELETE their verdicts are those of proviso. What differs:
# - An UPDATE is judged where it changes a part of the object that the policy reads, other than its status, and then as a
#   whole. Proviso would only warn of a violation that the old object had already.
# - Waivers are not known here.
# - What cannot be told is treated as a failure.
# - They hold in every namespace, kube-system and Proviso's own included. Deleting a policy's binding lets go of it at once.
`

// YAML is the policies and their bindings as one stream of documents.
func (f *Floor) YAML() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(floorHeader)
	for _, p := range f.Policies {
		for _, object := range []any{p.Policy, p.Binding} {
			raw, err := yaml.Marshal(object)
			if err != nil {
				return nil, fmt.Errorf("write %s: %w", p.ID, err)
			}
			// The types have a status that is written even where it is empty.
			fmt.Fprintf(&b, "---\n%s", bytes.TrimSuffix(raw, []byte("status: {}\n")))
		}
	}
	return b.Bytes(), nil
}
