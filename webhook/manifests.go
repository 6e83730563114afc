package webhook

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// Where the manifests say that the server listens.
const (
	FailPath   = "/fail"
	IgnorePath = "/ignore"
	Port       = 9443
	ProbesPort = 8080
)

// Certificates is where the server's certificate comes from.
type Certificates uint8

const (
	// Own keeps an authority in one named Secret, from which each replica signs its own certificate.
	Own Certificates = iota
	// Files reads a certificate and key that somebody else puts into a Secret.
	Files
	// CertManager has cert-manager make them, and publish the bundle.
	CertManager
)

// Install is what a cluster needs to run the webhook.
type Install struct {
	// Name is what everything is called, "proviso" where empty; Namespace is where it runs, "proviso-system".
	Name, Namespace string
	Image           string
	// Replicas are 2 where not said, and never fewer.
	Replicas int32
	// TimeoutSeconds is how long the API server waits for an answer; 5 where not said.
	TimeoutSeconds int32
	Certificates   Certificates
	// CABundle is whom the API server trusts, in PEM; for Files alone, the other modes publish theirs.
	CABundle []byte
	// ProfileYAML is the text of proviso.yaml.
	ProfileYAML []byte
	// StatusWriters are the users that Velero's server runs as, as in [Handler].
	StatusWriters []string
	// Evidence is the folder that each replica keeps evidence in, on a volume of its own that has room for EvidenceBytes; empty
	// keeps none. Key signs it: a file, in a Secret that is mounted there, or one that another machine keeps.
	Evidence, Key string
	EvidenceBytes int64
	// Flags are given to the server beside those that follow from the rest.
	Flags []string
}

// Rights are what the policies make it necessary to read.
type Rights struct {
	// Facts are of the kinds that facts come from; Scan of those that a scan lists and asks for.
	Facts, Scan []rbac.PolicyRule
}

// complete is the install with what was not said, or what is wrong with it.
func (i Install) complete() (Install, error) {
	or := func(text *string, otherwise string) {
		if *text == "" {
			*text = otherwise
		}
	}
	or(&i.Name, "proviso")
	or(&i.Namespace, i.Name+"-system")
	if i.Replicas == 0 {
		i.Replicas = 2
	}
	if i.TimeoutSeconds == 0 {
		i.TimeoutSeconds = 5
	}
	if len(i.ProfileYAML) == 0 {
		i.ProfileYAML = []byte("apiVersion: " + Group + "/v1alpha1\nkind: Profile\n")
	}
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf("write manifests: "+format, args...))
		}
	}
	for _, text := range []string{i.Name, i.Namespace} {
		wrong(len(validation.IsDNS1123Label(text)) > 0 || len(text) > 40, "%q cannot be a name (want at most 40 of a-z, 0-9 and -)", text)
	}
	wrong(i.Namespace == "kube-system", "the namespace is kube-system, which no webhook watches (choose one of its own)")
	wrong(i.Namespace == "velero", "the namespace is velero, and no webhook watches its own: nothing of Velero's would be watched (choose one of its own)")
	wrong(i.Image == "", "no image is named")
	wrong(i.Replicas < 2, "%d replica: the loss of one node would close the cluster to backup configuration (want 2 or more)", i.Replicas)
	wrong(i.TimeoutSeconds < 1 || i.TimeoutSeconds > 30, "a timeout of %d s: the API server takes 1 to 30", i.TimeoutSeconds)
	wrong(i.Certificates == Files && !x509.NewCertPool().AppendCertsFromPEM(i.CABundle), "certificates from files, and the CA bundle has none in PEM: the API server could not tell that it is us")
	wrong(i.Certificates != Files && len(i.CABundle) > 0, "a CA bundle is given, and the server publishes its own (use certificates from files)")
	for _, trouble := range i.evidenceTrouble() {
		wrong(true, "%s", trouble)
	}
	return i, errors.Join(errs...)
}

// Note is what stands above the manifests: how to get rid of the webhooks when they are in the way, and what that costs.
func (i Install) Note() (string, error) {
	i, err := i.complete()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`Break glass, where Proviso keeps the cluster from being mended:

  kubectl delete validatingwebhookconfiguration %s

From then on nothing is stopped on its way in: locations, schedules, buckets, deletions of backups, waivers and profiles are
taken as they come. Scans go on and show what came in; apply this file again to close the door. Delete the configuration
also before the namespace %s: what is in it could otherwise not be deleted while nobody answers.
%s`, i.Name, i.Namespace, i.evidenceNote()), nil
}

// Objects are what has to be applied, in that order: the webhooks last, when there is somebody to answer. The rules are
// those of [Rules].
func (i Install) Objects(fail, ignore []admissionregistration.RuleWithOperations, rights Rights) ([]runtime.Object, error) {
	i, err := i.complete()
	if err != nil {
		return nil, err
	}
	definitions, err := Definitions()
	if err != nil {
		return nil, err
	}
	var all []runtime.Object
	for _, d := range definitions {
		all = append(all, d)
	}
	all = append(all, i.namespace())
	all = append(all, i.access(rights)...)
	all = append(all, i.settings()...)
	all = append(all, i.workloads()...)
	return append(all, i.Configuration(fail, ignore)), nil
}

// meta is the metadata of one of our objects.
func (i Install) meta(name string) meta.ObjectMeta {
	return meta.ObjectMeta{Name: name, Namespace: i.Namespace, Labels: map[string]string{"app.kubernetes.io/name": i.Name}}
}

// wide is the metadata of one of our objects that lies in no namespace.
func (i Install) wide(name string) meta.ObjectMeta {
	m := i.meta(name)
	m.Namespace = ""
	return m
}

func typed(group, version, kind string) meta.TypeMeta {
	return meta.TypeMeta{APIVersion: schema.GroupVersion{Group: group, Version: version}.String(), Kind: kind}
}

func (i Install) namespace() runtime.Object {
	m := i.wide(i.Namespace)
	m.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	return &core.Namespace{TypeMeta: typed("", "v1", "Namespace"), ObjectMeta: m}
}

// Configuration is the webhooks, of an install of which name, namespace and timeout are said. The namespaces left out are named by the label that the API server itself sets, which
// nobody can put on another one. Proviso's own kinds have a webhook that leaves out none: waivers lie in our namespace, and
// a rule on them never stands in the way of our pods.
func (i Install) Configuration(fail, ignore []admissionregistration.RuleWithOperations) *admissionregistration.ValidatingWebhookConfiguration {
	isOwn := func(r admissionregistration.RuleWithOperations) bool { return r.APIGroups[0] == Group }
	others := slices.DeleteFunc(slices.Clone(fail), isOwn)
	own := slices.DeleteFunc(slices.Clone(fail), func(r admissionregistration.RuleWithOperations) bool { return !isOwn(r) })
	selector := &meta.LabelSelector{MatchExpressions: []meta.LabelSelectorRequirement{
		{Key: core.LabelMetadataName, Operator: meta.LabelSelectorOpNotIn, Values: []string{meta.NamespaceSystem, i.Namespace}}}}
	c := &admissionregistration.ValidatingWebhookConfiguration{TypeMeta: typed("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"), ObjectMeta: i.wide(i.Name)}
	if i.Certificates == CertManager {
		c.Annotations = map[string]string{"cert-manager.io/inject-ca-from": i.Namespace + "/" + i.tlsSecret()}
	}
	add := func(name, path string, policy admissionregistration.FailurePolicyType, rules []admissionregistration.RuleWithOperations, selector *meta.LabelSelector) {
		if len(rules) == 0 {
			return
		}
		c.Webhooks = append(c.Webhooks, admissionregistration.ValidatingWebhook{
			Name: name, Rules: rules, FailurePolicy: &policy, NamespaceSelector: selector,
			ClientConfig: admissionregistration.WebhookClientConfig{CABundle: i.CABundle,
				Service: &admissionregistration.ServiceReference{Name: i.Name, Namespace: i.Namespace, Path: &path, Port: new(int32(443))}},
			// A request of another version of a watched kind is converted and watched too.
			MatchPolicy:    new(admissionregistration.Equivalent),
			TimeoutSeconds: &i.TimeoutSeconds,
			// What is decided is recorded; what is only tried is not.
			SideEffects:             new(admissionregistration.SideEffectClassNoneOnDryRun),
			AdmissionReviewVersions: []string{"v1"},
		})
	}
	add("fail."+Group, FailPath, admissionregistration.Fail, others, selector)
	if len(i.StatusWriters) > 0 && len(others) > 0 {
		c.Webhooks[0].MatchConditions = []admissionregistration.MatchCondition{{Name: "not-velero-status", Expression: i.notStatus()}}
	}
	add("ignore."+Group, IgnorePath, admissionregistration.Ignore, ignore, selector)
	add("own."+Group, FailPath, admissionregistration.Fail, own, nil)
	return c
}

// notStatus is false for what Velero's server writes into the status of its own kinds, which have no status of their own: a
// location becomes available and a schedule notes its last backup although nobody answers for us. Handler lets the same
// through, so nothing escapes that would be judged.
func (i Install) notStatus() string {
	same := []string{"object.?spec == oldObject.?spec"}
	for _, field := range []string{"labels", "annotations", "ownerReferences", "finalizers"} {
		same = append(same, fmt.Sprintf("object.metadata.?%s == oldObject.metadata.?%[1]s", field))
	}
	var users []string
	for _, u := range i.StatusWriters {
		users = append(users, strconv.Quote(u))
	}
	return fmt.Sprintf("!(request.operation == 'UPDATE' && request.kind.group == 'velero.io' && request.userInfo.username in [%s] && %s)", strings.Join(users, ", "), strings.Join(same, " && "))
}

// WriteYAML writes objects as a stream of YAML documents below a note in comments.
func WriteYAML(w io.Writer, note string, objects ...runtime.Object) error {
	var b bytes.Buffer
	for line := range strings.Lines(note) {
		b.WriteString(strings.TrimRight("# "+line, " \n") + "\n")
	}
	for _, o := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
		content = maps.Clone(content)
		delete(content, "status") // the API server's to write
		text, err := yaml.Marshal(content)
		if err != nil {
			return fmt.Errorf("write manifests: %w", err)
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	_, err := w.Write(b.Bytes())
	return err
}
