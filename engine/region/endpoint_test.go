package region

import (
	"strings"
	"testing"
)

func TestEndpoints(t *testing.T) {
	for s, want := range map[string]string{
		"s3.eu-central-1.amazonaws.com":                             "eu-central-1",
		"https://s3.eu-central-1.amazonaws.com":                     "eu-central-1",
		"HTTPS://S3.EU-Central-1.AmazonAWS.com:443/bucket/key?x=y":  "eu-central-1",
		"s3.eu-central-1.amazonaws.com.":                            "eu-central-1",
		"s3.dualstack.eu-west-1.amazonaws.com":                      "eu-west-1",
		"s3-fips.us-east-1.amazonaws.com":                           "us-east-1",
		"s3-fips.dualstack.us-gov-west-1.amazonaws.com":             "us-gov-west-1",
		"s3-eu-west-1.amazonaws.com":                                "eu-west-1",
		"bucket.s3-website-eu-west-1.amazonaws.com":                 "eu-west-1",
		"bucket.s3-website.eu-central-1.amazonaws.com":              "eu-central-1",
		"my.dotted.bucket.s3.eu-north-1.amazonaws.com":              "eu-north-1",
		"eu-central-1.s3.us-east-1.amazonaws.com":                   "us-east-1", // a bucket may bear a region's name
		"bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com": "us-east-1",
		"ap-111122223333.s3-accesspoint.eu-west-3.amazonaws.com":    "eu-west-3",
		"s3.cn-north-1.amazonaws.com.cn":                            "cn-north-1",
		"s3.eusc-de-east-1.amazonaws.eu":                            "eusc-de-east-1",
		"s3-external-1.amazonaws.com":                               "us-east-1",
		"kms.eu-west-2.amazonaws.com":                               "eu-west-2",
		"storage.europe-west3.rep.googleapis.com":                   "europe-west3",
		"storage.us-east5.p.rep.googleapis.com":                     "us-east5",
		"https://s3.gra.io.cloud.ovh.net":                           "gra",
		"s3.gra.perf.cloud.ovh.net":                                 "gra",
		"s3.de.cloud.ovh.net":                                       "de",
		"bucket.s3.uk.io.cloud.ovh.net":                             "uk",
		"s3.us-east-va.io.cloud.ovh.us":                             "us-east-va",
		"s3.fr-par.scw.cloud":                                       "fr-par",
		"https://bucket.s3.nl-ams.scw.cloud/":                       "nl-ams",
	} {
		if p, err := Builtin().Locate("velero.io/aws", s); err != nil || p.Region != want {
			t.Errorf("Locate(%q) = %+v, %v, want %s", s, p, err, want)
		}
	}
	for s, partition := range map[string]string{"https://acme.blob.core.chinacloudapi.cn/": "azure-china", "acme.blob.core.usgovcloudapi.net": "azure-us-gov", "acme.vault.usgovcloudapi.net": "azure-us-gov"} {
		if p, err := Builtin().Locate("azure", s); err != nil || p.Partition != partition || p.Region != "" || len(p.Countries) != 1 {
			t.Errorf("Locate(%q) = %+v, %v, want %s", s, p, err, partition)
		}
	}
}

// Nothing here may be taken for the place it resembles.
func TestHostileEndpoints(t *testing.T) {
	for _, s := range []string{
		"s3.eu-central-1.amazonaws.com.evil.com",
		"s3.eu-central-1.amazonaws.com-evil.com",
		"s3.eu-central-1.amazonaws.com.evil.com.",
		"s3.eu-central-1.evilamazonaws.com",
		"evil-amazonaws.com",
		"evil.com/s3.eu-central-1.amazonaws.com",
		"https://evil.com/s3.eu-central-1.amazonaws.com",
		"https://evil.com?s3.eu-central-1.amazonaws.com",
		"https://evil.com#.s3.eu-central-1.amazonaws.com",
		"evil.com#s3.eu-central-1.amazonaws.com",
		"eu-central-1.s3.amazonaws.com@evil.com",
		"https://s3.eu-central-1.amazonaws.com@evil.com",
		"https://s3.eu-central-1.amazonaws.com:443@evil.com",
		"https://user@s3.eu-central-1.amazonaws.com",
		"https://evil.com\\@s3.eu-central-1.amazonaws.com",
		"https://evil.com\\.s3.eu-central-1.amazonaws.com",
		"https://evil.com%2f.s3.eu-central-1.amazonaws.com",
		"s3.eu-central-1.amazonaws.com:443@evil.com",
		"s3.eu-central-1.amazonaws.com:evil",
		"s3.eu-central-1.amazonaws.com..",
		"s3..eu-central-1.amazonaws.com",
		".s3.eu-central-1.amazonaws.com",
		"s3.eu-central-1.amazonaws。com",
		"s3.еu-central-1.amazonaws.com",
		"s3.xn--u-central-1-abc.amazonaws.com",
		"xn--s3-eu-central-1.amazonaws.com",
		"s3.eu-central-1\x00.amazonaws.com",
		"s3.eu-central-1.amazonaws.com\nevil.com",
		" s3.eu-central-1.amazonaws.com",
		"s3.eu-central-1.amazonaws.com.cn",
		"s3.cn-north-1.amazonaws.com",
		"s3.eusc-de-east-1.amazonaws.com",
		"s3.eu-central-1.amazonaws.eu",
		"eu-central-1.amazonaws.com",
		"eu-central-1.s3.amazonaws.com",
		"bucket.s3.amazonaws.com",
		"s3.amazonaws.com",
		"amazonaws.com",
		"vpce.amazonaws.com",
		"s3.dualstack.amazonaws.com",
		"s3.eu-central-1.dualstack.amazonaws.com",
		"bucket.s3-accelerate.amazonaws.com",
		"evil.eu-central-1.amazonaws.com",
		"abc.execute-api.eu-central-1.amazonaws.com", // anybody's server
		"s3.eu-central-1.elb.amazonaws.com",
		"s3.eu-central-1a.amazonaws.com",
		"s3-eu-central-1a.amazonaws.com",
		"s3.mars-1.amazonaws.com",
		"ftp://s3.eu-central-1.amazonaws.com",
		"javascript:s3.eu-central-1.amazonaws.com",
		"https:s3.eu-central-1.amazonaws.com",
		"https:///s3.eu-central-1.amazonaws.com",
		"s3://eu-central-1",
		"storage.googleapis.com",
		"bucket.storage.googleapis.com",
		"europe-west3.rep.googleapis.com",
		"storage.europe-west3.rep.googleapis.com.evil.com",
		"storage.europe-west3.googleapis.com",
		"storage.eu.rep.googleapis.com",
		"s3.gra.io.cloud.ovh.net.evil.com",
		"gra.io.cloud.ovh.net",
		"s3.gra.cloud.ovh.com",
		"s3.fr-par.scw.cloud.evil.com",
		"fr-par.scw.cloud",
		"s3.fr-par-1.scw.cloud",
		"https://fr-par.s3.evil.scw.cloud",
		"westeurope.blob.core.windows.net",
		"blob.core.chinacloudapi.cn.evil.com",
		"127.0.0.1", "[::1]:9000", "localhost:9000", "https://", "://", ":", "/", ".", "..", "https://:443",
	} {
		if p, err := Builtin().Locate("", s); err == nil || !strings.HasPrefix(err.Error(), "locate ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Locate(%q) = %+v, %v, want an error", s, p, err)
		}
	}
}

func TestHostAndProvider(t *testing.T) {
	for _, c := range []struct {
		provider string
		ok       bool
	}{{"", true}, {"velero.io/aws", true}, {"ovh", true}, {"gcp", false}, {"azure", false}, {"scaleway", false}} {
		if p, err := Builtin().Locate(c.provider, "https://s3.gra.io.cloud.ovh.net"); (err == nil) != c.ok {
			t.Errorf("%q: %+v, %v", c.provider, p, err)
		}
	}
}
