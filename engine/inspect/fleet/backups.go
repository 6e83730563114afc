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
	for _, n := range p.in("Backup") {
		b := p.kinds["Backup"][n]
		errors, whole := count(dig(b, "status", "errors"))
		if text(b, "status", "phase") != "Completed" || errors != 0 {
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
		answer, method, why := ask(asking{"Backup", n}, spec)
		if answer == selection.Unknown {
			p.doubt("backup "+n.name, why)
		}
		if answer != selection.Selected {
			continue
		}
		if !whole {
			p.doubt("backup "+n.name, "its status.errors is not a whole number")
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
	// A backup that may be good may lie in yet another place.
	p.object["copiesWhole"] = p.whole("velero.io", "Backup") && len(p.unknown) == doubts
	p.places(all)
	p.drill(all)
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
		end, err := time.Parse(time.RFC3339, completed)
		if err != nil || !slices.ContainsFunc(all, of) {
			return
		}
		begin, err := time.Parse(time.RFC3339, started)
		if err != nil || end.Before(begin) {
			p.doubt("drill "+name, "it does not say when it started, or ended before")
			return
		}
		// What was tried before the backup was there was another of its name.
		i := slices.IndexFunc(all, func(g good) bool { return of(g) && !begin.Before(g.completed) })
		if i < 0 || !end.After(newest) {
			return
		}
		newest = end
		p.object["drill"] = map[string]any{"name": name, "completed": end.UTC().Format(time.RFC3339), "location": all[i].location, "durationSeconds": int64(end.Sub(begin) / time.Second)}
	}
	for _, n := range p.kinds["Restore"].sorted() {
		r := p.kinds["Restore"][n]
		of := func(g good) bool {
			return g.name == text(r, "spec", "backupName") && g.namespace == n.namespace && !p.madeNothing(n.name, g)
		}
		errors, whole := count(dig(r, "status", "errors"))
		switch {
		case text(r, "status", "phase") != "Completed" || errors != 0 || !p.restored(n, r):
		case whole:
			try(of, n.name, text(r, "status", "completionTimestamp"), text(r, "status", "startTimestamp"))
		case slices.ContainsFunc(all, of):
			p.doubt("drill "+n.name, "its status.errors is not a whole number")
		}
	}
	for _, d := range p.drills {
		of := func(g good) bool { return g.name == text(d, "restore", "backup") && p.drilled(d, g) }
		switch {
		case d["succeeded"] != true:
		case p.tookBack(d):
			try(of, text(d, "restore", "name"), text(d, "completed"), text(d, "started"))
		case d["restored"] == nil && slices.ContainsFunc(all, of):
			p.doubt("drill "+text(d, "restore", "name"), "what it took back is not said: its list of resources is not there, not whole, or does not say what became of each")
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
	s := p.selector(asking{"Restore", n}, same)
	if s.err != nil {
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

// madeNothing is whether a store tells of a restore of the backup that it took nothing of this back: the Restore counts objects
// that were there already as restored.
func (p *protection) madeNothing(restore string, g good) bool {
	return slices.ContainsFunc(p.drills, func(d map[string]any) bool {
		return text(d, "restore", "name") == restore && text(d, "restore", "backup") == g.name && d["restored"] != nil && !p.tookBack(d) && p.drilled(d, g)
	})
}

// drilled is whether a drill that a store tells of was one of this backup: clusters name their backups alike.
func (p *protection) drilled(d map[string]any, g good) bool {
	bucket, prefix := p.objectStorage(g)
	if text(d, "location", "bucket") != "" && bucket != "" {
		return place(d) == path(bucket, prefix)
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
