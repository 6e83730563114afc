//go:build unix

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/locked"
	"proviso.dev/proviso/evidence/producer"
)

// What serve is asked for and what the profile says go together, or nothing starts.
func TestEvidenceIsAskedForTwice(t *testing.T) {
	const strict = "evidence: {mode: strict}\n"
	for _, c := range []struct{ evidence, key, copy, keep, profile, want string }{
		{"", "", "", "", "", ""},
		{"", "", "", "", strict, "proviso.yaml:3:1: the profile asks for evidence (mode strict), and none is kept"},
		{"e", "k", "", "", strict, ""},
		{"e", "", "", "", strict, "nothing to sign it with"},
		{"", "k", "", "", "", "none is kept"},
		{"", "", "s3://b/p", "6y", "", "--copy copies evidence, and none is kept"},
		{"e", "k", "s3://b/p", "", strict, "--copy and --keep go together"},
		{"e", "k", "", "6y", strict, "--copy and --keep go together"},
		{"e", "k", "s3://b/p", "6y", strict, ""},
		{"e", "k", "", "", "", "there is no default"},
		{"e", "k", "", "", "evidence: {mode: blocking, wait: 5s}\n", "5s is not within the time for an answer, 4.5s"},
	} {
		file := filepath.Join(t.TempDir(), "proviso.yaml")
		write(t, file, c.profile)
		profile, _, err := readProfile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := &serving{evidence: c.evidence, key: c.key, copy: c.copy, keep: c.keep, timeout: 5 * time.Second}
		if err := v.keeps(profile); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Seals list every file, those of earlier seals too: an idle replica makes one a day, a busy one each hour.
func TestSealsAreWorthTheirSize(t *testing.T) {
	w := recordedBy(t, producer.Batch, denyProfile, 0)
	if err := w.seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := w.sealed.Add
	if w.due(after(2 * time.Hour)) {
		t.Error("nothing came, and a seal is due after two hours")
	}
	if !w.due(after(25 * time.Hour)) {
		t.Error("none is due after a day")
	}
	for w.w.Stats().Bytes < w.sealedTo+sealShare*w.took {
		if _, err := w.w.Object(strings.NewReader(strings.Repeat(fmt.Sprint(w.w.Stats().Bytes), 1000))); err != nil {
			t.Fatal(err)
		}
	}
	if w.due(after(time.Minute)) || !w.due(after(2*time.Hour)) {
		t.Error("much came, and a seal is not due each hour")
	}
}

// Another history in the bucket than in the folder sounds an alarm until a copy succeeds, and stops nobody.
func TestCopyRefusedIsAnAlarm(t *testing.T) {
	w := recordedBy(t, producer.Strict, denyProfile, 0)
	w.to = &copyTo{}
	registry := prometheus.NewRegistry()
	if err := w.measured(registry); err != nil {
		t.Fatal(err)
	}
	alarm := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "proviso_evidence_copy_refused" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("there is no such metric")
		return 0
	}
	refused := fmt.Errorf("copy to s3://b: nothing was copied: %w", &locked.Refused{Code: evidence.Rollback, Place: "seals/000002", Text: "the bucket has seal 2"})
	for n, c := range []struct {
		err  error
		want float64
	}{{nil, 0}, {errors.New("no such host"), 0}, {refused, 1}, {errors.New("no such host"), 1}, {nil, 0}} {
		err := w.compared(c.err)
		if (err != nil) != (c.err != nil) || c.err == refused && !strings.Contains(err.Error(), "ALARM") {
			t.Errorf("%d: %v", n, err)
		}
		if got := alarm(); got != c.want {
			t.Errorf("%d: the alarm is %v after %v", n, got, c.err)
		}
		if err := w.ready(); err != nil {
			t.Errorf("%d: not ready: %v", n, err)
		}
	}
}
