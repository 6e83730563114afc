package main

// webhookPage is what proviso help webhook prints.
const webhookPage = `proviso serve is a validating webhook: it judges what is created, changed and deleted with the policies, profile and
waivers that lint and scan judge with.

  proviso serve --print-config --image registry/proviso:TAG --profile proviso.yaml >proviso.yaml.install
  kubectl apply --server-side -f proviso.yaml.install       again once, should a CRD not have been ready

The image is yours to make: the program alone, and the authorities that a KMS or a bucket is verified by.
  CGO_ENABLED=0 go build -o proviso ./cmd/proviso
  FROM gcr.io/distroless/static / COPY proviso /proviso / ENTRYPOINT ["/proviso"]
Policies of your own go into it too, and bundles: names them by their absolute path.

Before anything is denied
  Failures warn until the profile says mode: deny, for all policies or for one. What cannot be told is denied on the fail
  webhook from the first minute, whatever the mode, unless the profile says unknown: warn: begin with both on warn. A denial
  has at most five lines: what is wrong, how to mend it, which control asks for it, how to get a waiver, and the decision's
  id, which the API server's audit log and our own log carry too.

Two webhooks, and one for our own kinds
  fail    keeps requests out while nobody answers: what says where backups go, when they are made and how long they live
          (locations, schedules, classes, buckets), creating a Restore or DeleteBackupRequest. So does that of our own kinds.
  ignore  lets them in: claims, volumes, namespaces, workloads, Velero's Backup. What came in unasked is judged at once all
          the same: the metric proviso_standing_findings counts what fails, and what cannot be told.
  failurePolicy: {PersistentVolumeClaim: Fail} in the profile moves a kind. Secrets, kube-system and Proviso's own namespace
  are never watched. What Velero's server writes into the status of its own kinds never waits for us (--velero-user).

Updates
  What the old object had already only warns, unless the policy says strictUpdate. Changes of status, managed fields and
  removed finalizers are not judged: nobody is kept from mending or deleting.

Unknown
  What cannot be told is denied on the fail webhook and warned about on the other; unknown: in the profile says otherwise.
  Facts come from watches; one that has been silent for --max-age makes its facts unknown. A name that is not there is
  waited for, a third of the time there is, and then unknown: retry.

Kinds
  Waiver   spec as an entry of waivers: in the profile. Only those in Proviso's own namespace count.
  Profile  spec.mode, spec.unknown and spec.policies.ID.mode and .unknown. Objects may only tighten what the file says.

Certificates
  own         an authority of our own in one Secret. A new one is published beside the old before anybody uses it.
  DIR         tls.crt and tls.key, read again when they change.
  --cert-manager with --print-config lets cert-manager make them. --client-ca demands the API server's client certificate;
  without it anybody who reaches the port can make requests up, and the log says "caller":"unauthenticated".
  proviso_certificate_expires_seconds is the time that is left.

Running
  /readyz is true while the certificate is valid, the policies are loaded, the watches are alive, and an object that must be
  denied is denied through our own port. proviso_canary_denied{way="apiserver"} says whether the API server still asks us,
  proviso_configuration_gaps in how much the webhook configuration falls short of what the policies want (-1 where that
  cannot be read); the log names each gap. Alert on both: no webhook is asked about changes of its own configuration.
  Profile and policies are read again when they change, all or nothing: what cannot be read, or needs what is not installed,
  is refused and the last good policies stay. Apply what --print-config prints now, and it is loaded. A restart loads it
  either way, and the gaps are an alarm. SIGTERM drains for --drain.

Evidence
  serve --evidence DIR --key KEY records each request that is judged, before it is answered: what was asked and by whom, what
  was known around it, each verdict, what the API server was told. One folder, on a volume of its own, for each replica.
  With evidence: {mode: M} the profile says what becomes of a request of which no record can be kept; there is no default.
    strict    it is denied, on the ignore webhook too. A replica that cannot record is not ready; where none is, the API
              server lets in what the ignore webhook watches, as in any outage: failurePolicy moves a kind.
    blocking  it waits (wait: 250ms), is answered, and a signed gap says so.
    batch     nothing waits; what is lost when the machine stops is seen, and what cannot be written is a signed gap.
  maxBytes: (10Gi) bounds the folder: where it is reached the disk counts as full. heartbeat: (1m) is a sign of life.
  Dry runs and updates that nobody judges leave no record; they are counted. Reloads, refused ones too, waivers, and the
  webhook configuration when it changes are on record. proviso_evidence_trouble is 1 while something cannot be written or
  signed, proviso_evidence_lost_total counts what went without a record.
  The folder is sealed each hour, each day at least where little comes, and at the end: every file of it is signed. With
  --copy s3://BUCKET/PREFIX --keep 6y what is sealed is copied into a bucket under object lock (proviso evidence copy --help
  says what that needs). While the bucket does not answer requests are answered all the same, and the copy is tried again:
  proviso_evidence_copied_timestamp_seconds says when it was made last, and proviso_evidence_copy_refused is 1 where the bucket
  tells of another history than the folder.
  --reports DIR --trust KEY reads the evidence folder of scans, and denies the restore of a backup that they say fails, or
  never saw: a failure stands until a scan of the same source, by that policy, says otherwise. What is printed mounts no such
  folder: have the scan's CronJob and serve share a volume.
  --print-config with --evidence makes a StatefulSet with a volume for each replica, and mounts the key from a Secret.
  The API server's audit log bears each record's digest (record, beside decision and policy-set). Requests that the API
  server let in while nobody answered are in no record: proviso evidence reconcile finds them in that log.

In the API server itself
  proviso bundle export-vap writes what CEL alone can decide as ValidatingAdmissionPolicies: a floor that holds when every
  replica is down.

When it is in the way
  kubectl delete validatingwebhookconfiguration proviso
`
