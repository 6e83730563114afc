package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine/selection"
)

// good is a backup that holds the data.
type good struct {
	name, namespace, location string
	completed                 time.Time
	object, contents          map[string]any
	method                    selection.Method
}

// backups finds the good backups, newest first, the copies they make and the drills that tried them.
func (p *protection) backups(ask asked) {
	var all []good
	doubts := len(p.unknown)
	for _, n := range p.kinds["Backup"].sorted() {
		b := p.kinds["Backup"][n]
		if text(b, "status", "phase") != "Completed" || number(dig(b, "status", "errors")) != 0 {
			continue
		}
		spec, _ := b["spec"].(map[string]any)
		g := good{name: n.name, namespace: n.namespace, location: p.locationName(spec, n.namespace), object: b}
		completed, err := time.Parse(time.RFC3339, text(b, "status", "completionTimestamp"))
		if err != nil {
			p.doubt("backup "+n.name, "it does not say when it completed")
			continue
		}
		g.completed = completed.UTC()
		answer, method, why := ask(spec, n.namespace)
		if answer == selection.Unknown {
			p.doubt("backup "+n.name, why)
		}
		if answer != selection.Selected {
			continue
		}
		var problem string
		if g.contents, problem = p.contentsOf(g); problem != "" {
			p.doubt("backup "+n.name, problem)
			continue
		}
		g.method = method
		if taken, why := p.holds(g); !taken {
			if why != "" {
				p.doubt("backup "+n.name, why)
			}
			continue
		}
		all = append(all, g)
	}
	slices.SortStableFunc(all, func(a, b good) int { return b.completed.Compare(a.completed) })
	listed := []any{}
	for _, g := range all[:min(len(all), maxBackups)] {
		one := map[string]any{"name": g.name, "location": g.location, "completed": g.completed.Format(time.RFC3339), "errors": int64(0)}
		if at := text(g.object, "status", "expiration"); at != "" {
			one["expiration"] = at
		}
		listed = append(listed, one)
	}
	if len(all) > 0 || len(p.unknown) == doubts && p.whole("velero.io", "Backup") {
		p.object["backups"] = listed
	}
	if len(all) > 0 {
		p.object["lastGood"] = map[string]any{"name": all[0].name, "completed": all[0].completed.Format(time.RFC3339), "location": all[0].location}
	} else if !p.whole("velero.io", "Backup") {
		p.doubt("backups", fmt.Sprintf("not every backup of %s was listed", p.declared.Name))
	}
	p.places(all)
	p.drill(all)
}

// contentsOf is what was found in the store under the backup's name; nil where no store in the scan has it. The problem says
// why what is there cannot be taken for this backup: two clusters that write under one prefix overwrite each other.
func (p *protection) contentsOf(g good) (contents map[string]any, problem string) {
	var found []map[string]any
	bucket, prefix := p.objectStorage(g)
	for _, c := range p.contents {
		if text(c, "backup", "name") != g.name || text(c, "backup", "namespace") != g.namespace {
			continue
		}
		at := text(c, "location", "bucket")
		here := at != "" && at == bucket && strings.Trim(text(c, "location", "prefix"), "/") == strings.Trim(prefix, "/")
		started, mine := text(c, "backup", "started"), text(g.object, "status", "startTimestamp")
		switch other := started != "" && mine != "" && started != mine; {
		case at != "" && bucket != "" && !here:
		case other && here:
			return nil, fmt.Sprintf("what lies under its name in bucket %s was started %s, not %s: another cluster may write under the same prefix", bucket, started, mine)
		case !other:
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, ""
	case 1:
		return found[0], ""
	}
	return nil, "several stores in the scan hold a backup of its name: scan the one its location names"
}

func (p *protection) objectStorage(g good) (bucket, prefix string) {
	l := p.kinds["BackupStorageLocation"][name{g.namespace, g.location}]
	return text(l, "spec", "objectStorage", "bucket"), text(l, "spec", "objectStorage", "prefix")
}

// holds is whether the backup's own list of volumes has the claim's data; a backup whose list is not known is taken by its
// spec, and one that is damaged by nothing.
func (p *protection) holds(g good) (bool, string) {
	if g.contents != nil && dig(g.contents, "tarball", "complete") == false {
		return false, "its tarball was not read whole"
	}
	if p.what != "PersistentVolumeClaim" || g.contents == nil || g.contents["volumesKnown"] != true {
		return true, ""
	}
	for _, v := range list(g.contents, "volumes") {
		if text(v, "pvc") == p.namespace+"/"+p.name {
			lost := strings.EqualFold(text(v, "result"), "failed") || text(v, "phase") == "Failed" || text(v, "phase") == "Canceled"
			return dig(v, "skipped") != true && !lost, ""
		}
	}
	return false, ""
}

// places lists the copies: the cluster's own, and one for each place a good backup lies.
func (p *protection) places(all []good) {
	own := map[string]any{"location": p.declared.Name, "medium": "cluster", "offsite": false}
	p.place(own, p.declared.Region, p.declared.Account)
	seen := map[string]bool{}
	var stored []good
	for _, g := range all {
		if g.method == selection.Snapshot && !seen["\x00"] {
			seen["\x00"] = true
			p.place(map[string]any{"location": g.location, "medium": "snapshot", "offsite": false}, p.declared.Region, p.declared.Account)
		}
		if g.method == selection.Snapshot || seen[p.storage(g)] {
			continue
		}
		seen[p.storage(g)] = true
		p.store(g)
		stored = append(stored, g)
	}
	for _, g := range stored {
		p.replicas(g, seen)
	}
	if p.copies == nil {
		p.copies = []any{}
	}
	p.object["copies"] = p.copies
	p.object["domains"] = map[string]any{"regions": names(p.regions), "accounts": names(p.accounts), "media": names(p.media)}
}

// storage is what a backup's location has in common with every other that writes to the same bucket: one bucket is one copy.
func (p *protection) storage(g good) string {
	l := p.kinds["BackupStorageLocation"][name{g.namespace, g.location}]
	if bucket := text(l, "spec", "objectStorage", "bucket"); bucket != "" {
		return strings.Join([]string{text(l, "spec", "provider"), strings.TrimSuffix(text(l, "spec", "config", "s3Url"), "/"), bucket}, "\x00")
	}
	return g.namespace + "/" + g.location
}

// store is the copy in a backup's location.
func (p *protection) store(g good) {
	l := p.kinds["BackupStorageLocation"][name{g.namespace, g.location}]
	one := map[string]any{"location": g.location, "medium": "object-store"}
	region, account := text(l, "spec", "config", "region"), ""
	if bucket := text(l, "spec", "objectStorage", "bucket"); bucket != "" {
		one["bucket"] = bucket
	}
	if provider := text(l, "spec", "provider"); provider != "" {
		one["provider"] = provider
	}
	if g.contents != nil {
		if dig(g.contents, "tarball", "complete") == true {
			one["verified"] = true
		}
	}
	b := p.bucketOf(l)
	if b == nil {
		p.doubt("bucket of location "+g.location, "it was not in the scan, or two in the scan share its name")
		p.place(one, region, account)
		return
	}
	// What the bucket says counts more than what was declared.
	if observed := text(b, "region"); observed != "" {
		region = observed
	}
	account = text(b, "account")
	if held, known := immutable(b, g); known {
		one["immutable"] = held
	}
	if algorithm := text(b, "encryption", "algorithm"); algorithm != "" {
		one["encrypted"] = algorithm != "none"
	}
	p.place(one, region, account)
}

// replicas are the copies a bucket's own replication makes, but for those in buckets that are copies already.
func (p *protection) replicas(g good, seen map[string]bool) {
	l := p.kinds["BackupStorageLocation"][name{g.namespace, g.location}]
	bucket, _ := p.objectStorage(g)
	for _, r := range list(p.bucketOf(l), "replication") {
		if text(r, "status") != "Enabled" || text(r, "prefix") != "" || dig(r, "filtered") == true {
			continue
		}
		to := text(r, "bucket")
		// The copies of one bucket in other regions bear its name.
		if to != "" && to != bucket {
			key := strings.Join([]string{text(l, "spec", "provider"), strings.TrimSuffix(text(l, "spec", "config", "s3Url"), "/"), to}, "\x00")
			if seen[key] {
				continue
			}
			seen[key] = true
		}
		p.place(map[string]any{"location": g.location, "bucket": to, "medium": "object-store"}, text(r, "region"), text(r, "account"))
	}
}

// immutable is whether a bucket's default lock holds a backup until it expires; known is false where the lock's period or the
// backup's expiration is not.
func immutable(bucket map[string]any, g good) (held, known bool) {
	enabled, ok := dig(bucket, "objectLock", "enabled").(bool)
	if !ok || !enabled || text(bucket, "objectLock", "mode") != "COMPLIANCE" {
		return false, ok
	}
	day := 24 * 60 * 60.0
	seconds := number(dig(bucket, "objectLock", "seconds"))
	if seconds == 0 {
		seconds = number(dig(bucket, "objectLock", "days"))*day + number(dig(bucket, "objectLock", "years"))*365*day
	}
	expiration, err := time.Parse(time.RFC3339, text(g.object, "status", "expiration"))
	if err != nil || seconds <= 0 {
		return false, false
	}
	// Nothing of a backup is written before it starts.
	from, err := time.Parse(time.RFC3339, text(g.object, "status", "startTimestamp"))
	if err != nil {
		from = g.completed
	}
	return expiration.Sub(from).Seconds() <= seconds, true
}

func (p *protection) place(one map[string]any, region, account string) {
	p.media[one["medium"].(string)] = true
	if region != "" {
		one["region"], p.regions[region] = region, true
		if _, told := one["offsite"]; !told && p.declared.Region != "" {
			one["offsite"] = region != p.declared.Region
		}
	}
	if account != "" {
		one["account"], p.accounts[account] = account, true
	}
	p.copies = append(p.copies, one)
}

func names(set map[string]bool) []any {
	all := []any{}
	for _, n := range slices.Sorted(maps.Keys(set)) {
		all = append(all, n)
	}
	return all
}

// drill is the newest restore that worked of a backup that holds the data.
func (p *protection) drill(all []good) {
	var newest time.Time
	try := func(of func(good) bool, name, completed, started string) {
		i := slices.IndexFunc(all, of)
		end, err := time.Parse(time.RFC3339, completed)
		if i < 0 || err != nil || !end.After(newest) {
			return
		}
		newest = end
		d := map[string]any{"name": name, "completed": end.UTC().Format(time.RFC3339), "location": all[i].location}
		if begin, err := time.Parse(time.RFC3339, started); err == nil {
			d["durationSeconds"] = int64(end.Sub(begin) / time.Second)
		}
		p.object["drill"] = d
	}
	for _, n := range p.kinds["Restore"].sorted() {
		r := p.kinds["Restore"][n]
		if text(r, "status", "phase") != "Completed" || number(dig(r, "status", "errors")) != 0 || !p.restored(n, r) {
			continue
		}
		try(func(g good) bool { return g.name == text(r, "spec", "backupName") && g.namespace == n.namespace },
			n.name, text(r, "status", "completionTimestamp"), text(r, "status", "startTimestamp"))
	}
	for _, d := range p.drills {
		if d["succeeded"] == true && p.tookBack(d) {
			try(func(g good) bool { return g.name == text(d, "restore", "backup") && p.drilled(d, g) },
				text(d, "restore", "name"), text(d, "completed"), text(d, "started"))
		}
	}
}

// restored is whether a restore takes the claim or namespace back: one of something else proves nothing about it.
func (p *protection) restored(n name, restore map[string]any) bool {
	spec, _ := restore["spec"].(map[string]any)
	if p.what == "PersistentVolumeClaim" && dig(spec, "restorePVs") == false {
		return false
	}
	same := map[string]any{}
	for _, field := range []string{"includedNamespaces", "excludedNamespaces", "includedResources", "excludedResources", "labelSelector", "orLabelSelectors", "includeClusterResources"} {
		if v, ok := spec[field]; ok {
			same[field] = v
		}
	}
	s, err := p.selector(same, n.namespace)
	if err != nil {
		return false
	}
	at := name{p.namespace, p.name}
	o := p.cluster.object(p.kinds[p.what][at])
	o.Related = []selection.Object{}
	answer, why := s.Selects(o)
	if answer == selection.Unknown {
		p.doubt("drill "+n.name, why)
	}
	return answer == selection.Selected
}

// tookBack is whether a drill that a store tells of restored the claim, or something of the namespace.
func (p *protection) tookBack(d map[string]any) bool {
	if p.what == "PersistentVolumeClaim" {
		return slices.Contains(list(d, "restored", "claims"), any(p.namespace+"/"+p.name))
	}
	return slices.Contains(list(d, "restored", "namespaces"), any(p.name))
}

// drilled is whether a drill that a store tells of was one of this backup: clusters name their backups alike.
func (p *protection) drilled(d map[string]any, g good) bool {
	bucket, prefix := p.objectStorage(g)
	if at := text(d, "location", "bucket"); at != "" && bucket != "" {
		return at == bucket && strings.Trim(text(d, "location", "prefix"), "/") == strings.Trim(prefix, "/")
	}
	if g.contents != nil {
		return text(d, "location", "store") == text(g.contents, "location", "store")
	}
	for source, kinds := range p.sources {
		if source != p.source && len(kinds["Backup"]) > 0 {
			return false
		}
	}
	return true
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
