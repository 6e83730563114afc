package policies_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
)

// oneBackup is a cluster that holds one Backup, none, or says nothing.
type oneBackup string

func (b oneBackup) Fact(context.Context, engine.FactQuery, *engine.Subject) (any, engine.FactState, error) {
	switch b {
	case "":
		return nil, engine.FactUnknown, nil
	case "absent":
		return nil, engine.FactAbsent, nil
	}
	var v any
	err := json.Unmarshal([]byte(b), &v)
	return v, engine.FactFound, err
}

// What fixtures cannot say of the policies on deletes and changes: parameters other than the defaults, and what is unknown.
func TestDeletesAndChanges(t *testing.T) {
	cat, err := bundles.Read(nil, bundles.Source{Name: "policies", FS: os.DirFS(".")})
	if err != nil {
		t.Fatal(err)
	}
	const (
		early, hold, shrink = "retention/deletion-not-early", "retention/legal-hold", "retention/shrink-needs-approval"
		lock, location      = "immutability/lock-not-weakened", "access/location-credential-kept"
		owner, status       = "governance/no-owner-of-backups", "governance/status-by-velero"
		class, host         = "governance/classification-kept", "residency/no-host-path"

		request = `{"apiVersion":"velero.io/v1","kind":"DeleteBackupRequest","metadata":{"namespace":"velero"},"spec":{"backupName":"b"}}`
		late    = `{"metadata":{"name":"b"},"status":{"expiration":"2026-03-01T00:00:00Z"}}`
		gone    = `{"metadata":{"name":"b"},"status":{"expiration":"2025-03-01T00:00:00Z"}}`
		held    = `{"metadata":{"name":"b","labels":{"proviso.dev/legal-hold":"true"}},"status":{"expiration":"2026-03-01T00:00:00Z"}}`
		leads   = `["leads"]`

		errors, expired = "recoverability/backup-without-errors", "retention/expired-backups-gone"
		rto, ready, rpo = "recoverability/restore-in-rto", "recoverability/snapshot-ready-and-bound", "recoverability/last-backup-in-rpo"

		restore  = `{"apiVersion":"velero.io/v1","kind":"Restore","metadata":{"name":"r","namespace":"velero"},"status":{"phase":"Failed"}}`
		snapshot = `{"apiVersion":"snapshot.storage.k8s.io/v1","kind":"VolumeSnapshot","metadata":{"name":"s","namespace":"n"},"status":{"readyToUse":false,"error":{"message":"no space"}}}`
		source   = `{"apiVersion":"volsync.backube/v1alpha1","kind":"ReplicationSource","metadata":{"name":"s","namespace":"n"},"status":{"lastSyncTime":"2024-01-01T00:00:00Z"}}`

		velero = "system:serviceaccount:velero:velero"
	)
	backup := func(rest string) string {
		return `{"apiVersion":"velero.io/v1","kind":"Backup","metadata":{"name":"b","namespace":"velero"` + rest + `}`
	}
	ledger := func(labels string) string {
		return `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"ledger","labels":` + labels + `}}`
	}
	daily := func(ttl string) string {
		return `{"apiVersion":"velero.io/v1","kind":"Schedule","metadata":{"name":"daily","namespace":"velero"},"spec":{"template":{"ttl":` + ttl + `}}}`
	}
	bucket := func(spec string) string {
		return `{"apiVersion":"s3.services.k8s.aws/v1alpha1","kind":"Bucket","metadata":{"name":"b"},"spec":` + spec + `}`
	}
	place := func(name string) string {
		return `{"apiVersion":"velero.io/v1","kind":"BackupStorageLocation","metadata":{"name":"l","namespace":"velero"},"spec":{"provider":"aws","credential":{"name":"` + name + `"}}}`
	}
	again := func(status string) string { return strings.TrimSuffix(request, "}") + `,"status":` + status + `}` }
	volume := func(rest string) string {
		return `{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"v"},"spec":{"hostPath":{"path":"/d"}` + rest + `}}`
	}
	const bound = `,"claimRef":{"namespace":"ledger","name":"data"}`
	const daysOwner = `,"ownerReferences":[{"apiVersion":"velero.io/v1","kind":"Schedule","name":"daily","uid":"u"}]}`
	for name, c := range map[string]struct {
		policy, params, operation, user, groups, object, old string
		backup                                               oneBackup
		want                                                 engine.Verdict
	}{
		"an approver deletes early":              {early, `{"approverGroups":["leads"]}`, "CREATE", "ann", leads, request, "", late, engine.Pass},
		"an approver in no group":                {early, `{"approverGroups":["leads"]}`, "CREATE", "ann", `["leaders"]`, request, "", late, engine.Fail},
		"an approver under hold":                 {early, `{"approverGroups":["leads"]}`, "CREATE", "ann", leads, request, "", held, engine.Fail},
		"an approver without expiration":         {early, `{"approverGroups":["leads"]}`, "CREATE", "ann", leads, request, "", `{"metadata":{"name":"b"}}`, engine.Pass},
		"another hold label":                     {early, `{"holdLabel":"keep"}`, "CREATE", velero, `[]`, request, "", `{"metadata":{"labels":{"keep":"yes"}},"status":{"expiration":"2025-03-01T00:00:00Z"}}`, engine.Fail},
		"another Velero":                         {early, `{"veleroServiceAccounts":["v"]}`, "DELETE", "v", `[]`, backup(`},"status":{"expiration":"2026-03-01T00:00:00Z"}`), "", "", engine.NotApplicable},
		"no expiration":                          {early, `{}`, "CREATE", "ann", `[]`, request, "", `{"metadata":{"name":"b"}}`, engine.Unknown},
		"no expiration, and held":                {early, `{}`, "CREATE", "ann", `[]`, request, "", `{"metadata":{"labels":{"proviso.dev/legal-hold":"true"}}}`, engine.Fail},
		"an expiration that is no time":          {early, `{}`, "CREATE", "ann", `[]`, request, "", `{"status":{"expiration":"soon"}}`, engine.Unknown},
		"labels that are no map":                 {early, `{}`, "CREATE", "ann", `[]`, request, "", `{"metadata":{"labels":["x"]},"status":{"expiration":"2025-03-01T00:00:00Z"}}`, engine.Unknown},
		"a label nearly the hold's":              {early, `{}`, "CREATE", "ann", `[]`, request, "", `{"metadata":{"labels":{"proviso.dev/Legal-Hold":"true"}},"status":{"expiration":"2025-03-01T00:00:00Z"}}`, engine.Unknown},
		"a backup that is not there":             {early, `{}`, "CREATE", "ann", `[]`, request, "", "absent", engine.Unknown},
		"a backup nobody knows of":               {early, `{}`, "CREATE", velero, `[]`, request, "", "", engine.Unknown},
		"a request for nothing":                  {early, `{}`, "CREATE", "ann", `[]`, `{"apiVersion":"velero.io/v1","kind":"DeleteBackupRequest","metadata":{"namespace":"velero"},"spec":{}}`, "", gone, engine.Unknown},
		"a Backup without expiration is deleted": {early, `{}`, "DELETE", "ann", `[]`, backup(`}`), "", "", engine.Unknown},
		"a request made new again":               {early, `{}`, "UPDATE", "ann", `[]`, again(`{"phase":"New"}`), again(`{"phase":"Processed"}`), late, engine.Fail},
		"a request of no phase again":            {early, `{}`, "UPDATE", "ann", `[]`, again(`{}`), again(`{"phase":"InProgress"}`), held, engine.Fail},
		"a request new again, by an approver":    {early, `{"approverGroups":["leads"]}`, "UPDATE", "ann", leads, again(`{"phase":"New"}`), again(`{"phase":"Processed"}`), late, engine.Pass},
		"a request new again, for what is gone":  {early, `{}`, "UPDATE", "ann", `[]`, again(`{"phase":"New"}`), again(`{"phase":"Processed"}`), "absent", engine.Unknown},
		"a request whose phase is no text":       {early, `{}`, "UPDATE", "ann", `[]`, again(`{"phase":1}`), again(`{"phase":"Processed"}`), late, engine.Unknown},
		"a request that is done":                 {early, `{}`, "UPDATE", velero, `[]`, again(`{"phase":"Processed"}`), again(`{"phase":"InProgress"}`), late, engine.NotApplicable},
		"a request in a file":                    {early, `{}`, "CREATE", "", "", request, "", late, engine.NotApplicable},
		"a request in a scan":                    {early, `{}`, "", "", "", request, "", late, engine.NotApplicable},

		"a hold is released":           {hold, `{"releaseGroups":["leads"]}`, "UPDATE", "ann", leads, ledger(`{}`), ledger(`{"proviso.dev/legal-hold":"true"}`), "", engine.Pass},
		"what is held is deleted":      {hold, `{"releaseGroups":["leads"]}`, "DELETE", "ann", leads, ledger(`{"proviso.dev/legal-hold":"true"}`), "", "", engine.Pass},
		"released by another group":    {hold, `{"releaseGroups":["leads"]}`, "UPDATE", "ann", `["x"]`, ledger(`{}`), ledger(`{"proviso.dev/legal-hold":"true"}`), "", engine.Fail},
		"released by nobody":           {hold, `{}`, "UPDATE", "", "", ledger(`{}`), ledger(`{"proviso.dev/legal-hold":"true"}`), "", engine.Fail},
		"a hold by another label":      {hold, `{"holdLabel":"keep"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"keep":"yes"}`), "", engine.Fail},
		"a label nearly the same":      {hold, `{}`, "UPDATE", "ann", `[]`, ledger(`{"proviso.dev/Legal-hold":"true"}`), ledger(`{"proviso.dev/legal-hold":"true"}`), "", engine.Fail},
		"a hold, and nothing before":   {hold, `{}`, "UPDATE", "ann", `[]`, ledger(`{}`), "", "", engine.Unknown},
		"a hold in a scan":             {hold, `{}`, "", "", "", ledger(`{"proviso.dev/legal-hold":"true"}`), "", "", engine.NotApplicable},
		"held, by a Velero of no name": {hold, `{"veleroServiceAccounts":["v"]}`, "DELETE", velero, `[]`, backup(`,"labels":{"proviso.dev/legal-hold":"true"}}`), "", "", engine.Fail},

		"a shrink is approved":         {shrink, `{"approverGroups":["leads"]}`, "UPDATE", "ann", leads, daily(`"24h"`), daily(`"720h"`), "", engine.Pass},
		"a shrink by others":           {shrink, `{"approverGroups":["leads"]}`, "UPDATE", "ann", `["x"]`, daily(`"24h"`), daily(`"720h"`), "", engine.Fail},
		"another default":              {shrink, `{"serverDefault":"24h"}`, "UPDATE", "ann", `[]`, daily(`"48h"`), daily(`null`), "", engine.Pass},
		"a ttl that was none":          {shrink, `{}`, "UPDATE", "ann", `[]`, daily(`"720h"`), daily(`"30d"`), "", engine.Unknown},
		"a ttl that was none, mended":  {shrink, `{"approverGroups":["leads"]}`, "UPDATE", "ann", leads, daily(`"720h"`), daily(`"30d"`), "", engine.Pass},
		"a Backup's ttl, mended":       {shrink, `{"approverGroups":["leads"]}`, "UPDATE", "ann", leads, backup(`},"spec":{"ttl":"720h"}`), backup(`},"spec":{"ttl":"30d"}`), "", engine.Pass},
		"a ttl that is none":           {shrink, `{}`, "UPDATE", "ann", `[]`, daily(`"30d"`), daily(`"720h"`), "", engine.Unknown},
		"a ttl, and nothing before":    {shrink, `{}`, "UPDATE", "ann", `[]`, daily(`"720h"`), "", "", engine.Unknown},
		"a Backup, and nothing before": {shrink, `{}`, "UPDATE", "ann", `[]`, backup(`}`), "", "", engine.Unknown},
		"an expiration that was none":  {shrink, `{}`, "UPDATE", "ann", `[]`, backup(`},"status":{"expiration":"2026-03-01T00:00:00Z"}`), backup(`},"status":{"expiration":"soon"}`), "", engine.Unknown},
		"another Velero's Backup":      {shrink, `{"veleroServiceAccounts":["v"]}`, "UPDATE", "v", `[]`, backup(`},"spec":{"ttl":"1h"}`), backup(`},"spec":{"ttl":"2h"}`), "", engine.NotApplicable},
		"a Schedule in a scan":         {shrink, `{}`, "", "", "", daily(`"1h"`), "", "", engine.NotApplicable},

		"a lock, and nothing before": {lock, `{}`, "UPDATE", "ann", `[]`, bucket(`{}`), "", "", engine.Unknown},
		"a lock of another shape":    {lock, `{}`, "UPDATE", "ann", `[]`, bucket(`{"objectLockEnabledForBucket":"yes"}`), bucket(`{"objectLockEnabledForBucket":true}`), "", engine.Unknown},
		"a period that was text":     {lock, `{}`, "UPDATE", "ann", `[]`, bucket(`{}`), bucket(`{"objectLockConfiguration":{"rule":{"defaultRetention":{"days":"35"}}}}`), "", engine.Unknown},
		"a mode of null":             {lock, `{}`, "UPDATE", "ann", `[]`, bucket(`{"objectLockConfiguration":{"rule":{"defaultRetention":{"mode":null}}}}`), bucket(`{"objectLockConfiguration":{"rule":{"defaultRetention":{"mode":"GOVERNANCE"}}}}`), "", engine.Fail},
		"a lock gone by null":        {lock, `{}`, "UPDATE", "ann", `[]`, bucket(`{"objectLockEnabledForBucket":null,"objectLockConfiguration":null,"retentionPolicy":null}`), bucket(`{"objectLockEnabledForBucket":true}`), "", engine.Fail},
		"a lock in a scan":           {lock, `{}`, "", "", "", bucket(`{"objectLockEnabledForBucket":true}`), "", "", engine.NotApplicable},

		"a location by those who may": {location, `{"changeGroups":["leads"]}`, "UPDATE", "ann", leads, place("b"), place("a"), "", engine.Pass},
		"a location deleted by them":  {location, `{"changeGroups":["leads"]}`, "DELETE", "ann", leads, place("b"), "", "", engine.Pass},
		"a location by others":        {location, `{"changeGroups":["leads"]}`, "UPDATE", "ann", `["x"]`, place("b"), place("a"), "", engine.Fail},
		"a location by nobody":        {location, `{"changeGroups":["leads"]}`, "UPDATE", "", "", place("b"), place("a"), "", engine.Fail},
		"a location that was nothing": {location, `{}`, "UPDATE", "ann", `[]`, place("b"), "", "", engine.Unknown},
		"a location in a scan":        {location, `{}`, "", "", "", place("b"), "", "", engine.NotApplicable},

		"a status by Velero":               {status, `{}`, "CREATE", velero, `[]`, backup(`},"status":{"phase":"Completed"}`), "", "", engine.NotApplicable},
		"a status by another Velero":       {status, `{"veleroServiceAccounts":["v"]}`, "CREATE", "v", `[]`, backup(`},"status":{"phase":"Completed"}`), "", "", engine.NotApplicable},
		"a status by Velero of no name":    {status, `{"veleroServiceAccounts":["v"]}`, "CREATE", velero, `[]`, backup(`},"status":{"phase":"Completed"}`), "", "", engine.Fail},
		"a status by its group":            {status, `{}`, "CREATE", "ann", `["system:serviceaccount:velero:velero"]`, backup(`},"status":{"phase":"Completed"}`), "", "", engine.Fail},
		"a status by a user of no name":    {status, `{}`, "CREATE", "", `[]`, backup(`},"status":{"phase":"Completed"}`), "", "", engine.Unknown},
		"a status in a file":               {status, `{}`, "CREATE", "", "", backup(`},"status":{"phase":"Completed"}`), "", "", engine.NotApplicable},
		"a status in a scan":               {status, `{}`, "", "", "", backup(`},"status":{"phase":"Completed"}`), "", "", engine.NotApplicable},
		"a status, and nothing before":     {status, `{}`, "UPDATE", "ann", `[]`, backup(`}`), "", "", engine.Unknown},
		"a status that is no object":       {status, `{}`, "CREATE", "ann", `[]`, backup(`},"status":"Completed"`), "", "", engine.Unknown},
		"a status that was no object":      {status, `{}`, "UPDATE", "ann", `[]`, backup(`}`), backup(`},"status":"Completed"`), "", engine.Unknown},
		"a status of null":                 {status, `{}`, "UPDATE", "ann", `[]`, backup(`},"status":null`), backup(`},"status":{"phase":"New"}`), "", engine.Fail},
		"a status of null, that was empty": {status, `{}`, "UPDATE", "ann", `[]`, backup(`},"status":null`), backup(`},"status":{}`), "", engine.Pass},

		"a class by those who may":        {class, `{"changeGroups":["leads"]}`, "UPDATE", "ann", leads, ledger(`{}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Pass},
		"a class by others":               {class, `{"changeGroups":["leads"]}`, "UPDATE", "ann", `["x"]`, ledger(`{}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Fail},
		"a class by nobody":               {class, `{}`, "UPDATE", "", "", ledger(`{}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Fail},
		"a class by another label":        {class, `{"dataClassLabel":"c"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"c":"x"}`), "", engine.Fail},
		"a jurisdiction by another label": {class, `{"jurisdictionLabel":"c"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"c":"x"}`), "", engine.Fail},
		"a tier by another label":         {class, `{"tierLabel":"c"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"c":"x"}`), "", engine.Fail},
		"a profile by another label":      {class, `{"retentionProfileLabel":"c"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"c":"x"}`), "", engine.Fail},
		"a label that classifies nothing": {class, `{"tierLabel":"c"}`, "UPDATE", "ann", `[]`, ledger(`{}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Pass},
		"a class nearly the same":         {class, `{}`, "UPDATE", "ann", `[]`, ledger(`{"proviso.dev/Tier":"hot"}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Fail},
		"a class of null":                 {class, `{}`, "UPDATE", "ann", `[]`, ledger(`{"proviso.dev/tier":null}`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Fail},
		"classes of null":                 {class, `{}`, "UPDATE", "ann", `[]`, ledger(`null`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Fail},
		"classes that are no map":         {class, `{}`, "UPDATE", "ann", `[]`, ledger(`["x"]`), ledger(`{"proviso.dev/tier":"hot"}`), "", engine.Unknown},
		"a class, and nothing before":     {class, `{}`, "UPDATE", "ann", `[]`, ledger(`{}`), "", "", engine.Unknown},
		"a class, and no Velero before":   {class, `{}`, "UPDATE", velero, `[]`, backup(`}`), "", "", engine.Unknown},
		"a class by another Velero":       {class, `{"veleroServiceAccounts":["v"]}`, "UPDATE", "v", `[]`, backup(`}`), backup(`,"labels":{"proviso.dev/tier":"hot"}}`), "", engine.NotApplicable},
		"a class by Velero of no name":    {class, `{"veleroServiceAccounts":["v"]}`, "UPDATE", velero, `[]`, backup(`}`), backup(`,"labels":{"proviso.dev/tier":"hot"}}`), "", engine.Fail},
		"a class in a scan":               {class, `{}`, "", "", "", ledger(`{}`), "", "", engine.NotApplicable},

		"a volume is bound":               {host, `{}`, "UPDATE", "ann", `[]`, volume(bound), volume(``), `{"metadata":{"labels":{"proviso.dev/data-class":"restricted"}}}`, engine.Fail},
		"a volume is bound to a claim":    {host, `{}`, "UPDATE", "ann", `[]`, volume(`,"claimRef":{"name":"data"}`), volume(``), "", engine.Unknown},
		"a volume, of nobody's namespace": {host, `{}`, "UPDATE", "ann", `[]`, volume(bound), volume(``), "", engine.Unknown},
		"a volume, of a namespace gone":   {host, `{}`, "UPDATE", "ann", `[]`, volume(bound), volume(``), "absent", engine.Unknown},
		"a volume of other classes":       {host, `{"classes":["personal"]}`, "CREATE", "ann", `[]`, volume(bound), "", `{"metadata":{"labels":{"proviso.dev/data-class":"restricted"}}}`, engine.Pass},
		"a volume of no claim":            {host, `{}`, "CREATE", "ann", `[]`, volume(``), "", "", engine.NotApplicable},

		"a finished backup is found again":  {errors, `{}`, "CREATE", velero, `[]`, backup(`},"status":{"phase":"PartiallyFailed"}`), "", "", engine.NotApplicable},
		"a finished backup in a file":       {errors, `{}`, "CREATE", "", "", backup(`},"status":{"phase":"PartiallyFailed"}`), "", "", engine.Fail},
		"a finished backup in a scan":       {errors, `{}`, "", "", "", backup(`},"status":{"phase":"PartiallyFailed"}`), "", "", engine.Fail},
		"an expired backup is found again":  {expired, `{}`, "CREATE", velero, `[]`, backup(`},"status":{"phase":"Completed","expiration":"2025-03-01T00:00:00Z"}`), "", "", engine.NotApplicable},
		"an expired backup is written to":   {expired, `{}`, "UPDATE", velero, `[]`, backup(`},"status":{"phase":"Deleting","expiration":"2025-03-01T00:00:00Z"}`), backup(`}`), "", engine.NotApplicable},
		"an expired backup in a file":       {expired, `{}`, "CREATE", "", "", backup(`},"status":{"phase":"Completed","expiration":"2025-03-01T00:00:00Z"}`), "", "", engine.Fail},
		"an expired backup in a scan":       {expired, `{}`, "", "", "", backup(`},"status":{"phase":"Completed","expiration":"2025-03-01T00:00:00Z"}`), "", "", engine.Fail},
		"a restore that failed, at the API": {rto, `{}`, "CREATE", velero, `[]`, restore, "", "", engine.NotApplicable},
		"a restore that failed, in a file":  {rto, `{}`, "CREATE", "", "", restore, "", "", engine.Fail},
		"a snapshot, at the API":            {ready, `{}`, "CREATE", "ann", `[]`, snapshot, "", "", engine.NotApplicable},
		"a snapshot in a file":              {ready, `{}`, "CREATE", "", "", snapshot, "", "", engine.Fail},
		"an old sync, at the API":           {rpo, `{}`, "CREATE", "ann", `[]`, source, "", "", engine.NotApplicable},
		"an old sync in a file":             {rpo, `{}`, "CREATE", "", "", source, "", "", engine.Fail},

		"Velero's own owner":            {owner, `{"allowScheduleOwner":true}`, "CREATE", velero, `[]`, backup(daysOwner), "", "", engine.Pass},
		"Velero's owner by a person":    {owner, `{"allowScheduleOwner":true}`, "CREATE", "ann", `[]`, backup(daysOwner), "", "", engine.Fail},
		"Velero's owner, in a file":     {owner, `{"allowScheduleOwner":true}`, "CREATE", "", "", backup(daysOwner), "", "", engine.Fail},
		"Velero's owner, in a scan":     {owner, `{"allowScheduleOwner":true}`, "", "", "", backup(daysOwner), "", "", engine.Pass},
		"Velero's owner, added later":   {owner, `{"allowScheduleOwner":true}`, "UPDATE", velero, `[]`, backup(daysOwner), backup(`}`), "", engine.Fail},
		"an owner that is no object":    {owner, `{}`, "CREATE", "ann", `[]`, backup(`,"ownerReferences":["x"]}`), "", "", engine.Fail},
		"owners that are no list":       {owner, `{}`, "CREATE", "ann", `[]`, backup(`,"ownerReferences":{"x":1}}`), "", "", engine.Unknown},
		"an owner, and nothing before":  {owner, `{}`, "UPDATE", "ann", `[]`, backup(daysOwner), "", "", engine.Fail},
		"another Velero's owner":        {owner, `{"allowScheduleOwner":true,"veleroServiceAccounts":["v"]}`, "CREATE", velero, `[]`, backup(daysOwner), "", "", engine.Fail},
		"a Schedule of another's group": {owner, `{"allowScheduleOwner":true}`, "CREATE", velero, `[]`, backup(`,"ownerReferences":[{"apiVersion":"velero.io.example.com/v1","kind":"Schedule","name":"d"}]}`), "", "", engine.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(text string) (m map[string]any) {
				if text != "" {
					if err := json.Unmarshal([]byte(text), &m); err != nil {
						t.Fatal(err)
					}
				}
				return m
			}
			f, err := cat.Folder(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			p := f.Policy
			p.Params = maps.Clone(p.Params)
			maps.Copy(p.Params, read(c.params))
			set, err := engine.NewSet([]engine.Policy{p})
			if err != nil {
				t.Fatal(err)
			}
			sub := engine.Subject{Object: read(c.object), Old: read(c.old), Operation: c.operation}
			if c.operation == engine.Delete {
				sub.Old = sub.Object
			}
			sub.APIVersion, _ = sub.Object["apiVersion"].(string)
			sub.Kind, _ = sub.Object["kind"].(string)
			if c.groups != "" {
				sub.User = read(`{"username":"` + c.user + `","groups":` + c.groups + `}`)
			}
			decisions := set.Judge(context.Background(), sub, c.backup, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			if len(decisions) != 1 {
				t.Fatalf("%d decisions, want one", len(decisions))
			}
			if d := decisions[0]; d.Verdict != c.want || c.want == engine.Fail && d.Effect != engine.EffectDeny {
				t.Errorf("%s: %s %v %q %v, want %s", c.policy, d.Verdict, d.Effect, d.Reason, d.Violations, c.want)
			}
		})
	}
}
