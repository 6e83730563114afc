package region

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const maxName = 2048 // bytes of a name

// declare is the way out of an unknown region.
const declare = "not a region Proviso knows; declare it under regions: in proviso.yaml"

// providers maps what Kubernetes objects call a cloud to its short name.
var providers = map[string]string{
	"": "", aws: aws, "velero.io/aws": aws, "amazon": aws, "s3": aws, "ebs.csi.aws.com": aws, "efs.csi.aws.com": aws,
	"kubernetes.io/aws-ebs": aws, gcp: gcp, "velero.io/gcp": gcp, "google": gcp, "gcs": gcp, "pd.csi.storage.gke.io": gcp,
	"filestore.csi.storage.gke.io": gcp, "kubernetes.io/gce-pd": gcp, azure: azure, "velero.io/azure": azure, "microsoft": azure,
	"disk.csi.azure.com": azure, "file.csi.azure.com": azure, "blob.csi.azure.com": azure, "kubernetes.io/azure-disk": azure,
	"kubernetes.io/azure-file": azure, ovh: ovh, "ovhcloud": ovh, scaleway: scaleway, "scw": scaleway,
	"csi.scaleway.com": scaleway,
}

func normalise(provider string) (string, error) {
	if short, ok := providers[strings.ToLower(provider)]; ok {
		return short, nil
	}
	return "", fmt.Errorf("provider %q is not one Proviso knows (aws, gcp, azure, ovh, scaleway); declare its regions under regions: in proviso.yaml", clip(provider))
}

// Locate says where a named thing lies. The name may be a region or its display name, a zone or AWS zone id, an ARN of any
// partition, a Google resource name, a bucket location that stands for itself ("EU"), or the host or URL of a storage
// endpoint. The provider may be empty, short (aws) or as objects write it (velero.io/aws, ebs.csi.aws.com); since
// S3-compatible stores all call themselves aws, a host decides for itself there.
//
// Names that prove no place are errors: global endpoints and locations, Azure resource ids and key vaults, multi-Region
// keys, anything unknown. So is a region name that two clouds share when the provider is empty. Note that a region name
// proves nothing beside an endpoint that points elsewhere: locate the endpoint when there is one.
func (t *Table) Locate(provider, s string) (Place, error) {
	p, err := t.locate(provider, s)
	if err != nil {
		if near := t.nearest(provider, s); near != "" && err.Error() == declare {
			err = fmt.Errorf("not a region Proviso knows (did you mean %s?); if it is one, declare it under regions: in proviso.yaml", near)
		}
		return Place{}, fmt.Errorf("locate %q: %w", clip(s), err)
	}
	return p.clone(), nil
}

// nearest is the region one or two letters off, the first by name of several as near, or "".
func (t *Table) nearest(provider, s string) string {
	if len(s) > 64 || len(s) < 6 {
		return ""
	}
	short := providers[strings.ToLower(provider)]
	best, most := "", 3
	for p, rows := range t.regions {
		if short != "" && p != short {
			continue
		}
		for name := range rows {
			if d := distance(strings.ToLower(s), name); d < most || d == most && best != "" && name < best {
				best, most = name, d
			}
		}
	}
	return best
}

// LocateBucket says where a bucket lies by the location its store reports: S3's LocationConstraint, in which nothing
// (empty) is us-east-1 and EU is eu-west-1, a Cloud Storage location or the location of an Azure storage account.
func (t *Table) LocateBucket(provider, constraint string) (Place, error) {
	short, err := t.normalise(provider)
	if err == nil {
		switch {
		case short == "":
			err = errors.New("a bucket location means nothing without its provider; name it")
		case short == aws && constraint == "":
			return t.Locate(aws, "us-east-1")
		}
	}
	if err != nil {
		return Place{}, fmt.Errorf("locate bucket %q: %w", clip(constraint), err)
	}
	return t.Locate(short, constraint)
}

// normalise knows custom providers as well.
func (t *Table) normalise(provider string) (string, error) {
	short, err := normalise(provider)
	if lower := strings.ToLower(provider); err != nil && t.regions[lower] != nil {
		return lower, nil
	}
	return short, err
}

func (t *Table) locate(provider, s string) (Place, error) {
	provider, err := t.normalise(provider)
	if err != nil {
		return Place{}, err
	}
	switch {
	case s == "":
		return Place{}, errors.New("nothing named; state the region")
	case len(s) > maxName:
		return Place{}, errors.New("too long for a name")
	}
	for _, r := range s {
		if r < ' ' || r > '~' {
			return Place{}, errors.New("not plain ASCII; write the name as the provider does")
		}
	}
	lower := strings.ToLower(s)
	// A custom region is found by its whole name, whatever it looks like.
	for _, p := range []string{provider, ""} {
		if place, ok := t.regions[p][lower]; ok && place.Custom {
			return place, nil
		}
	}
	var p Place
	switch {
	case strings.HasPrefix(lower, "arn:"):
		p, err = t.arn(lower)
	case strings.HasPrefix(lower, "projects/") || strings.HasPrefix(lower, "//"):
		p, err = t.googleResource(lower)
	case strings.HasPrefix(lower, "/subscriptions/"):
		err = errors.New("an Azure resource id names no location; state the location of the resource")
	case strings.ContainsAny(s, ".:/"):
		return t.endpoint(provider, s)
	default:
		return t.name(provider, lower)
	}
	if err == nil && provider != "" && provider != p.Provider {
		err = fmt.Errorf("a name of %s, not of %s; correct the provider", p.Provider, provider)
	}
	if err != nil {
		return Place{}, err
	}
	return p, nil
}

// name finds a region, zone or bucket location, of one provider or of exactly one among all.
func (t *Table) name(provider, lower string) (Place, error) {
	if provider != "" {
		if p, ok := t.nameOf(provider, lower); ok {
			return p, nil
		}
		if lower == "global" {
			return Place{}, errors.New("a global location may be anywhere; choose a region")
		}
		return Place{}, errors.New(declare)
	}
	var found []Place
	for _, one := range slices.Sorted(maps.Keys(t.regions)) {
		if one == "" {
			continue
		}
		if p, ok := t.nameOf(one, lower); ok {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return Place{}, errors.New(declare)
	case 1:
		return found[0], nil
	}
	return Place{}, fmt.Errorf("ambiguous, a name of %s and of %s; state the provider", found[0].Provider, found[1].Provider)
}

func (t *Table) nameOf(provider, lower string) (Place, bool) {
	rows := t.regions[provider]
	if p, ok := rows[lower]; ok {
		return p, true
	}
	labels := strings.Split(lower, "-")
	last := labels[len(labels)-1]
	parent := strings.Join(labels[:len(labels)-1], "-")
	switch provider {
	case aws:
		if lower == "eu" { // the oldest name of a bucket location
			return rows["eu-west-1"], true
		}
		return t.awsZone(labels)
	case gcp:
		if p, ok := gcpBuckets[lower]; ok {
			p.Provider, p.Region, p.Partition = gcp, lower, gcp
			return p, true
		}
		if len(last) == 1 && last[0] >= 'a' && last[0] <= 'f' {
			p, ok := rows[parent]
			return p, ok
		}
	case azure:
		if p, ok := rows[strings.ReplaceAll(lower, " ", "")]; ok { // "West Europe"
			return p, true
		}
		if last == "1" || last == "2" || last == "3" {
			p, ok := rows[parent]
			return p, ok
		}
	case scaleway:
		if last == "1" || last == "2" || last == "3" {
			p, ok := rows[parent]
			return p, ok
		}
	}
	return Place{}, false
}

// awsZone finds an availability, Local or Wavelength Zone by name (eu-central-1a, us-west-2-lax-1a,
// us-east-1-wl1-bos-wlz-1) or id (euc1-az1, usw2-lax1-az1, use1-wl1-bos-wlz1).
func (t *Table) awsZone(labels []string) (Place, bool) {
	if region, ok := t.zones[labels[0]]; ok {
		p, rest := t.regions[aws][region], labels[1:]
		switch {
		case len(rest) == 1 && numbered(rest[0], "az"):
			return p, len(rest[0]) == 3 && hasZone(region, rest[0][2]-'1'+'a')
		case len(rest) == 2 && len(rest[0]) == 4 && digits(rest[0][3:]) && numbered(rest[1], "az"):
			return p.withCity(rest[0][:3])
		case len(rest) == 3 && numbered(rest[0], "wl") && numbered(rest[2], "wlz"):
			return p.withCity(rest[1])
		}
		return Place{}, false
	}
	for _, n := range []int{3, 4} { // labels of the region
		if len(labels) < n {
			break
		}
		name := strings.Join(labels[:n], "-")
		if len(labels) == n {
			end := len(name) - 1
			if p, ok := t.regions[aws][name[:end]]; ok && !p.Custom && hasZone(name[:end], name[end]) {
				return p, true
			}
			continue
		}
		p, ok := t.regions[aws][name]
		if !ok {
			continue
		}
		rest := labels[n:]
		switch {
		case len(rest) == 2 && len(rest[1]) >= 1 && digits(rest[1][:1]) && (len(rest[1]) == 1 || len(rest[1]) == 2 && hasZone(name, rest[1][1])):
			return p.withCity(rest[0])
		case len(rest) == 4 && numbered(rest[0], "wl") && rest[2] == "wlz" && digits(rest[3]):
			return p.withCity(rest[1])
		}
	}
	return Place{}, false
}

// hasZone says whether a region may have a zone of this letter.
func hasZone(region string, letter byte) bool {
	last, ok := awsLastZone[region]
	if !ok {
		last = 'f'
	}
	return letter >= 'a' && letter <= last
}

// withCity adds the country of a Local or Wavelength Zone to that of its region.
func (p Place) withCity(code string) (Place, bool) {
	country, ok := awsCities[code]
	if !ok {
		return Place{}, false
	}
	if !slices.Contains(p.Countries, country) {
		p.Countries = append(slices.Clip(slices.Clone(p.Countries)), country)
		slices.Sort(p.Countries)
	}
	return p, true
}

// numbered says that a label is a word and then digits.
func numbered(label, word string) bool {
	rest, ok := strings.CutPrefix(label, word)
	return ok && digits(rest)
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// arn reads arn:partition:service:region:account:resource.
func (t *Table) arn(lower string) (Place, error) {
	parts := strings.SplitN(lower, ":", 6)
	if len(parts) < 6 || parts[2] == "" || parts[5] == "" {
		return Place{}, errors.New("not a whole ARN; want arn:partition:service:region:account:resource")
	}
	if parts[3] == "" {
		return Place{}, errors.New("this ARN names no region; state the region")
	}
	p, ok := t.regions[aws][parts[3]]
	switch {
	case !ok || p.Custom:
		return Place{}, errors.New(declare)
	case p.Partition != parts[1]:
		return Place{}, fmt.Errorf("region %s is in partition %s, not %q; correct the ARN", p.Region, p.Partition, parts[1])
	case parts[2] == "kms" && strings.HasPrefix(parts[5], "key/mrk-"):
		return Place{}, errors.New("a multi-Region key may have replicas in regions its ARN does not tell; use a single-Region key")
	}
	return p, nil
}

// googleResource reads projects/P/locations/L/…, …/regions/R/… and …/zones/Z/…, alone or after //service.googleapis.com/.
func (t *Table) googleResource(lower string) (Place, error) {
	labels := strings.Split(lower, "/")
	if strings.HasPrefix(lower, "//") {
		host := strings.Split(labels[2], ".")
		if len(host) != 3 || host[1] != "googleapis" || host[2] != "com" {
			return Place{}, errors.New("not a Google resource name; want projects/P/locations/L/…")
		}
		labels = labels[3:]
	}
	if slices.Contains(labels, "") || len(labels) < 4 || labels[0] != "projects" {
		return Place{}, errors.New("names no location; want projects/P/locations/L/…")
	}
	rows, at := t.regions[gcp], labels[3]
	switch labels[2] {
	case "locations":
		if at == "global" {
			return Place{}, errors.New("a global location may be anywhere; choose a region")
		}
		if p, ok := rows[at]; ok {
			return p, nil
		}
		if p, ok := gcpKeys[at]; ok && len(labels) > 4 && labels[4] == "keyrings" {
			p.Provider, p.Region, p.Partition = gcp, at, gcp
			return p, nil
		}
	case "regions":
		if p, ok := rows[at]; ok {
			return p, nil
		}
	case "zones":
		if p, ok := t.nameOf(gcp, at); ok && p.Region != at {
			return p, nil
		}
	default:
		return Place{}, errors.New("names no location; state the region")
	}
	return Place{}, fmt.Errorf("%q is %s", clip(at), declare)
}
