package dependency

import (
	"maps"
	"slices"
	"strings"
)

// reader reads the references of one object.
type reader struct {
	g      *Graph
	id     int32
	self   Object
	object map[string]any
}

// doubt notes a field of another type than the API has, which may hide a reference. One is enough to know that the object
// was not read.
func (r reader) doubt(key, want string) {
	if r.g.odd == "" {
		r.g.odd = "its " + key + " is no " + want
	}
}

// to notes that the object refers to another. A name that is empty refers to nothing.
func (r reader) to(rel relation, o Object, f flags) {
	if o.Name == "" || o.Kind == "" {
		return
	}
	r.g.edges = append(r.g.edges, edge{r.id, r.g.id(o), rel, f})
}

// near refers to an object of the core group in the object's own namespace.
func (r reader) near(rel relation, kind, name string, f flags) {
	r.to(rel, Object{"", kind, r.self.Namespace, name}, f)
}

// secret refers to the Secret that m names, in the namespace it names or else the object's own.
func (r reader) secret(rel relation, m map[string]any, f flags) {
	ns := r.text(m, "namespace")
	if ns == "" {
		ns = r.self.Namespace
	}
	if ns != "" {
		r.to(rel, Object{"", "Secret", ns, r.text(m, "name")}, f)
	}
}

// class refers to the class called name.
func (r reader) class(rel relation, group, kind, name string, f flags) {
	r.to(rel, Object{group, kind, "", name}, f)
}

// read reads what the object's kind refers to.
func (r reader) read() {
	if !builtin[r.self.Group] && r.self.Group != snapshots {
		r.conventions(child(r.object, "spec"))
		return
	}
	spec := r.child(r.object, "spec")
	switch r.self.Group {
	case "":
		r.core(spec)
	case "apps", "batch":
		r.workload(spec)
	case "networking.k8s.io":
		if r.self.Kind == "Ingress" {
			r.ingress(spec)
		}
	case "autoscaling":
		if target := r.child(spec, "scaleTargetRef"); target != nil {
			group, _ := split(r.text(target, "apiVersion"))
			kind := r.text(target, "kind")
			r.to(scales, Object{canonical(group, kind), kind, r.self.Namespace, r.text(target, "name")}, 0)
		}
	case "policy":
		if s := r.child(spec, "selector"); s != nil && len(r.list(s, "matchExpressions")) == 0 {
			r.selects(r.child(s, "matchLabels"))
		}
	case "storage.k8s.io":
		if r.self.Kind == "StorageClass" {
			r.parameters("csi.storage.k8s.io/", r.child(r.object, "parameters"))
		}
	case rbac:
		r.binding()
	case admission:
		r.webhooks(spec)
	case crds:
		if r.self.Kind == "CustomResourceDefinition" {
			r.definition(spec)
		}
	case "apiregistration.k8s.io":
		if s := r.child(spec, "service"); s != nil {
			r.g.aggregated[r.g.word(r.text(spec, "group"))] = true
			r.to(calls, Object{"", "Service", r.text(s, "namespace"), r.text(s, "name")}, 0)
		}
	case snapshots:
		r.snapshot(spec)
	}
}

func (r reader) core(spec map[string]any) {
	meta := r.child(r.object, "metadata")
	switch r.self.Kind {
	case "Pod":
		r.pod(spec)
		if !slices.ContainsFunc(r.elements(meta, "ownerReferences"), func(o map[string]any) bool { return o["controller"] == true }) {
			r.selectable(r.child(meta, "labels"))
		}
	case "ReplicationController":
		r.template(spec)
	case "PersistentVolumeClaim":
		r.claim(spec)
	case "PersistentVolume":
		r.volume(spec)
	case "Service":
		r.selects(r.child(spec, "selector"))
	case "ServiceAccount":
		for _, s := range r.elements(r.object, "secrets") {
			f := optional
			if generated(r.self.Name, r.text(s, "name")) {
				f |= provided
			}
			r.near(mountable, "Secret", r.text(s, "name"), f)
		}
		for _, s := range r.elements(r.object, "imagePullSecrets") {
			f := flags(0)
			if generated(r.self.Name, r.text(s, "name")) {
				f = provided
			}
			r.near(pull, "Secret", r.text(s, "name"), f)
		}
	case "Secret":
		if r.text(r.object, "type") == "kubernetes.io/service-account-token" {
			r.near(token, "ServiceAccount", r.text(r.child(meta, "annotations"), "kubernetes.io/service-account.name"), 0)
		}
	}
}

// generated reports whether a controller made the Secret for the account: account-token-x7k2p, account-dockercfg-x7k2p.
func generated(account, secret string) bool {
	rest, ok := strings.CutPrefix(secret, account+"-")
	if !ok {
		return false
	}
	suffix, ok := strings.CutPrefix(rest, "token-")
	if !ok {
		suffix, ok = strings.CutPrefix(rest, "dockercfg-")
	}
	return ok && len(suffix) == 5 && !strings.ContainsAny(suffix, "-.")
}

func (r reader) claim(spec map[string]any) {
	r.to(volume, Object{"", "PersistentVolume", "", r.text(spec, "volumeName")}, 0)
	r.class(storageClass, "storage.k8s.io", "StorageClass", r.className(spec), 0)
	from := r.child(spec, "dataSourceRef")
	if from == nil {
		from = r.child(spec, "dataSource")
	}
	ns := r.text(from, "namespace")
	if ns == "" {
		ns = r.self.Namespace
	}
	r.to(source, Object{r.text(from, "apiGroup"), r.text(from, "kind"), ns, r.text(from, "name")}, 0)
}

// className is the class of a claim or a volume; old ones say it in an annotation.
func (r reader) className(spec map[string]any) string {
	if name := r.text(spec, "storageClassName"); name != "" {
		return name
	}
	return r.text(r.child(r.object, "metadata", "annotations"), "volume.beta.kubernetes.io/storage-class")
}

func (r reader) volume(spec map[string]any) {
	// A volume that is there already needs no class: its name only has to be the claim's.
	r.class(storageClass, "storage.k8s.io", "StorageClass", r.className(spec), optional)
	c := r.child(spec, "claimRef")
	r.to(claimedBy, Object{"", "PersistentVolumeClaim", r.text(c, "namespace"), r.text(c, "name")}, optional)
	for _, kind := range []string{"csi", "rbd", "cephfs", "flexVolume", "iscsi", "scaleIO", "storageos", "azureFile"} {
		driver := r.child(spec, kind)
		for _, key := range []string{"controllerPublishSecretRef", "nodeStageSecretRef", "nodePublishSecretRef", "controllerExpandSecretRef", "nodeExpandSecretRef", "secretRef"} {
			r.secret(credentials, r.child(driver, key), 0)
		}
		if name := r.text(driver, "secretName"); name != "" {
			r.to(credentials, Object{"", "Secret", r.text(driver, "secretNamespace"), name}, 0)
		}
	}
}

// parameters reads a class's pairs of …secret-name and …secret-namespace. A template in either names another Secret for
// every claim.
func (r reader) parameters(prefix string, m map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		base, ok := strings.CutSuffix(key, "-name")
		if !ok || !strings.HasPrefix(key, prefix) || !strings.HasSuffix(base, "secret") {
			continue
		}
		name, ns := r.text(m, key), r.text(m, base+"-namespace")
		if ns != "" && !strings.Contains(name+ns, "${") {
			r.to(credentials, Object{"", "Secret", ns, name}, 0)
		}
	}
}

func (r reader) snapshot(spec map[string]any) {
	r.class(snapshotClass, snapshots, "VolumeSnapshotClass", r.text(spec, "volumeSnapshotClassName"), 0)
	switch r.self.Kind {
	case "VolumeSnapshot":
		from := r.child(spec, "source")
		name := r.text(from, "volumeSnapshotContentName")
		if name == "" {
			name = r.text(r.child(r.object, "status"), "boundVolumeSnapshotContentName")
		}
		r.to(content, Object{snapshots, "VolumeSnapshotContent", "", name}, 0)
		r.near(taken, "PersistentVolumeClaim", r.text(from, "persistentVolumeClaimName"), optional)
	case "VolumeSnapshotContent":
		ref := r.child(spec, "volumeSnapshotRef")
		r.to(snapshot, Object{snapshots, "VolumeSnapshot", r.text(ref, "namespace"), r.text(ref, "name")}, optional)
		r.parameters("snapshot.storage.kubernetes.io/", r.child(r.object, "metadata", "annotations"))
	case "VolumeSnapshotClass":
		r.parameters("csi.storage.k8s.io/", r.child(r.object, "parameters"))
	}
}

func (r reader) ingress(spec map[string]any) {
	r.class(ingressClass, "networking.k8s.io", "IngressClass", r.text(spec, "ingressClassName"), 0)
	to := func(b map[string]any) {
		r.near(backend, "Service", r.text(r.child(b, "service"), "name"), 0)
		r.near(backend, "Service", r.text(b, "serviceName"), 0)
		if x := r.child(b, "resource"); x != nil {
			r.to(backend, Object{r.text(x, "apiGroup"), r.text(x, "kind"), r.self.Namespace, r.text(x, "name")}, 0)
		}
	}
	to(r.child(spec, "defaultBackend"))
	to(r.child(spec, "backend"))
	for _, rule := range r.elements(spec, "rules") {
		for _, path := range r.elements(r.child(rule, "http"), "paths") {
			to(r.child(path, "backend"))
		}
	}
	notes := r.child(r.object, "metadata", "annotations")
	issuer, cluster := r.text(notes, "cert-manager.io/issuer"), r.text(notes, "cert-manager.io/cluster-issuer")
	r.to(names, Object{certManager, "Issuer", r.self.Namespace, issuer}, convention)
	r.to(names, Object{certManager, "ClusterIssuer", "", cluster}, convention)
	f := flags(0)
	if issuer != "" || cluster != "" {
		f = optional // is issued anew
	}
	for _, t := range r.elements(spec, "tls") {
		r.near(tls, "Secret", r.text(t, "secretName"), f)
	}
}

func (r reader) binding() {
	if r.self.Kind != "RoleBinding" && r.self.Kind != "ClusterRoleBinding" {
		return
	}
	role := r.child(r.object, "roleRef")
	to := Object{rbac, r.text(role, "kind"), "", r.text(role, "name")}
	if to.Kind == "Role" {
		to.Namespace = r.self.Namespace
	}
	r.to(grants, to, 0)
	// The rest of a binding's subjects work without the one that is not there.
	f := optional
	if strings.HasPrefix(r.self.Name, "system:") {
		f |= provided
	}
	for _, s := range r.elements(r.object, "subjects") {
		if r.text(s, "kind") != "ServiceAccount" {
			continue
		}
		ns := r.text(s, "namespace")
		if ns == "" {
			ns = r.self.Namespace
		}
		r.to(subject, Object{"", "ServiceAccount", ns, r.text(s, "name")}, f)
	}
}

func (r reader) webhooks(spec map[string]any) {
	for _, w := range r.elements(r.object, "webhooks") {
		r.service(r.child(w, "clientConfig"))
	}
	if name := r.text(spec, "policyName"); name != "" {
		kind := strings.TrimSuffix(r.self.Kind, "Binding")
		r.to(grants, Object{admission, kind, "", name}, 0)
	}
}

func (r reader) service(config map[string]any) {
	s := r.child(config, "service")
	r.to(calls, Object{"", "Service", r.text(s, "namespace"), r.text(s, "name")}, 0)
}

func (r reader) definition(spec map[string]any) {
	d := definition{node: r.id, kind: groupKind{r.g.word(r.text(spec, "group")), r.g.word(r.text(r.child(spec, "names"), "kind"))}}
	versions := r.elements(spec, "versions")
	for _, v := range versions {
		if v["served"] == true {
			d.served = append(d.served, r.g.word(r.text(v, "name")))
		}
	}
	if v := r.text(spec, "version"); v != "" && len(versions) == 0 { // v1beta1
		d.served = []string{r.g.word(v)}
	}
	r.g.definitions = append(r.g.definitions, d)
	conversion := r.child(spec, "conversion")
	r.service(r.child(conversion, "webhook", "clientConfig"))
	r.service(r.child(conversion, "webhookClientConfig")) // v1beta1
}

func (r reader) selects(labels map[string]any) {
	if len(labels) > 0 {
		r.g.selectors = append(r.g.selectors, selector{r.id, r.g.labelled(labels)})
	}
}

func (r reader) selectable(labels map[string]any) {
	if len(labels) > 0 {
		r.g.workloads = append(r.g.workloads, workload{r.id, r.g.labelled(labels)})
	}
}

// text is the string under key, or "". The like of it that belong to a reader are for fields whose type the API gives, and
// note one of another type; null is what is not there.
func (r reader) text(m map[string]any, key string) string {
	s, ok := m[key].(string)
	if !ok && m[key] != nil {
		r.doubt(key, "text")
	}
	return s
}

// child is the map at the end of the keys, or nil.
func (r reader) child(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		v := m[k]
		var ok bool
		if m, ok = v.(map[string]any); !ok && v != nil {
			r.doubt(k, "object")
		}
	}
	return m
}

// list is the list under key, or nil.
func (r reader) list(m map[string]any, key string) []any {
	l, ok := m[key].([]any)
	if !ok && m[key] != nil {
		r.doubt(key, "list")
	}
	return l
}

// elements are the maps of the list under key.
func (r reader) elements(m map[string]any, key string) []map[string]any {
	l := r.list(m, key)
	all := make([]map[string]any, 0, len(l))
	for _, e := range l {
		if e, ok := e.(map[string]any); ok {
			all = append(all, e)
		} else {
			r.doubt(key, "list of objects")
		}
	}
	return all
}

// text is the string under key, or "".
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// child is the map at the end of the keys, or nil.
func child(m map[string]any, keys ...string) map[string]any {
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	return m
}
