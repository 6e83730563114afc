package region

// gcpRegions were compared with a public list of 2026; newer regions are unknown until they are added.
var gcpRegions = []row{
	{"africa-south1", "ZA"},
	{"asia-east1", "TW"}, {"asia-east2", "HK"},
	{"asia-northeast1", "JP"}, {"asia-northeast2", "JP"}, {"asia-northeast3", "KR"},
	{"asia-south1", "IN"}, {"asia-south2", "IN"},
	{"asia-southeast1", "SG"}, {"asia-southeast2", "ID"},
	{"australia-southeast1", "AU"}, {"australia-southeast2", "AU"},
	{"europe-central2", "PL"}, {"europe-north1", "FI"}, {"europe-north2", "SE"}, {"europe-southwest1", "ES"},
	{"europe-west1", "BE"}, {"europe-west2", "GB"}, {"europe-west3", "DE"}, {"europe-west4", "NL"}, {"europe-west6", "CH"},
	{"europe-west8", "IT"}, {"europe-west9", "FR"}, {"europe-west10", "DE"}, {"europe-west12", "IT"},
	{"me-central1", "QA"}, {"me-central2", "SA"}, {"me-west1", "IL"},
	{"northamerica-northeast1", "CA"}, {"northamerica-northeast2", "CA"}, {"northamerica-south1", "MX"},
	{"southamerica-east1", "BR"}, {"southamerica-west1", "CL"},
	{"us-central1", "US"}, {"us-east1", "US"}, {"us-east4", "US"}, {"us-east5", "US"}, {"us-south1", "US"},
	{"us-west1", "US"}, {"us-west2", "US"}, {"us-west3", "US"}, {"us-west4", "US"},
}

// gcpBuckets are the multi-regions and predefined dual-regions a bucket or a snapshot may have. Of EU Google promises
// only that data stays in member states, and of ASIA only that it stays in Asia: areas, not countries. The pairs were
// written down from knowledge of the service, not compared with its page.
var gcpBuckets = map[string]Place{
	"eu":    {Areas: []string{"eu"}},
	"us":    {Countries: []string{"US"}},
	"asia":  {Areas: []string{"asia"}},
	"eur4":  {Countries: []string{"FI", "NL"}},
	"eur5":  {Countries: []string{"BE", "GB"}},
	"eur7":  {Countries: []string{"DE", "GB"}},
	"eur8":  {Countries: []string{"CH", "DE"}},
	"nam4":  {Countries: []string{"US"}},
	"asia1": {Countries: []string{"JP"}},
}

// gcpKeys are the multi-regions of Cloud KMS in the Americas, as Google's page of Cloud KMS locations states them. The same name can mean other places to
// Cloud KMS than to Cloud Storage, so a key is looked up here only.
var gcpKeys = map[string]Place{
	"us": {Countries: []string{"US"}}, "ca": {Countries: []string{"CA"}},
	"nam3": {Countries: []string{"US"}}, "nam4": {Countries: []string{"US"}}, "nam6": {Countries: []string{"US"}},
	"nam7": {Countries: []string{"US"}}, "nam8": {Countries: []string{"US"}}, "nam9": {Countries: []string{"US"}},
	"nam10": {Countries: []string{"US"}}, "nam11": {Countries: []string{"US"}}, "nam12": {Countries: []string{"US"}},
}

// azureRegions were written down from knowledge of the service and sampled against public lists; newer regions are
// unknown until they are added. Display names are these with blanks.
var azureRegions = map[string][]row{
	"azure": {
		{"australiacentral", "AU"}, {"australiacentral2", "AU"}, {"australiaeast", "AU"}, {"australiasoutheast", "AU"},
		{"austriaeast", "AT"}, {"belgiumcentral", "BE"}, {"brazilsouth", "BR"}, {"brazilsoutheast", "BR"},
		{"canadacentral", "CA"}, {"canadaeast", "CA"}, {"centralindia", "IN"}, {"centralus", "US"}, {"chilecentral", "CL"},
		{"denmarkeast", "DK"}, {"eastasia", "HK"}, {"eastus", "US"}, {"eastus2", "US"}, {"francecentral", "FR"}, {"francesouth", "FR"},
		{"germanynorth", "DE"}, {"germanywestcentral", "DE"}, {"indonesiacentral", "ID"}, {"israelcentral", "IL"},
		{"italynorth", "IT"}, {"japaneast", "JP"}, {"japanwest", "JP"}, {"jioindiacentral", "IN"}, {"jioindiawest", "IN"},
		{"koreacentral", "KR"}, {"koreasouth", "KR"}, {"malaysiawest", "MY"}, {"mexicocentral", "MX"},
		{"newzealandnorth", "NZ"}, {"northcentralus", "US"}, {"northeurope", "IE"}, {"norwayeast", "NO"},
		{"norwaywest", "NO"}, {"polandcentral", "PL"}, {"qatarcentral", "QA"}, {"southafricanorth", "ZA"},
		{"southafricawest", "ZA"}, {"southcentralus", "US"}, {"southeastasia", "SG"}, {"southindia", "IN"},
		{"spaincentral", "ES"}, {"swedencentral", "SE"}, {"swedensouth", "SE"}, {"switzerlandnorth", "CH"},
		{"switzerlandwest", "CH"}, {"uaecentral", "AE"}, {"uaenorth", "AE"}, {"uksouth", "GB"}, {"ukwest", "GB"},
		{"westcentralus", "US"}, {"westeurope", "NL"}, {"westindia", "IN"}, {"westus", "US"}, {"westus2", "US"}, {"westus3", "US"},
	},
	"azure-china": {
		{"chinaeast", "CN"}, {"chinaeast2", "CN"}, {"chinaeast3", "CN"},
		{"chinanorth", "CN"}, {"chinanorth2", "CN"}, {"chinanorth3", "CN"},
	},
	"azure-us-gov": {
		{"usdodcentral", "US"}, {"usdodeast", "US"}, {"usgovarizona", "US"}, {"usgoviowa", "US"}, {"usgovtexas", "US"}, {"usgovvirginia", "US"},
	},
}

// azureDomains are the DNS suffixes of storage accounts and key vaults. A name there tells the partition and, where the
// whole partition lies in one country, the country; never the region.
var azureDomains = []struct {
	suffix             []string
	partition, country string
}{
	{[]string{"core", "windows", "net"}, "azure", ""},
	{[]string{"storage", "azure", "net"}, "azure", ""},
	{[]string{"vault", "azure", "net"}, "azure", ""},
	{[]string{"managedhsm", "azure", "net"}, "azure", ""},
	{[]string{"core", "chinacloudapi", "cn"}, "azure-china", "CN"},
	{[]string{"vault", "azure", "cn"}, "azure-china", "CN"},
	{[]string{"core", "usgovcloudapi", "net"}, "azure-us-gov", "US"},
	{[]string{"vault", "usgovcloudapi", "net"}, "azure-us-gov", "US"},
}

// ovhRegions are those of OVHcloud's guide to Object Storage endpoints of 2026-02-03, then the two of OVHcloud US, which
// the guide leaves out.
var ovhRegions = []row{
	{"gra", "FR"}, {"rbx", "FR"}, {"sbg", "FR"}, {"eu-west-par", "FR"}, {"eu-south-mil", "IT"}, {"de", "DE"}, {"uk", "GB"},
	{"waw", "PL"}, {"bhs", "CA"}, {"ca-east-tor", "CA"}, {"sgp", "SG"}, {"ap-southeast-syd", "AU"}, {"ap-south-mum", "IN"},
	{"us-east-va", "US"}, {"us-west-or", "US"},
}

// scalewayRegions were written down from knowledge of the service.
var scalewayRegions = []row{{"fr-par", "FR"}, {"nl-ams", "NL"}, {"pl-waw", "PL"}, {"it-mil", "IT"}}
