package bucket

import (
	"errors"
	"strings"

	"proviso.dev/proviso/engine/exported"
)

// azurePart is a resource of Azure: part of an account or of a container.
type azurePart struct {
	exported.Object
	document *exported.Document
}

// part is a field's home: the API puts most under properties, az puts them beside the id.
func (p azurePart) part(key string) exported.Object {
	if properties := p.In("properties"); properties.Has(key) {
		return properties
	}
	return p.Object
}

func (p azurePart) there() bool { return p.document != nil }

type azureContainer struct {
	name               string
	container, holding azurePart
}

type azureAccount struct {
	name                         string
	account, service, management azurePart
	containers                   []*azureContainer
}

func (a *azureAccount) container(name string) *azureContainer {
	for _, c := range a.containers {
		if c.name == name {
			return c
		}
	}
	c := &azureContainer{name: name}
	a.containers = append(a.containers, c)
	return c
}

// azurePart notes a resource; what belongs together is joined once all files are read.
func (g *gathering) azurePart(d *exported.Document, o exported.Object, kind string) {
	id, _ := o.Text("id")
	p := azurePart{o, d}
	name := exported.Between(id, "storageAccounts")
	if name == "" {
		name, _ = o.Text("name")
	}
	if name == "" || id == "" && kind != "microsoft.storage/storageaccounts" {
		g.fail(d.Broken(exported.Problem{Path: o.At(), Err: errors.New("read Azure resource: it has no id to join it by")}))
		return
	}
	account := g.azure[name]
	if account == nil {
		account = &azureAccount{name: name}
		g.azure[name] = account
		g.pending = append(g.pending, func() { g.azureFinish(account) })
	}
	var slot *azurePart
	switch strings.TrimPrefix(kind, "microsoft.storage/storageaccounts") {
	case "":
		slot = &account.account
	case "/blobservices":
		slot = &account.service
	case "/managementpolicies":
		slot = &account.management
	case "/blobservices/containers":
		slot = &account.container(exported.Between(id, "containers")).container
	case "/blobservices/containers/immutabilitypolicies":
		slot = &account.container(exported.Between(id, "containers")).holding
	default:
		g.fail(d.Other(o.At(), errUnknown))
		return
	}
	if slot.there() {
		g.fail(d.Broken(exported.Problem{Path: o.At("id"), Err: errors.New("read export: this resource is there twice (remove one)")}))
		return
	}
	*slot = p
}

// azureFinish makes a Bucket for each container, or one for an account of which no container is known.
func (g *gathering) azureFinish(a *azureAccount) {
	containers := a.containers
	if len(containers) == 0 {
		containers = []*azureContainer{{name: a.name, container: a.account}}
	}
	for _, c := range containers {
		g.azureBucket(a, c)
	}
}

func (g *gathering) azureBucket(account *azureAccount, c *azureContainer) {
	a := newArtifact("azure")
	a.fields["account"] = account.name
	for _, of := range aspects {
		a.call(of.name, Failed, notExported)
	}
	home := c.container
	for _, p := range []azurePart{c.holding, account.account, account.service, account.management} {
		if !home.there() {
			home = p
		}
	}
	if account.account.there() {
		a.azureAccount(account.account, c.name)
	}
	if account.service.there() {
		a.document = account.service.document
		on, _ := account.service.part("isVersioningEnabled").Bool("isVersioningEnabled")
		a.set("versioning", map[string]any{"status": map[bool]string{true: "Enabled", false: "Disabled"}[on]}, account.service.At())
		a.call("versioning", Answered, "")
	}
	if account.management.there() {
		a.azureLifecycle(account.management)
	}
	a.azureContainer(c)
	problems := 0
	for _, p := range []azurePart{account.account, account.service, account.management, c.container, c.holding} {
		if p.there() {
			problems += len(p.Problems())
			for _, problem := range p.Problems() {
				// The account is read for each of its containers; its problems are said once.
				if u := p.document.Broken(problem); !g.said[u.Error()] {
					g.said[u.Error()] = true
					g.fail(u)
				}
			}
		}
	}
	if problems == 0 {
		g.outcomes = append(g.outcomes, outcome{subject: a.subject(c.name, a.marks.Origin(home.document, home.At()))})
	}
}

// azureAccount reads what all containers of an account have in common.
func (a *artifact) azureAccount(p azurePart, container string) {
	a.document = p.document
	if location, ok := p.Text("location"); ok {
		a.set("region", azureRegion(location), p.At("location"))
		a.call("location", Answered, "")
	}
	if sku, ok := p.In("sku").Text("name"); ok {
		copies := []any{}
		if strings.Contains(strings.ToUpper(sku), "GRS") || strings.Contains(strings.ToUpper(sku), "GZRS") {
			geo := map[string]any{"id": "geo", "status": "Enabled", "bucket": container}
			if second, ok := p.part("secondaryLocation").Text("secondaryLocation"); ok {
				geo["region"] = azureRegion(second)
			}
			copies = append(copies, geo)
		}
		a.set("replication", copies, p.In("sku").At("name"))
		a.call("replication", Answered, "by the account's redundancy; object replication policies are not part of it")
	}
	encryption := p.part("encryption").In("encryption")
	if source, ok := encryption.Text("keySource"); ok {
		v := map[string]any{"algorithm": "platform"}
		if strings.EqualFold(source, "Microsoft.Keyvault") {
			v["algorithm"] = "customer"
			vault := encryption.In("keyVaultProperties")
			if !vault.Has("keyVaultUri") {
				vault = encryption.In("keyvaultproperties")
			}
			uri, _ := vault.Text("keyVaultUri")
			if uri == "" {
				uri, _ = vault.Text("keyvaulturi")
			}
			key, _ := vault.Text("keyName")
			if key == "" {
				key, _ = vault.Text("keyname")
			}
			if uri != "" && key != "" {
				v["key"] = strings.TrimSuffix(uri, "/") + "/keys/" + key
			}
		}
		a.set("encryption", v, encryption.At("keySource"))
		a.call("encryption", Answered, "")
	}
	for _, key := range []string{"supportsHttpsTrafficOnly", "enableHttpsTrafficOnly"} {
		if only, ok := p.part(key).Bool(key); ok {
			a.set("tlsOnly", only, p.part(key).At(key))
		}
	}
	if allowed, ok := p.part("allowBlobPublicAccess").Bool("allowBlobPublicAccess"); ok {
		a.set("publicAccess", map[string]any{"prevented": !allowed}, p.part("allowBlobPublicAccess").At("allowBlobPublicAccess"))
		a.call("publicAccess", Answered, "")
	}
	if versions := p.part("immutableStorageWithVersioning").In("immutableStorageWithVersioning"); versions.Has("enabled") {
		a.azureLock(azurePart{versions.In("immutabilityPolicy"), p.document}, "version")
	}
	if a.labels = p.Labels("tags"); a.labels != nil {
		a.call("tagging", Answered, "")
	}
}

// azureRegion is a region's id; the API writes display names too.
func azureRegion(location string) string {
	return strings.ToLower(strings.ReplaceAll(location, " ", ""))
}

// azureLock reads an immutability policy; one without a period, or with a period of no time, is none.
func (a *artifact) azureLock(p azurePart, level string) {
	const period = "immutabilityPeriodSinceCreationInDays"
	days, _ := p.part(period).Int(period)
	v := map[string]any{"enabled": days > 0, "level": level}
	if days > 0 {
		state, _ := p.part("state").Text("state")
		locked := strings.EqualFold(state, "Locked")
		v["days"], v["locked"], v["mode"] = days, locked, lockMode(locked)
		a.document = p.document
		a.mark("objectLock.locked", p.part("state").At("state"))
	}
	a.set("objectLock", v, p.At())
	a.call("objectLock", Answered, "")
}

func (a *artifact) azureContainer(c *azureContainer) {
	if p := c.container; p.there() && (c.holding.there() || p.part("hasImmutabilityPolicy").Has("hasImmutabilityPolicy")) {
		a.document = p.document
		level := "container"
		if on, _ := p.part("immutableStorageWithVersioning").In("immutableStorageWithVersioning").Bool("enabled"); on {
			level = "version"
		}
		has, _ := p.part("hasImmutabilityPolicy").Bool("hasImmutabilityPolicy")
		policy := azurePart{p.part("immutabilityPolicy").In("immutabilityPolicy"), p.document}
		switch {
		case c.holding.there():
			a.azureLock(c.holding, level)
		case !has, policy.part("immutabilityPeriodSinceCreationInDays").Has("immutabilityPeriodSinceCreationInDays"):
			if _, inherited := a.fields["objectLock"]; has || !inherited {
				a.azureLock(policy, level)
			}
		default:
			a.call("objectLock", Failed, "the container has an immutability policy that the export does not show (add az storage container immutability-policy show)")
			delete(a.fields, "objectLock")
		}
	} else if c.holding.there() {
		a.azureLock(c.holding, "container")
	}
	if access, ok := c.container.part("publicAccess").Text("publicAccess"); ok {
		a.document = c.container.document
		a.set("aclPublic", !strings.EqualFold(access, "None"), c.container.part("publicAccess").At("publicAccess"))
		a.call("acl", Answered, "")
	}
}
