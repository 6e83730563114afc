package decode

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Nothing a stranger sends may cost more than in proportion to its length.
func TestCostGrowsWithLengthOnly(t *testing.T) {
	const n = 40_000
	var keys strings.Builder
	for i := range n {
		fmt.Fprintf(&keys, "\"k%d\": é, ", i)
	}
	flow := "{" + strings.TrimSuffix(keys.String(), ", ") + "}"
	for name, raw := range map[string]string{
		"keys on one line":             "a: " + flow + "\n",
		"keys on one line, by library": "a: &x " + flow + "\n",
		"with tabs":                    "a: &x " + flow + "\t# \t\n",
		"JSON":                         `{"a":[` + strings.Repeat(`"é",{},`, n) + `1]}`,
		"JSON in YAML":                 "# c\n" + `{"a":[` + strings.Repeat(`"é",{},`, n) + `1]}`,
		"lone carriage returns":        strings.Repeat("- é\r", n),
		"anchors":                      "- &a x\n" + strings.Repeat("- *a\n", 3000) + strings.Repeat("- é\n", n),
		"an alias to and fro":          "- [&a é, " + strings.Repeat("*a, é, é, ", n) + "x]\n",
		"JSON objects on one line":     strings.Repeat("{}", 20*n),
		"lines that look cut":          strings.Repeat("%\n", 10*n),
		"quotes":                       strings.Repeat("- '", n) + "\n",
		"opened braces":                strings.Repeat("{", n),
		"opened braces in quotes":      "{" + strings.Repeat(`"{":{`, n),
		"short lines":                  strings.Repeat("a\n", n),
		"blank lines":                  strings.Repeat("\n", 20*n) + "a: &x b\n",
		"comments":                     strings.Repeat("# c\n", 10*n) + "a: &x b\n",
		"block of blank lines":         "a: &x |\n" + strings.Repeat(" \n", 10*n) + " b\n",
	} {
		began := time.Now()
		for d, err := range Documents(strings.NewReader(raw), "x", Limits{}) {
			if err == nil {
				d.Position("a", n-1)
			}
		}
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("%s: %d bytes took %v", name, len(raw), took)
		} else if testing.Verbose() {
			t.Logf("%s: %d bytes took %v", name, len(raw), took)
		}
	}
}
