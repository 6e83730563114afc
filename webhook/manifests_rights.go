package webhook

import (
	"fmt"
	"slices"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Where pods find what is theirs to read.
const (
	profilePath = "/etc/proviso"
	profileFile = "proviso.yaml"
	tlsPath     = "/etc/proviso-tls"
)

func (i Install) profileName() string { return i.Name + "-profile" }
func (i Install) scanName() string    { return i.Name + "-scan" }
func (i Install) tlsSecret() string   { return i.Name + "-tls" }

// AuthoritySecret is the Secret that own mode keeps its authority in.
func (i Install) AuthoritySecret() string { return i.Name + "-authority" }

// least takes out what no role of ours may hold: Secrets, and everything. A scan that misses a right says so and is
// incomplete; what it would have read stays unread.
func least(rules []rbac.PolicyRule) []rbac.PolicyRule {
	var list []rbac.PolicyRule
	for _, r := range rules {
		resources := slices.DeleteFunc(slices.Clone(r.Resources), func(name string) bool {
			return name == "*" || name == "secrets" && slices.Contains(r.APIGroups, "")
		})
		if len(resources) > 0 && !slices.Contains(r.APIGroups, "*") {
			r.Resources = resources
			list = append(list, r)
		}
	}
	return list
}

// access is who runs and what they may. The webhook reads the kinds of its facts, its own kinds and its own configuration;
// it may create a Profile because it tries, without effect, whether the API server lets a bad one through.
func (i Install) access(rights Rights) []runtime.Object {
	config := rbac.PolicyRule{APIGroups: []string{"admissionregistration.k8s.io"}, Resources: []string{"validatingwebhookconfigurations"}, ResourceNames: []string{i.Name}, Verbs: []string{"get"}}
	if i.Certificates == Own {
		config.Verbs = append(config.Verbs, "update") // publishes the bundle
	}
	serve := least(rights.Facts)
	for n := range serve {
		serve[n].Verbs = []string{"get", "list", "watch"} // facts are kept at hand
	}
	serve = append(serve,
		rbac.PolicyRule{APIGroups: []string{Group}, Resources: []string{"profiles", "waivers"}, Verbs: []string{"get", "list", "watch"}},
		rbac.PolicyRule{APIGroups: []string{Group}, Resources: []string{"profiles"}, Verbs: []string{"create"}},
		config)
	if i.Evidence != "" {
		// Its uid says in every record which cluster this is.
		serve = append(serve, rbac.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{meta.NamespaceSystem}, Verbs: []string{"get"}})
	}
	scan := append(least(rights.Scan),
		rbac.PolicyRule{APIGroups: []string{Group}, Resources: []string{"profiles", "waivers"}, Verbs: []string{"get", "list"}})
	var all []runtime.Object
	for _, who := range []struct {
		name  string
		rules []rbac.PolicyRule
	}{{i.Name, serve}, {i.scanName(), scan}} {
		all = append(all,
			&core.ServiceAccount{TypeMeta: typed("", "v1", "ServiceAccount"), ObjectMeta: i.meta(who.name)},
			&rbac.ClusterRole{TypeMeta: typed(rbac.GroupName, "v1", "ClusterRole"), ObjectMeta: i.wide(who.name), Rules: who.rules},
			&rbac.ClusterRoleBinding{TypeMeta: typed(rbac.GroupName, "v1", "ClusterRoleBinding"), ObjectMeta: i.wide(who.name),
				RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: who.name}, Subjects: i.account(who.name)})
	}
	if i.Certificates != Own {
		return all
	}
	// The right to create cannot be kept to one name: the Secret is there from the start, empty, and is only updated.
	name := i.AuthoritySecret()
	return append(all,
		&core.Secret{TypeMeta: typed("", "v1", "Secret"), ObjectMeta: i.meta(name), Type: core.SecretTypeOpaque},
		&rbac.Role{TypeMeta: typed(rbac.GroupName, "v1", "Role"), ObjectMeta: i.meta(name), Rules: []rbac.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{name}, Verbs: []string{"get", "update"}}}},
		&rbac.RoleBinding{TypeMeta: typed(rbac.GroupName, "v1", "RoleBinding"), ObjectMeta: i.meta(name),
			RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: name}, Subjects: i.account(i.Name)})
}

func (i Install) account(name string) []rbac.Subject {
	return []rbac.Subject{{Kind: rbac.ServiceAccountKind, Name: name, Namespace: i.Namespace}}
}

// settings are the profile, and with cert-manager what it is to make: an authority, so that a new certificate needs no new
// bundle, and the certificate.
func (i Install) settings() []runtime.Object {
	all := []runtime.Object{&core.ConfigMap{TypeMeta: typed("", "v1", "ConfigMap"), ObjectMeta: i.meta(i.profileName()), Data: map[string]string{profileFile: string(i.ProfileYAML)}}}
	if i.Certificates != CertManager {
		return all
	}
	authority := i.AuthoritySecret()
	host := fmt.Sprintf("%s.%s.svc", i.Name, i.Namespace)
	add := func(kind, name string, spec map[string]any) {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "cert-manager.io/v1", "kind": kind, "spec": spec}}
		u.SetName(name)
		u.SetNamespace(i.Namespace)
		u.SetLabels(i.meta(name).Labels)
		all = append(all, u)
	}
	issuedBy := func(name string) map[string]any { return map[string]any{"kind": "Issuer", "name": name} }
	key := map[string]any{"algorithm": "ECDSA", "size": int64(256), "rotationPolicy": "Always"}
	add("Issuer", i.Name+"-selfsigned", map[string]any{"selfSigned": map[string]any{}})
	add("Certificate", authority, map[string]any{"secretName": authority, "commonName": authority, "isCA": true, "duration": "43800h", "privateKey": key, "issuerRef": issuedBy(i.Name + "-selfsigned")})
	add("Issuer", authority, map[string]any{"ca": map[string]any{"secretName": authority}})
	add("Certificate", i.tlsSecret(), map[string]any{"secretName": i.tlsSecret(), "dnsNames": []any{host, host + ".cluster.local"}, "duration": "2160h", "privateKey": key, "issuerRef": issuedBy(authority)})
	return all
}
