package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// contentsOf is what was found in the store under the backup's name; nil where the store was not in the scan. The problem
// says why there is none, or why what is there cannot be taken for this backup: two clusters that write under one prefix
// overwrite each other.
func (p *protection) contentsOf(g good) (contents map[string]any, problem string) {
	var found []map[string]any
	bucket, prefix := p.objectStorage(g)
	for _, c := range p.contents {
		if text(c, "backup", "name") != g.name || text(c, "backup", "namespace") != g.namespace {
			continue
		}
		at := text(c, "location", "bucket")
		here := at != "" && place(c) == path(bucket, prefix)
		started, mine := text(c, "backup", "started"), text(g.object, "status", "startTimestamp")
		switch other := started != "" && mine != "" && started != mine; {
		case at != "" && bucket != "" && !here:
		case other && here:
			return nil, fmt.Sprintf("what lies under its name in bucket %s was started %s, not %s: another cluster may write under the same prefix", bucket, started, mine)
		case !other:
			found = append(found, c)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], ""
	case len(found) > 1:
		return nil, "several stores in the scan hold a backup of its name: scan the one its location names"
	case bucket != "" && p.scanned(path(bucket, prefix)):
		return nil, fmt.Sprintf("its location %s was scanned, and no backup of its name was found there: it is gone, lacks its velero-backup.json, or lies on another server", path(bucket, prefix))
	}
	return nil, ""
}

func (p *protection) objectStorage(g good) (bucket, prefix string) {
	l := p.kinds["BackupStorageLocation"][name{g.namespace, g.location}]
	return text(l, "spec", "objectStorage", "bucket"), text(l, "spec", "objectStorage", "prefix")
}

// path is a bucket with a prefix in it, and place the one that an artifact was found at.
func path(bucket, prefix string) string {
	return strings.TrimSuffix(bucket+"/"+strings.Trim(prefix, "/"), "/")
}

func place(artifact map[string]any) string {
	return path(text(artifact, "location", "bucket"), text(artifact, "location", "prefix"))
}

// scanned is whether a storage location was in the scan: something of it was found, or would have been. Whoever scans what
// several locations lie below sees all of them, unless a location lies right there, which no other can lie within.
func (m *memory) scanned(location string) bool {
	roots := map[string]bool{}
	for _, root := range m.empty {
		roots[root] = true
	}
	for _, a := range slices.Concat(m.contents, m.drills) {
		root, ok := rootOf(text(a, "location", "store"))
		if place(a) == location {
			return true
		}
		if _, seen := roots[root]; ok && (!seen || root == place(a)) {
			roots[root] = root != place(a)
		}
	}
	for root, deep := range roots {
		if deep && strings.HasPrefix(location+"/", root+"/") {
			return true
		}
	}
	return false
}

// rootOf is the bucket and prefix that a source names.
func rootOf(source string) (string, bool) {
	where, ok := strings.CutPrefix(source, "s3://")
	where, _, _ = strings.Cut(where, "?")
	bucket, prefix, _ := strings.Cut(where, "/")
	return path(bucket, prefix), ok
}

// holds is whether what is stored of the backup has the claim's data; a backup that was not looked at, or whose list of
// volumes is not known, is taken by its spec.
func (p *protection) holds(g good) (bool, string) {
	if g.contents == nil {
		return true, ""
	}
	if why := spoiled(g.contents); why != "" {
		return false, why
	}
	if p.what != "PersistentVolumeClaim" {
		return true, ""
	}
	claim := p.namespace + "/" + p.name
	const unsaid = "its list of volumes does not say that the data of the claim was taken"
	listed, why := false, ""
	for _, v := range list(g.contents, "volumes") {
		if text(v, "pvc") != claim {
			continue
		}
		listed = true
		result, phase := strings.ToLower(text(v, "result")), text(v, "phase")
		switch {
		case dig(v, "skipped") == true, result == "failed", phase == "Failed", phase == "Canceled":
			return false, ""
		case dig(v, "skipped") != false, result != "succeeded" && (result != "" || phase != "Completed"): // older versions say no result
			why = unsaid
		}
	}
	// The other files beside it may say more of the volume than Velero's list, and of one without its claim.
	pv := text(p.kinds["PersistentVolumeClaim"][name{p.namespace, p.name}], "spec", "volumeName")
	for _, v := range list(g.contents, "volumesNotHeld") {
		switch {
		case text(v, "pvc") != claim && (text(v, "pvc") != "" || pv == "" || text(v, "pv") != pv):
		case text(v, "state") == "failed", text(v, "state") == "skipped":
			return false, ""
		default:
			why = unsaid
		}
	}
	if all := dig(g.contents, "volumesNotHeldCount"); all != nil && number(all) != float64(len(list(g.contents, "volumesNotHeld"))) {
		why = "it names not all the volumes whose data it does not hold"
	}
	return why == "" && (listed || g.contents["volumesKnown"] != true), why
}

// spoiled is why what is stored of a backup is not good, whatever the cluster says of it.
func spoiled(contents map[string]any) string {
	phase := text(contents, "backup", "phase")
	errors, whole := count(dig(contents, "backup", "errors"))
	switch {
	case phase != "Completed":
		return fmt.Sprintf("what is stored of it has phase %q, want Completed", phase)
	case !whole || dig(contents, "backup", "errors") == nil:
		return "what is stored of it does not say how many errors it had"
	case errors != 0:
		return fmt.Sprintf("what is stored of it counts %v errors", errors)
	case dig(contents, "tarball", "complete") != true:
		return "its tarball is not there, or was not read whole"
	}
	return ""
}

// count is a whole number; what is left out is zero, as Velero writes it.
func count(v any) (n float64, whole bool) {
	n = number(v)
	switch v.(type) {
	case nil, int64, float64:
		return n, n == math.Trunc(n)
	}
	return 0, false
}

func number(v any) float64 {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}
