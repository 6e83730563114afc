package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What serve is asked for and what the profile says go together, or nothing starts.
func TestEvidenceIsAskedForTwice(t *testing.T) {
	for _, c := range []struct{ evidence, key, profile, want string }{
		{"", "", "", ""},
		{"", "", "evidence: {mode: strict}\n", "proviso.yaml:3:1: the profile asks for evidence (mode strict), and none is kept"},
		{"e", "k", "evidence: {mode: strict}\n", ""},
		{"e", "", "evidence: {mode: strict}\n", "nothing to sign it with"},
		{"", "k", "", "none is kept"},
		{"e", "k", "", "there is no default"},
		{"e", "k", "evidence: {mode: blocking, wait: 5s}\n", "5s is not within the time for an answer, 4.5s"},
	} {
		file := filepath.Join(t.TempDir(), "proviso.yaml")
		write(t, file, c.profile)
		profile, _, err := readProfile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := &serving{evidence: c.evidence, key: c.key, timeout: 5 * time.Second}
		if err := v.keeps(profile); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("--evidence %q --key %q with %q: %v, want %q", c.evidence, c.key, c.profile, err, c.want)
		}
	}
}
