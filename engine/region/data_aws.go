package region

// Regions and DNS suffixes were compared with the AWS SDK's partition list of 2026-08-07; countries follow the city in its
// descriptions. A name that is not here is unknown, however much it looks like one that is.

const (
	aws      = "aws"
	gcp      = "gcp"
	azure    = "azure"
	ovh      = "ovh"
	scaleway = "scaleway"
)

// row is one region of a table: its name and the ISO 3166-1 alpha-2 code of its country.
type row struct{ name, country string }

// awsRegions maps partitions to regions. The name of a zone id begins with the third column; empty where it is not documented.
var awsRegions = map[string][]struct{ name, country, zones string }{
	"aws": {
		{"af-south-1", "ZA", "afs1"},
		{"ap-east-1", "HK", "ape1"},
		{"ap-east-2", "TW", "ape2"},
		{"ap-northeast-1", "JP", "apne1"},
		{"ap-northeast-2", "KR", "apne2"},
		{"ap-northeast-3", "JP", "apne3"},
		{"ap-south-1", "IN", "aps1"},
		{"ap-south-2", "IN", "aps2"},
		{"ap-southeast-1", "SG", "apse1"},
		{"ap-southeast-2", "AU", "apse2"},
		{"ap-southeast-3", "ID", "apse3"},
		{"ap-southeast-4", "AU", "apse4"},
		{"ap-southeast-5", "MY", "apse5"},
		{"ap-southeast-6", "NZ", "apse6"},
		{"ap-southeast-7", "TH", "apse7"},
		{"ca-central-1", "CA", "cac1"},
		{"ca-west-1", "CA", "caw1"},
		{"eu-central-1", "DE", "euc1"},
		{"eu-central-2", "CH", "euc2"},
		{"eu-north-1", "SE", "eun1"},
		{"eu-south-1", "IT", "eus1"},
		{"eu-south-2", "ES", "eus2"},
		{"eu-west-1", "IE", "euw1"},
		{"eu-west-2", "GB", "euw2"},
		{"eu-west-3", "FR", "euw3"},
		{"il-central-1", "IL", "ilc1"},
		{"me-central-1", "AE", "mec1"},
		{"me-south-1", "BH", "mes1"},
		{"mx-central-1", "MX", "mxc1"},
		{"sa-east-1", "BR", "sae1"},
		{"us-east-1", "US", "use1"},
		{"us-east-2", "US", "use2"},
		{"us-west-1", "US", "usw1"},
		{"us-west-2", "US", "usw2"},
	},
	"aws-us-gov": {{"us-gov-east-1", "US", "usge1"}, {"us-gov-west-1", "US", "usgw1"}},
	"aws-cn":     {{"cn-north-1", "CN", "cnn1"}, {"cn-northwest-1", "CN", "cnnw1"}},
	"aws-eusc":   {{"eusc-de-east-1", "DE", ""}},
}

// awsLastZone is the letter of a region's last availability zone, and so the highest number of its zone ids. It was written down
// from knowledge of the service and is a bound only: letters before it may be missing. Every other region is taken to end at f.
var awsLastZone = map[string]byte{
	"us-east-2": 'c', "us-west-1": 'c', "us-west-2": 'd', "ca-central-1": 'd', "sa-east-1": 'c',
	"eu-central-1": 'c', "eu-north-1": 'c', "eu-west-1": 'c', "eu-west-2": 'c', "eu-west-3": 'c',
	"ap-northeast-1": 'd', "ap-northeast-2": 'd', "ap-northeast-3": 'c', "ap-south-1": 'c', "ap-southeast-1": 'c', "ap-southeast-2": 'c',
	"cn-north-1": 'd', "cn-northwest-1": 'c', "us-gov-east-1": 'c', "us-gov-west-1": 'c',
}

// awsCities maps the location codes of Local and Wavelength Zones to countries. Such a zone may lie in another country
// than the region it belongs to, which keeps its snapshots: data there lies in both. The codes are airport or city codes;
// the list was written down from knowledge of the service and only sampled against its documentation.
var awsCities = map[string]string{
	"atl": "US", "bos": "US", "chi": "US", "clt": "US", "den": "US", "dfw": "US", "dtw": "US", "hnl": "US", "iah": "US",
	"las": "US", "lax": "US", "mci": "US", "mia": "US", "msp": "US", "nyc": "US", "pdx": "US", "phl": "US", "phx": "US",
	"sea": "US", "sfo": "US", "tpa": "US", "was": "US",
	"akl": "NZ", "ber": "DE", "bkk": "TH", "bue": "AR", "ccu": "IN", "cjj": "KR", "cmn": "MA", "cph": "DK", "del": "IN",
	"dtm": "DE", "ham": "DE", "hel": "FI", "kix": "JP", "lim": "PE", "lon": "GB", "los": "NG", "man": "GB", "mct": "OM",
	"mnl": "PH", "muc": "DE", "nrt": "JP", "per": "AU", "qro": "MX", "scl": "CL", "sel": "KR", "tpe": "TW", "waw": "PL",
	"yto": "CA",
}

// awsDomains are the DNS suffixes of the partitions. GovCloud shares those of the commercial one: the region tells.
var awsDomains = []struct {
	suffix     []string
	partitions []string
}{
	{[]string{"amazonaws", "com"}, []string{"aws", "aws-us-gov"}},
	{[]string{"api", "aws"}, []string{"aws", "aws-us-gov"}},
	{[]string{"amazonaws", "com", "cn"}, []string{"aws-cn"}},
	{[]string{"api", "amazonwebservices", "com", "cn"}, []string{"aws-cn"}},
	{[]string{"amazonaws", "eu"}, []string{"aws-eusc"}},
	{[]string{"api", "amazonwebservices", "eu"}, []string{"aws-eusc"}},
}
