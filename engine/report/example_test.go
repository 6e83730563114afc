package report_test

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/report"
)

// One run, told to a person and kept for a machine.
func Example() {
	set, err := engine.NewSet([]engine.Policy{{
		ID: "immutability/location-lock", Title: "Locations are locked", Severity: engine.High,
		Match: engine.Match{{Group: "velero.io", Kinds: []string{"BackupStorageLocation"}}},
		Fix:   "Turn on object lock.",
		Rule:  always(engine.Violation{Message: "no object lock is configured", Path: "spec"}),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	in := steps{object("velero.io/v1", "BackupStorageLocation", "velero", "eu-prod", nil)}
	var kept bytes.Buffer
	_, err = report.Tee(set.Run(context.Background(), in, nil, engine.Header{At: now}),
		func(r engine.Report) error { return report.Text(os.Stdout, r, report.Options{}) },
		func(r engine.Report) error { return report.JSON(&kept, r, report.Options{}) })
	fmt.Println(kept.Len() > 0, err)
	// Output:
	// -  HIGH  immutability/location-lock
	//   Locations are locked
	//   BackupStorageLocation velero/eu-prod
	//   - no object lock is configured (at spec)
	//   fix: Turn on object lock.
	//   more: proviso policy explain immutability/location-lock
	//
	// 1 policy x 1 subject: 1 judged, 0 pass, 1 fail (1 high), 0 unknown
	// true <nil>
}
