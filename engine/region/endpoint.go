package region

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// endpoint finds the place of an endpoint's host. The host is split into labels and read from the right; nothing is
// compared by its beginning or end, so evil.com never passes for what stands before it.
func (t *Table) endpoint(provider, s string) (Place, error) {
	host, port, err := splitHost(s)
	if err != nil {
		return Place{}, err
	}
	for _, key := range []string{host + ":" + port, host} {
		if p, ok := t.hosts[key]; ok {
			return p, nil
		}
	}
	p, err, found := knownHost(t, host)
	switch {
	case !found:
		return Place{}, errors.New("not a host Proviso knows; declare it under regions: hosts: in proviso.yaml")
	case err != nil:
		return Place{}, err
	case provider != "" && provider != aws && provider != p.Provider: // aws speaks for every S3-compatible store
		return Place{}, errors.New("a host of " + p.Provider + ", not of " + provider + "; correct the provider")
	}
	return p, nil
}

// splitHost takes the host, in lower case without a trailing dot, and the port out of a URL or a bare host.
func splitHost(s string) (host, port string, err error) {
	if strings.ContainsAny(s, "\\%@ \t\"'<>") { // userinfo and escapes hide the true host
		return "", "", errors.New("not a plain endpoint; write scheme, host and port only")
	}
	text := s
	if !strings.Contains(s, "://") {
		text = "https://" + s
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return "", "", errors.New("not an endpoint; write it as https://host:port")
	}
	if u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "s3" {
		return "", "", errors.New("not an http or https endpoint; write it as https://host:port")
	}
	if u.Scheme == "s3" {
		return "", "", errors.New("an s3:// address names a bucket, not where it lies; state the region or the endpoint")
	}
	host, port = strings.ToLower(u.Hostname()), u.Port()
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, nil
	}
	host = strings.TrimSuffix(host, ".") // one dot makes a name absolute; two are an empty label
	if host == "" || len(host) > 253 {
		return "", "", errors.New("not a host name")
	}
	for _, label := range strings.Split(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", "", errors.New("not a host name; labels must not be empty nor begin or end with a dash")
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return "", "", errors.New("not a host name; use letters, digits and dashes")
			}
		}
	}
	return host, port, nil
}

// knownHost reads the host of a built-in cloud. found is false for every other host.
func knownHost(t *Table, host string) (p Place, err error, found bool) {
	labels := strings.Split(host, ".")
	for _, d := range awsDomains {
		if rest, ok := cut(labels, d.suffix); ok {
			p, err = t.awsHost(rest, d.partitions)
			return p, err, true
		}
	}
	for _, d := range azureDomains {
		if _, ok := cut(labels, d.suffix); ok {
			if d.country == "" {
				return Place{}, errors.New("an Azure endpoint tells no region; state the location of its account"), true
			}
			return Place{Provider: azure, Countries: []string{d.country}, Partition: d.partition}, nil, true
		}
	}
	if rest, ok := cut(labels, []string{"googleapis", "com"}); ok {
		p, err = t.googleHost(rest)
		return p, err, true
	}
	for _, d := range [][]string{{"io", "cloud", "ovh", "net"}, {"perf", "cloud", "ovh", "net"}, {"cloud", "ovh", "net"}, {"io", "cloud", "ovh", "us"}, {"perf", "cloud", "ovh", "us"}} {
		if rest, ok := cut(labels, d); ok {
			p, err = t.plainHost(ovh, rest)
			return p, err, true
		}
	}
	if rest, ok := cut(labels, []string{"scw", "cloud"}); ok {
		p, err = t.plainHost(scaleway, rest)
		return p, err, true
	}
	return Place{}, nil, false
}

// cut takes a suffix of labels off, of which something must remain.
func cut(labels, suffix []string) ([]string, bool) {
	n := len(labels) - len(suffix)
	if n < 1 || !slices.Equal(labels[n:], suffix) {
		return nil, false
	}
	return labels[:n], true
}

// plainHost reads [bucket.]s3.region.
func (t *Table) plainHost(provider string, labels []string) (Place, error) {
	n := len(labels)
	if n < 2 || labels[n-2] != "s3" {
		return Place{}, errors.New("not an object storage endpoint Proviso knows; declare it under regions: hosts: in proviso.yaml")
	}
	if p, ok := t.regions[provider][labels[n-1]]; ok && !p.Custom {
		return p, nil
	}
	return Place{}, errors.New(declare)
}

// googleHost reads [bucket.]service.region[.p].rep; every other Google host is global.
func (t *Table) googleHost(labels []string) (Place, error) {
	n := len(labels)
	if n < 3 || labels[n-1] != "rep" {
		return Place{}, errors.New("a global Google endpoint tells no region; state the bucket's location")
	}
	if labels = labels[:n-1]; labels[len(labels)-1] == "p" { // reached through Private Service Connect
		labels = labels[:len(labels)-1]
	}
	n = len(labels)
	if n < 2 || labels[n-2] != "storage" && labels[n-2] != "cloudkms" {
		return Place{}, errors.New("not a regional endpoint Proviso knows; state the bucket's location")
	}
	if p, ok := t.regions[gcp][labels[n-1]]; ok && !p.Custom {
		return p, nil
	}
	return Place{}, errors.New(declare)
}

// s3Services are the first labels of S3 endpoints that a region may follow.
var s3Services = []string{"s3", "s3-fips", "s3-website", "s3-control", "s3-control-fips", "s3-accesspoint", "s3-accesspoint-fips",
	"s3-object-lambda", "s3-object-lambda-fips", "s3-outposts", "s3-outposts-fips", "kms", "kms-fips", "ec2"}

// awsHost reads [bucket.]service[.dualstack].region[.vpce] and the dashed forms s3-region and s3-website-region.
func (t *Table) awsHost(labels, partitions []string) (Place, error) {
	n := len(labels)
	if labels[n-1] == "vpce" {
		labels, n = labels[:n-1], n-1
	}
	if n == 0 {
		return Place{}, errors.New("not an endpoint Proviso knows; state the region")
	}
	last := labels[n-1]
	switch last {
	case "s3", "s3-accelerate", "s3-global", "s3-fips", "accesspoint":
		return Place{}, errors.New("a global S3 endpoint tells no region; state the bucket's region")
	case "dualstack":
		return Place{}, errors.New("this endpoint tells no region; state the bucket's region")
	case "s3-external-1":
		return t.regions[aws]["us-east-1"], nil
	}
	region, service := last, ""
	if p, ok := t.regions[aws][region]; !ok || p.Custom {
		for _, prefix := range []string{"s3-website-", "s3-fips-", "s3-"} {
			if name, ok := strings.CutPrefix(last, prefix); ok {
				region, service = name, strings.TrimSuffix(prefix, "-")
				break
			}
		}
	} else if n > 1 {
		service = labels[n-2]
		if service == "dualstack" && n > 2 {
			service = labels[n-3]
		}
	}
	p, ok := t.regions[aws][region]
	switch {
	case !ok || p.Custom:
		return Place{}, errors.New(declare)
	case !slices.Contains(s3Services, service):
		return Place{}, errors.New("not an endpoint Proviso knows; state the region")
	case !slices.Contains(partitions, p.Partition):
		return Place{}, errors.New("region " + region + " is not in the partition of this host; correct the endpoint")
	}
	return p, nil
}
