//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"proviso.dev/proviso/evidence/producer"
	"proviso.dev/proviso/webhook"
)

// Policies are on record before anything is judged by them, and no decision stands behind those that replaced its own.
func TestDecisionsNameThePoliciesOfTheirPlace(t *testing.T) {
	w := recordedBy(t, producer.Blocking, denyProfile, 0)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			h := w.handler(webhook.Side(n % 2))
			for i := range 100 {
				if got := h.Handle(t.Context(), asks(fmt.Sprintf("u-%d-%d", n, i), "CREATE", aSchedule("good", ""), "")); !got.Allowed {
					t.Errorf("denied: %s", got.Result.Message)
				}
			}
		})
	}
	for i := range 10 {
		write(t, w.loader.file, denyProfile+fmt.Sprintf("# %d\npolicies: {governance/made: {mode: %s}}\n", i, []string{"deny", "warn"}[i%2]))
		if err := w.loader.read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	if holes := verified(t, w.dir); len(holes) > 0 {
		t.Errorf("declared to be missing: %v", holes)
	}
	_, all := kept(t, w.dir)
	activations, reloads := 0, 0
	for _, rec := range all {
		if rec.Activation != nil {
			activations++
		}
		if rec.Change != nil && rec.Change.What == "reload" {
			reloads++
		}
	}
	if activations != 2*11 || reloads != 11 {
		t.Errorf("%d activations and %d reloads on record, want 22 and 11", activations, reloads)
	}
}

// Policies that cannot be put on record do not come into force, and why is on record as soon as something can be.
func TestReloadsOnRecord(t *testing.T) {
	w := recordedBy(t, producer.Strict, denyProfile, 0)
	before := w.loader.sets()
	for range 3 {
		w.reloaded("profile and policies", errors.New("no such bundle"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	write(t, w.loader.file, "bundles: [./one]\nmode: warn\n")
	if err := w.loader.read(ctx); err == nil || w.loader.sets() != before {
		t.Errorf("policies that are not on record are in force (%v)", err)
	}
	if err := w.order.Acquire(t.Context(), everyOrder); err != nil {
		t.Fatal(err)
	}
	if err := w.activate(ctx, w.inForce); err == nil { // its records may be written all the same
		t.Error("policies were put on record when the time was over")
	}
	w.order.Release(everyOrder)
	w.tend(t.Context())
	if got := w.handler(webhook.FailClosed).Handle(t.Context(), asks("u-1", "CREATE", aSchedule("bad", ""), "")); got.AuditAnnotations["record"] == markUnrecorded || got.Allowed || !strings.Contains(got.Result.Message, "governance/made") {
		t.Errorf("by the policies that stayed: %+v", got)
	}
	write(t, w.loader.file, "bundles: [./one]\nevidence: {mode: batch}\n")
	if err := w.loader.read(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a restart") {
		t.Errorf("another mode of evidence by a reload: %v", err)
	}
	if err := w.close("stopped"); err != nil {
		t.Fatal(err)
	}
	if holes := verified(t, w.dir); len(holes) > 0 {
		t.Errorf("declared to be missing: %v", holes)
	}
	_, all := kept(t, w.dir)
	var changes []string
	for _, rec := range all {
		if rec.Change != nil {
			changes = append(changes, rec.Change.What+": "+rec.Change.Detail)
		}
	}
	if want := []string{"reload: profile and policies were read", "reload refused: profile and policies: no such bundle"}; !reflect.DeepEqual(changes, want) {
		t.Errorf("on record are %q, want %q", changes, want)
	}
}
