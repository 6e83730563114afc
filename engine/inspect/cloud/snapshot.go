package cloud

import (
	"strings"

	"proviso.dev/proviso/engine/exported"
)

// ec2Snapshots reads DescribeSnapshots or DescribeLockedSnapshots, which are told apart by their elements, and where they
// have none by the name of the call or file.
func (g *gathering) ec2Snapshots(p part) {
	partial := g.morePages(p, "NextToken")
	list, ok := p.Objects("Snapshots")
	for _, problem := range p.Problems() {
		g.fail(p.document.Broken(problem))
	}
	if !ok {
		return
	}
	locks := false
	for _, o := range list {
		each := part{exported.Read(fieldsOf(p, o), o.At()...), p.document}
		if each.Has("LockState") {
			locks = true
			g.join(g.locks, each, "SnapshotId")
		} else {
			g.ec2Snapshot(each)
		}
	}
	if len(list) == 0 {
		path := p.At()
		under := ""
		if len(path) > 0 {
			under, _ = path[len(path)-1].(string)
		}
		locks = under == "DescribeLockedSnapshots" || under == "" && strings.Contains(strings.ToLower(base(p.document.Text.File)), "lock")
	}
	switch {
	case locks && !partial:
		g.lockLists++
	case !locks:
		g.snapshots++
	}
}

// fieldsOf are the fields of an element, whose problems are its own from then on.
func fieldsOf(of part, element exported.Object) map[string]any {
	fields := map[string]any{}
	for _, key := range element.Keys() {
		fields[key] = element.Raw(key)
	}
	return fields
}

func (g *gathering) ec2Snapshot(p part) {
	a := newArtifact("Snapshot", "aws", p)
	a.name, _ = p.Text("SnapshotId")
	if on, ok := p.Bool("Encrypted"); ok {
		a.set("encrypted", on, p, "Encrypted")
	}
	a.text("key", p, "KmsKeyId")
	if key, ok := p.Text("KmsKeyId"); ok {
		// A key serves the region it is in, so its ARN tells the snapshot's.
		if arn := strings.Split(key, ":"); len(arn) > 5 && arn[3] != "" {
			a.set("region", strings.ToLower(arn[3]), p, "KmsKeyId")
		}
	}
	a.text("state", p, "State")
	a.text("owner", p, "OwnerId")
	a.text("volume", p, "VolumeId")
	if t, ok := p.Time("StartTime"); ok {
		a.set("started", t, p, "StartTime")
	}
	a.labels = tags(p)
	g.add(a, func() {
		if share := g.take(g.shares, a.name); share.there() {
			a.ec2Share(share)
		}
		switch lock := g.take(g.locks, a.name); {
		case lock.there():
			a.ec2Lock(lock)
		case g.lockLists > 0 && g.lockLists >= g.snapshots:
			a.fields["lock"] = map[string]any{"state": "none"}
		}
	})
}

// tags are the Tags of an AWS resource, left out where the export has none of them.
func tags(p part) map[string]any {
	list, ok := p.Objects("Tags")
	if !ok {
		return nil
	}
	labels := map[string]any{}
	for _, t := range list {
		if key, ok := t.Text("Key"); ok {
			labels[key], _ = t.Text("Value")
		}
	}
	return labels
}

func (a *artifact) ec2Share(p part) {
	list, ok := p.Objects("CreateVolumePermissions")
	if !ok {
		return
	}
	public, accounts := false, []any{}
	for _, o := range list {
		group, _ := o.Text("Group")
		public = public || group == "all"
		if user, ok := o.Text("UserId"); ok {
			accounts = append(accounts, user)
		}
	}
	if len(p.Problems()) == 0 {
		a.set("public", public, p, "CreateVolumePermissions")
		a.set("sharedWith", accounts, p, "CreateVolumePermissions")
	}
}

func (a *artifact) ec2Lock(p part) {
	state, _ := p.Text("LockState")
	lock := map[string]any{"state": state}
	switch state {
	case "compliance", "compliance-cooloff":
		lock["mode"] = "COMPLIANCE"
	case "governance":
		lock["mode"] = "GOVERNANCE"
	}
	if days, ok := p.Int("LockDuration"); ok {
		lock["days"] = days
	}
	if t, ok := p.Time("LockExpiresOn"); ok {
		lock["expires"] = t
	}
	if len(p.Problems()) == 0 {
		a.set("lock", lock, p, "LockState")
	}
}

func (g *gathering) gceSnapshot(p part) {
	a := newArtifact("Snapshot", "gcp", p)
	a.name, _ = p.Text("name")
	// Google encrypts every snapshot; the key says whose key it is.
	a.fields["encrypted"] = true
	key := part{p.In("snapshotEncryptionKey"), p.document}
	a.text("key", key, "kmsKeyName")
	a.text("state", p, "status")
	if places, ok := p.Texts("storageLocations"); ok && len(places) == 1 {
		a.set("region", strings.ToLower(places[0]), p, "storageLocations")
	} else if ok {
		locations := make([]any, len(places))
		for i, l := range places {
			locations[i] = strings.ToLower(l)
		}
		a.set("regions", locations, p, "storageLocations")
	}
	if disk, ok := p.Text("sourceDisk"); ok {
		a.set("volume", exported.Last(disk), p, "sourceDisk")
	}
	if link, ok := p.Text("selfLink"); ok {
		if project := exported.Between(link, "projects"); project != "" {
			a.set("owner", project, p, "selfLink")
		}
	}
	if t, ok := p.Time("creationTimestamp"); ok {
		a.set("started", t, p, "creationTimestamp")
	}
	a.labels = p.Labels("labels")
	g.add(a, nil)
}

// home is where a field of an Azure resource stands: the API puts most under properties, az beside the id.
func (p part) home(key string) part {
	if properties := p.In("properties"); properties.Has(key) {
		return part{properties, p.document}
	}
	return p
}

func (g *gathering) azureSnapshot(p part) {
	a := newArtifact("Snapshot", "azure", p)
	a.name, _ = p.Text("name")
	if location, ok := p.Text("location"); ok {
		a.set("region", strings.ToLower(strings.ReplaceAll(location, " ", "")), p, "location")
	}
	encryption := part{p.home("encryption").In("encryption"), p.document}
	if kind, ok := encryption.Text("type"); ok {
		a.set("encrypted", strings.HasPrefix(kind, "EncryptionAtRest"), encryption, "type")
	}
	a.text("key", encryption, "diskEncryptionSetId")
	a.text("state", p.home("provisioningState"), "provisioningState")
	if id, ok := p.Text("id"); ok {
		if subscription := exported.Between(id, "subscriptions"); subscription != "" {
			a.set("owner", subscription, p, "id")
		}
	}
	if t, ok := p.home("timeCreated").Time("timeCreated"); ok {
		a.set("started", t, p.home("timeCreated"), "timeCreated")
	}
	source := part{p.home("creationData").In("creationData"), p.document}
	if disk, ok := source.Text("sourceResourceId"); ok {
		a.set("volume", exported.Last(disk), source, "sourceResourceId")
	}
	// A snapshot can be downloaded from anywhere only where both are open.
	network := p.home("networkAccessPolicy")
	access, known := network.Text("networkAccessPolicy")
	if public, ok := p.home("publicNetworkAccess").Text("publicNetworkAccess"); known && ok {
		a.set("public", strings.EqualFold(access, "AllowAll") && strings.EqualFold(public, "Enabled"), network, "networkAccessPolicy")
	}
	a.labels = p.Labels("tags")
	g.add(a, nil)
}
