package fleet

import (
	"maps"
	"net/url"
	"strings"

	"proviso.dev/proviso/engine"
)

// location joins what a BackupStorageLocation declares with the bucket that is there.
func (c *cluster) location(n name) *engine.Subject {
	l := c.kinds["BackupStorageLocation"][n]
	declared := map[string]any{}
	for field, v := range map[string]any{"provider": text(l, "spec", "provider"), "bucket": text(l, "spec", "objectStorage", "bucket"), "prefix": text(l, "spec", "objectStorage", "prefix"),
		"region": text(l, "spec", "config", "region"), "accessMode": text(l, "spec", "accessMode"), "endpoint": text(l, "spec", "config", "s3Url")} {
		if v != "" {
			declared[field] = v
		}
	}
	o := map[string]any{"apiVersion": APIVersion, "kind": "StorageLocation", "metadata": map[string]any{"name": n.name, "namespace": n.namespace}, "cluster": c.declared.Name, "declared": declared}
	if b := c.bucketOf(l); b != nil {
		observed := maps.Clone(b)
		for _, field := range []string{"metadata", "apiVersion", "kind"} {
			delete(observed, field)
		}
		o["observed"] = observed
	}
	return &engine.Subject{APIVersion: APIVersion, Kind: "StorageLocation", Namespace: n.namespace, Name: n.name, Object: o, Origin: engine.Origin{Source: c.source}}
}

// bucketOf is the bucket a location names; nil where none in the scan is it for certain. A bucket that a cloud exported
// does not say by which server.
func (c *cluster) bucketOf(location map[string]any) map[string]any {
	var found []map[string]any
	want, endpoint := text(location, "spec", "objectStorage", "bucket"), server(text(location, "spec", "config", "s3Url"))
	for _, b := range c.buckets {
		if text(b, "metadata", "name") == want && want != "" && (b["endpoint"] == nil || server(text(b, "endpoint")) == endpoint) {
			found = append(found, b)
		}
	}
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

// server is an S3 endpoint as it can be compared; Amazon's own are the same as none.
func server(endpoint string) string {
	u, err := url.Parse(strings.ToLower(endpoint))
	if err != nil {
		return endpoint
	}
	if host := u.Hostname(); strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") {
		return ""
	}
	return strings.TrimSuffix(u.String(), "/")
}
