package region

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleTable_Within() {
	t := Builtin()
	for _, region := range []string{"eu-central-1", "eu-west-2"} {
		p, err := t.Locate("velero.io/aws", region)
		if err != nil {
			fmt.Println(err)
			return
		}
		inside, err := t.Within(p, []string{"eu"})
		fmt.Println(region, p.Countries, inside, err)
	}
	// Output:
	// eu-central-1 [DE] true <nil>
	// eu-west-2 [GB] false <nil>
}

func TestLocate(t *testing.T) {
	for _, c := range []struct{ provider, name, want string }{ // want: provider region countries|areas
		{"aws", "eu-central-1", "aws eu-central-1 DE"},
		{"", "eu-central-1", "aws eu-central-1 DE"},
		{"velero.io/aws", "EU-Central-1", "aws eu-central-1 DE"},
		{"ebs.csi.aws.com", "eu-central-1a", "aws eu-central-1 DE"},
		{"aws", "us-east-1f", "aws us-east-1 US"}, {"aws", "ap-northeast-1d", "aws ap-northeast-1 JP"}, {"aws", "apne1-az4", "aws ap-northeast-1 JP"},
		{"aws", "eu-west-2", "aws eu-west-2 GB"},
		{"aws", "eu-central-2", "aws eu-central-2 CH"},
		{"aws", "eu-north-1", "aws eu-north-1 SE"},
		{"aws", "il-central-1", "aws il-central-1 IL"},
		{"aws", "eusc-de-east-1", "aws eusc-de-east-1 DE"},
		{"aws", "eusc-de-east-1a", "aws eusc-de-east-1 DE"},
		{"aws", "us-gov-west-1b", "aws us-gov-west-1 US"},
		{"aws", "cn-northwest-1", "aws cn-northwest-1 CN"},
		{"aws", "EU", "aws eu-west-1 IE"},
		{"aws", "euc1-az1", "aws eu-central-1 DE"},
		{"aws", "us-west-2-lax-1a", "aws us-west-2 US"},
		{"aws", "us-east-1-bue-1a", "aws us-east-1 AR,US"},
		{"aws", "eu-north-1-cph-1a", "aws eu-north-1 DK,SE"},
		{"aws", "eu-central-1-ham-1", "aws eu-central-1 DE"},
		{"aws", "use1-qro1-az1", "aws us-east-1 MX,US"},
		{"aws", "us-east-1-wl1-bos-wlz-1", "aws us-east-1 US"},
		{"aws", "eu-west-3-wl1-cmn-wlz-1", "aws eu-west-3 FR,MA"},
		{"aws", "use1-wl1-bos-wlz1", "aws us-east-1 US"},
		{"aws", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd", "aws eu-central-1 DE"},
		{"", "arn:aws-cn:kms:cn-north-1:111122223333:alias/x", "aws cn-north-1 CN"},
		{"", "arn:aws-us-gov:s3:us-gov-east-1:1:accesspoint/x", "aws us-gov-east-1 US"},
		{"", "arn:aws-eusc:kms:eusc-de-east-1:1:key/a:b", "aws eusc-de-east-1 DE"},
		{"gcp", "europe-west3", "gcp europe-west3 DE"},
		{"pd.csi.storage.gke.io", "europe-west3-b", "gcp europe-west3 DE"},
		{"gcp", "EUROPE-WEST2", "gcp europe-west2 GB"},
		{"gcp", "EU", "gcp eu eu"},
		{"gcp", "us", "gcp us US"},
		{"gcp", "ASIA", "gcp asia asia"},
		{"gcp", "EUR4", "gcp eur4 FI,NL"},
		{"gcp", "eur5", "gcp eur5 BE,GB"},
		{"gcp", "NAM4", "gcp nam4 US"},
		{"gcp", "ASIA1", "gcp asia1 JP"},
		{"gcp", "projects/p/locations/europe-west6/keyRings/r/cryptoKeys/k", "gcp europe-west6 CH"},
		{"", "projects/p/locations/us/keyRings/r", "gcp us US"},
		{"", "projects/p/zones/europe-west1-b/disks/d", "gcp europe-west1 BE"},
		{"", "//compute.googleapis.com/projects/p/regions/us-east1/disks/d", "gcp us-east1 US"},
		{"azure", "westeurope", "azure westeurope NL"},
		{"", "West Europe", "azure westeurope NL"},
		{"disk.csi.azure.com", "westeurope-1", "azure westeurope NL"},
		{"azure", "chinanorth3", "azure chinanorth3 CN"},
		{"azure", "USGov Virginia", "azure usgovvirginia US"},
		{"ovh", "gra", "ovh gra FR"},
		{"ovh", "UK", "ovh uk GB"},
		{"scaleway", "nl-ams-1", "scaleway nl-ams NL"},
	} {
		p, err := Builtin().Locate(c.provider, c.name)
		got := fmt.Sprint(p.Provider, " ", p.Region, " ", strings.Join(append(p.Countries, p.Areas...), ","))
		if err != nil || got != c.want {
			t.Errorf("Locate(%q, %q) = %s, %v, want %s", c.provider, c.name, got, err, c.want)
		}
	}
}

func TestLocateErrors(t *testing.T) {
	for _, c := range []struct{ provider, name, want string }{
		{"aws", "xx-north-9", `locate "xx-north-9": not a region Proviso knows; declare it under regions: in proviso.yaml`},
		{"aws", "", "state the region"},
		{"aws", "minio", "not a region"},
		{"aws", "eu-central-1-xyz-1a", "not a region"}, // a city nobody told us of
		{"aws", "eu-central-11", "not a region"},
		{"aws", "eu-central-1aa", "not a region"},
		{"aws", "eu-central-1d", "not a region"}, // no zone of it
		{"aws", "us-east-1g", "not a region"}, {"aws", "af-south-1x", "not a region"},
		{"aws", "euc1-az4", "not a region"}, {"aws", "euc1-az0", "not a region"}, {"aws", "use1-az10", "not a region"},
		{"aws", "us-west-2-lax-1z", "not a region"},
		{"aws", "euc1-az", "not a region"},
		{"aws", " eu-central-1", "not a region"},
		{"aws", "eu-central-1\n", "not plain ASCII"},
		{"aws", "еu-central-1", "not plain ASCII"}, // a Cyrillic letter
		{"aws", strings.Repeat("a", 5000), "too long"},
		{"aws", "europe-west3", "not a region"},
		{"gcp", "eu-central-1", "not a region"},
		{"gcp", "global", "may be anywhere"},
		{"gcp", "europe-west3-z", "not a region"},
		{"azure", "westeurope-4", "not a region"},
		{"", "EU", "ambiguous"},
		{"openstack", "gra", "not one Proviso knows"},
		{"aws", "arn:aws:kms:eu-central-1", "not a whole ARN"},
		{"aws", "arn:aws:s3:::bucket", "names no region"},
		{"aws", "arn:aws-cn:kms:eu-central-1:1:key/a", "is in partition aws"},
		{"aws", "arn:aws:kms:mars-1:1:key/a", "not a region"},
		{"aws", "arn:aws:kms:eu-central-1:1:key/mrk-1234", "multi-Region key"},
		{"gcp", "arn:aws:kms:eu-central-1:1:key/a", "a name of aws, not of gcp"},
		{"gcp", "projects/p/locations/global/keyRings/r", "may be anywhere"},
		{"gcp", "projects/p/locations/europe/keyRings/r", "not a region"}, // Google states no countries for it
		{"gcp", "projects/p/locations/us", "not a region"},
		{"gcp", "projects/p/global/snapshots/s", "names no location"},
		{"gcp", "projects//locations/us-east1/x", "names no location"},
		{"gcp", "projects/p/zones/us-east1/x", "not a region"},
		{"", "//evil.com/projects/p/locations/us-east1/x", "not a Google resource"},
		{"azure", "/subscriptions/s/resourceGroups/westeurope/providers/Microsoft.Compute/diskEncryptionSets/d", "names no location"},
		{"azure", "https://acme.vault.azure.net/keys/k/1", "tells no region"},
		{"azure", "acme.blob.core.windows.net", "tells no region"},
	} {
		p, err := Builtin().Locate(c.provider, c.name)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Locate(%q, %.60q) = %+v, %v, want an error with %q", c.provider, c.name, p, err, c.want)
		}
	}
}

func TestLocateBucket(t *testing.T) {
	for _, c := range []struct{ provider, location, want string }{
		{"aws", "", "us-east-1"}, {"velero.io/aws", "EU", "eu-west-1"}, {"aws", "eu-south-2", "eu-south-2"},
		{"gcp", "EU", "eu"}, {"gcp", "EUROPE-WEST3", "europe-west3"}, {"azure", "northeurope", "northeurope"},
		{"gcp", "", "!"}, {"azure", "", "!"}, {"", "", "!"}, {"", "EU", "!"}, {"nobody", "", "!"},
	} {
		p, err := Builtin().LocateBucket(c.provider, c.location)
		if (err != nil) != (c.want == "!") || err == nil && p.Region != c.want {
			t.Errorf("LocateBucket(%q, %q) = %+v, %v, want %s", c.provider, c.location, p, err, c.want)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		provider, name, sets string
		want                 bool
	}{
		{"aws", "eu-central-1", "eu", true}, {"aws", "eu-central-1", "DE", true}, {"aws", "eu-central-1", "fr", false},
		{"aws", "eu-west-2", "eu eea", false}, {"aws", "eu-west-2", "eu gb", true}, {"aws", "eu-west-2", "gdpr-adequate", true},
		{"aws", "eu-central-2", "eu", false}, {"azure", "norwayeast", "eu", false}, {"azure", "norwayeast", "eea", true},
		{"aws", "us-east-1", "gdpr-adequate", false}, {"aws", "us-east-1", "us", true},
		{"aws", "eu-north-1-cph-1a", "eu", true}, {"aws", "eu-north-1-cph-1a", "se", false},
		{"aws", "ap-east-1", "cn", false}, {"aws", "cn-north-1", "cn", true},
		{"gcp", "EU", "eu", true}, {"gcp", "EU", "eea", true}, {"gcp", "EU", "de fr", false}, {"gcp", "EU", "gdpr-adequate", false},
		{"gcp", "EUR5", "eu", false}, {"gcp", "EUR5", "eu gb", true}, {"gcp", "ASIA", "jp sg tw", false}, {"gcp", "US", "us", true},
		{"azure", "acme.blob.core.chinacloudapi.cn", "cn", true},
	} {
		p, err := Builtin().Locate(c.provider, c.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := Builtin().Within(p, strings.Fields(c.sets)); err != nil || got != c.want {
			t.Errorf("%s within %s: %v, %v, want %v", c.name, c.sets, got, err, c.want)
		}
	}
	p, _ := Builtin().Locate("aws", "eu-central-1")
	for name, want := range map[string]string{"uk": `did you mean "gb"`, "gdpr-adequat": `did you mean "gdpr-adequate"`, "atlantis": "define it under sets:", "": "not a set"} {
		if _, err := Builtin().Within(p, []string{"eu", name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("set %q: %v, want %q", name, err, want)
		}
	}
	if _, err := Builtin().Within(p, nil); err == nil {
		t.Error("no sets hold a place")
	}
	if _, err := Builtin().Within(Place{}, []string{"eu"}); err == nil {
		t.Error("nowhere is in the EU")
	}
}

func TestNew(t *testing.T) {
	table, err := New([]Custom{
		{Region: "dc1", Country: "de", Jurisdictions: []string{"eu", "acme"}, Hosts: []string{"minio.acme.example:9000", "10.0.0.7"}},
		{Provider: "velero.io/aws", Region: "xx-north-9", Country: "SE"},
		{Provider: "ceph", Region: "Halle", Country: "DE"},
	}, map[string][]string{"nordic": {"SE", "dk", "FI", "no"}, "Home": {"acme", "nordic", "aws/eu-west-2", "ovh/uk"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		provider, name, sets, want string
	}{
		{"velero.io/aws", "DC1", "eu", "true"}, {"", "dc1", "acme", "true"}, {"gcp", "dc1", "home", "true"}, {"aws", "dc1", "fr", "false"},
		{"aws", "https://MinIO.acme.example:9000/bucket", "acme", "true"}, {"aws", "minio.acme.example:9001", "acme", "not a host"},
		{"aws", "minio.acme.example", "acme", "not a host"}, {"gcp", "http://10.0.0.7:1234", "eu", "true"}, {"aws", "xminio.acme.example:9000", "eu", "not a host"},
		{"aws", "xx-north-9", "nordic", "true"}, {"gcp", "xx-north-9", "nordic", "not a region"}, {"ceph", "halle", "eu", "true"},
		{"aws", "eu-west-2", "home", "true"}, {"aws", "eu-west-1", "home", "false"}, {"azure", "uksouth", "home", "false"}, {"ovh", "uk", "home", "true"},
	} {
		p, err := table.Locate(c.provider, c.name)
		got := fmt.Sprint(err)
		if err == nil {
			var in bool
			in, err = table.Within(p, []string{c.sets})
			if got = fmt.Sprint(in); err != nil {
				got = err.Error()
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %s in %s: %s, want %s", c.provider, c.name, c.sets, got, c.want)
		}
	}
	if !slices.Contains(table.Sets(), "nordic") || slices.Contains(Builtin().Sets(), "nordic") || slices.Contains(Builtin().Sets(), "acme") {
		t.Error("sets leak or are missing")
	}
	if _, err := Builtin().Locate("aws", "dc1"); err == nil {
		t.Error("a custom region leaked into the built-in table")
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		custom Custom
		sets   map[string][]string
		want   string
	}{
		{Custom{Provider: "aws", Region: "eu-west-2", Country: "IE"}, nil, "it is known already"},
		{Custom{Region: "EU-West-2", Country: "IE"}, nil, "it is known already"},
		{Custom{Provider: "gcp", Region: "eu", Country: "DE"}, nil, "it is known already"},
		{Custom{Region: "dc1", Country: "UK"}, nil, `did you mean "gb"`},
		{Custom{Region: "dc1", Country: "EU"}, nil, "not an ISO 3166-1 code"},
		{Custom{Region: "dc1"}, nil, "not an ISO 3166-1 code"},
		{Custom{Region: "", Country: "DE"}, nil, "not a name"},
		{Custom{Region: "dc 1", Country: "DE"}, nil, "not a name"},
		{Custom{Region: "dc1", Country: "GB", Jurisdictions: []string{"EU"}}, nil, "does not hold GB"},
		{Custom{Region: "dc1", Country: "DE", Hosts: []string{"s3.eu-west-1.amazonaws.com"}}, nil, "belongs to a cloud"},
		{Custom{Region: "dc1", Country: "DE", Hosts: []string{"s3.amazonaws.com"}}, nil, "belongs to a cloud"},
		{Custom{Region: "dc1", Country: "DE", Hosts: []string{"a.example", "A.example."}}, nil, "declared twice"},
		{Custom{Region: "dc1", Country: "DE", Hosts: []string{"u@a.example"}}, nil, "not a plain endpoint"},
		{Custom{}, map[string][]string{"eu": {"GB"}}, "Proviso defines it already"},
		{Custom{}, map[string][]string{"DE": {"FR"}}, "Proviso defines it already"},
		{Custom{}, map[string][]string{"a": {"b"}, "b": {"a"}}, "break the circle"},
		{Custom{}, map[string][]string{"a": {"uk"}}, `did you mean "gb"`},
		{Custom{}, map[string][]string{"a": {"ovh/xx"}}, "not a region"},
		{Custom{}, map[string][]string{"a": {}}, "empty"},
		{Custom{}, map[string][]string{"a b": {"DE"}}, "not a name"},
		{Custom{}, map[string][]string{"a": {"DE"}, "A": {"FR"}}, "defined twice"},
	} {
		var custom []Custom
		if c.sets == nil {
			custom = []Custom{c.custom}
		}
		if _, err := New(custom, c.sets); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%+v, %v): %v, want %q", c.custom, c.sets, err, c.want)
		}
	}
}

func TestData(t *testing.T) { // every country is a country, every region answers for itself
	b := Builtin()
	n := 0
	for provider, rows := range b.regions {
		for name, want := range rows {
			n++
			got, err := b.Locate(provider, name)
			if err != nil || got.Region != name || got.Partition != want.Partition {
				t.Errorf("Locate(%q, %q) = %+v, %v", provider, name, got, err)
			}
			if in, err := b.Within(got, got.Countries); !in || err != nil {
				t.Errorf("%s is not in its own countries: %v", name, err)
			}
		}
	}
	for _, places := range []map[string]Place{gcpBuckets, gcpKeys} {
		for name, p := range places {
			for _, c := range p.Countries {
				if b.sets[strings.ToLower(c)] == nil {
					t.Errorf("%s: no country %s", name, c)
				}
			}
		}
	}
	for code, c := range awsCities {
		if b.sets[strings.ToLower(c)] == nil {
			t.Errorf("%s: no country %s", code, c)
		}
	}
	if codes := strings.Fields(countryCodes); len(codes) != 249 || !slices.IsSorted(codes) {
		t.Errorf("%d country codes, want 249 in order", len(codes))
	}
	if len(b.sets["eu"].countries) != 27 || len(b.sets["eea"].countries) != 30 {
		t.Error("eu or eea is miscounted")
	}
	if n < 150 {
		t.Errorf("only %d regions", n)
	}
}

// Adding sets never takes a place out; a place is in the union of the sets of its own countries.
func TestWithinGrows(t *testing.T) {
	b := Builtin()
	var all []Place
	for _, rows := range b.regions {
		for _, p := range rows {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(x, y Place) int { return strings.Compare(x.Provider+x.Region, y.Provider+y.Region) })
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom(all).Draw(t, "place")
		sets := rapid.SliceOfN(rapid.SampledFrom(b.Sets()), 1, 5).Draw(t, "sets")
		small, _ := b.Within(p, sets[:1])
		big, _ := b.Within(p, sets)
		if small && !big {
			t.Fatalf("%+v is in %v and not in %v", p, sets[:1], sets)
		}
	})
}

func FuzzLocate(f *testing.F) {
	for _, s := range []string{"eu-central-1a", "use1-qro1-az1", "arn:aws:kms:eu-central-1:1:key/a", "projects/p/zones/us-east1-b/x", "https://b.s3.dualstack.eu-west-1.amazonaws.com:443/x", "s3-", "-", "a-b-c-d-e-f-g", "[::1]:9000", "//", "EU", "s3.vpce.amazonaws.com"} {
		f.Add("aws", s)
		f.Add("", s)
	}
	f.Fuzz(func(t *testing.T, provider, s string) {
		for _, locate := range []func(string, string) (Place, error){Builtin().Locate, Builtin().LocateBucket} {
			p, err := locate(provider, s)
			if err != nil {
				if strings.ContainsAny(err.Error(), "\n\r\x00") {
					t.Fatalf("%q is more than a line", err)
				}
				continue
			}
			if len(p.Countries)+len(p.Areas) == 0 || p.Partition == "" || p.Provider == "" {
				t.Fatalf("%q %q: %+v", provider, s, p)
			}
			if _, err := Builtin().Within(p, []string{"eu"}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkLocate(b *testing.B) {
	for _, s := range []string{"eu-central-1", "eu-central-1a", "https://bucket.s3.eu-central-1.amazonaws.com", "arn:aws:kms:eu-central-1:1:key/a"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = Builtin().Locate("aws", s)
			}
		})
	}
}
