package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine/host"
)

// topics are the pages of proviso help that belong to no verb.
func topics() []*cobra.Command {
	files := &cobra.Command{Use: "policy-files", Short: "What the files of a policy may say"}
	files.SetHelpFunc(func(c *cobra.Command, _ []string) { // made when it is asked for
		fmt.Fprintln(c.OutOrStdout(), policyFiles+functions())
	})
	profile := &cobra.Command{Use: "profile", Short: "What proviso.yaml may say"}
	profile.SetHelpFunc(func(c *cobra.Command, _ []string) {
		fmt.Fprintf(c.OutOrStdout(), "%s\n\nFrameworks: %s.\n", profilePage, strings.Join(bundles.FrameworkIDs(), ", "))
	})
	return []*cobra.Command{
		files,
		profile,
		{Use: "exit-codes", Short: "What the exit codes mean", Long: `Exit codes, the same for every verb and format:

  0  compliant and complete
  1  the tool could not do its job: usage, configuration, or an input named on the command line (or a
     document in it) that cannot be read or parsed; the rest is still judged and reported
  2  incomplete: nothing was checked, something is unknown, or something that exists was not seen
  3  violations: failures that the profile's mode denies, as it does where it says nothing
  4  verification failed: a signature, a log, a trust root

Where several hold, 4 wins over 1, 1 over 3, and 3 over 2. --fail-on SEVERITY sets which failures are violations, whatever
the mode; --allow-unknown takes unknowns out of code 2 whose sole cause is a fact nobody could answer. Any other
unknown gives 2 whatever the profile's unknown says: say what is missing, or waive it.`},
		{Use: "webhook", Short: "How proviso serve is installed, and what it does", Long: webhookPage},
		{Use: "sources", Short: "What proviso scan can look at", Long: `What proviso scan can look at; several at once are judged as one fleet:

  PATH or -                     files or folders of manifests, or standard input
  velero:DIR                    a copy of a Velero prefix, or of one backup: a folder, .tar, .tar.gz or .tgz
  velero:s3://BUCKET/PREFIX     the same where it lies; the bucket's settings are judged, too
  bucket:s3://BUCKET/PREFIX     an S3 bucket: its settings, and the lock of every object version under the prefix
                                (--sample N: of each N-th)
  bucket:FILE                   a bucket's settings as the provider's command printed them, see below; a folder stands
                                for its .json, .yaml and .yml files
  cloud:FILE                    snapshots, locks, keys and access policies as the provider's command printed them, and
                                format files of kopia and restic repositories, see below; a folder stands for its files
  etcd:FILE                     a snapshot as etcdctl snapshot save writes it
  cluster: or cluster:CONTEXT   a live cluster: the kubeconfig's current context, or the one named

An S3 server that is not Amazon's is named by ?endpoint=URL, and a region by ?region=REGION; quote them for the shell.
Credentials are those of the AWS environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws and so on) and of the kubeconfig.
Everything is only read, nothing is unpacked to disk, and the contents of Secrets go no further than a digest.

Facts stay within the source: the objects of a backup answer for the backup, then --facts. Where a scan has schedules or
backups, every volume claim is joined with what protects it (kind Protection), and where it has a bucket, every
BackupStorageLocation with what was found there (kind StorageLocation). What could not be seen is listed as unread, and
the exit code is 2.

What to save for bucket:. A setting that no file tells is unknown, and what depends on it is not judged.

  AWS, a folder named like the bucket with one file for each call, here of the bucket B; scan bucket:B

    mkdir -p B; for call in get-bucket-location get-bucket-versioning get-object-lock-configuration \
      get-bucket-encryption get-bucket-replication get-bucket-lifecycle-configuration get-bucket-policy \
      get-bucket-policy-status get-public-access-block get-bucket-acl get-bucket-logging get-bucket-tagging
    do
      if aws s3api $call --bucket B --output json > B/$call.json 2> error
      then [ -s B/$call.json ] || echo '{}' > B/$call.json
      else sed -n 's/.*occurred (\([A-Za-z0-9]*\)).*/{"Error": {"Code": "\1"}}/p' error > B/$call.json
      fi
    done

    get-bucket-versioning and get-bucket-logging print nothing where nothing is set: {} stands for that. Others fail
    where nothing is set, with a code such as NoSuchBucketPolicy: {"Error": {"Code": "NoSuchBucketPolicy"}} stands for
    that. B.get-bucket-versioning.json is the same as B/get-bucket-versioning.json.

  AWS, the same merged into one file under any name: the bucket's name, and each answer under the name of its call

    {"Bucket": "B", "GetBucketVersioning": {"Status": "Enabled"}, "GetBucketPolicy": {"Error": {"Code": "NoSuchBucketPolicy"}}}

  Google Cloud

    gcloud storage buckets describe gs://B --raw --format=json > B.json

  Azure, an account A of the group G with its container C; put all in one folder, they are joined by their ids

    az storage account show -n A -g G > account.json
    az storage account blob-service-properties show -n A -g G > blob.json
    az storage account management-policy show --account-name A -g G > lifecycle.json
    az storage container-rm show --storage-account A -g G -n C > container.json

What to save for cloud:, in files of any name, all of one account together: they are joined by their ids.

    aws ec2 describe-snapshots --owner-ids self > snapshots.json
    aws ec2 describe-locked-snapshots > locks.json
    aws ec2 describe-snapshot-attribute --snapshot-id S --attribute createVolumePermission > shared-S.json
    aws kms describe-key --key-id K > key-K.json
    aws kms get-key-rotation-status --key-id K > rotation-K.json
    aws iam get-role-policy --role-name R --policy-name P > policy-R-P.json    (get-user-policy, get-group-policy, get-policy-version, too)
    gcloud compute snapshots list --format=json > snapshots.json
    gcloud kms keys list --location L --keyring R --format=json > keys.json
    az snapshot list > snapshots.json
    kopia.repository, and config of restic beside its folder keys, as they lie in the repository`},
		{Use: "verdicts", Short: "What pass, fail, unknown and notApplicable mean, and what is done about them", Long: `Verdicts say what is true:

  pass           the rule ran and found nothing wrong
  fail           the rule ran and says what is wrong, and where
  unknown        it cannot be told: a required field is missing or mistyped, a fact is not known, the rule
                 failed or ran into a limit. Unknown never counts as pass
  notApplicable  the policy is not for this object, or not for this operation

Effects say what is done: deny, warn or record. The profile's mode decides it for failures and its unknown
for unknowns, for all policies or for one. A waiver turns the effect to record until it expires; the policy
is still judged, and a waiver that has expired or hides nothing is reported.`},
		{Use: "labels", Short: "The labels that classify objects", Long: `Labels on namespaces, claims, schedules and backups say what the data is; policies judge by them. proviso.yaml
renames them under labels:, by the word in the second column.

  proviso.dev/jurisdiction        jurisdiction       where the data of a namespace or claim must stay: eu, us, DE, a set of yours
  proviso.dev/data-class          dataClass          public, internal, confidential, restricted, personal
  proviso.dev/retention-profile   retentionProfile   a name of the parameter minByProfile, such as pci-logs or sox-audit
  proviso.dev/tier                tier               hot, warm, cold, 0, 1, 2, 3, which must be backed up, or none, which need not
  proviso.dev/region              region             the region of a backup location whose provider has no key for it

A label that differs from one of these in the case of its letters alone is not read. It takes nothing from a failure; what
would pass is unknown, and is denied where failures are.`},
	}
}

const profilePage = `A profile, proviso.yaml in the working directory or the file after --profile, says what an organisation
wants judged. Its JSON Schema is bundles/schema/profile.json in the source tree.

  # yaml-language-server: $schema=https://proviso.dev/schemas/v1alpha1/profile.json
  apiVersion: proviso.dev/v1alpha1
  kind: Profile
  bundles: [builtin, ./policies]          # policies to use; folders are relative to this file
  frameworks: [gdpr, dora]                # only policies that speak to one of these; they are listed below
  mode: deny                              # about failures: deny, warn or record. Left out: deny; in serve warn
  unknown: deny                           # about what cannot be told. Left out: deny; on serve's ignore webhook warn
  parameters: {jurisdictions: [eu]}       # for every policy that has a parameter of that name; eu is what ships
  policies:                               # for one policy, by its id or number
    retention/minimum-by-profile: {mode: warn, parameters: {serverDefault: 720h}}
    encryption/endpoint-tls: {disabled: true}        # a waiver, which is dated, is nearly always better
  labels: {jurisdiction: example.com/jurisdiction}   # the labels that classify your objects: proviso help labels
  clusters: [{name: prod, source: prod-context, region: eu-central-1, jurisdiction: eu}]
  regions: [{provider: onprem, region: fra1, country: DE, hosts: [s3.fra1.example.com]}]
  sets: {alps: [AT, CH]}                  # jurisdictions of your own
  waivers:
    - id: W-17
      policy: encryption/storage-class-encrypts
      subjects: {kind: StorageClass, name: legacy-*}
      owner: storage team
      reason: array encrypts; migration ends in January
      approver: ciso@example.com
      expires: 2027-01-31                 # through the end of that day, UTC
      ticket: SEC-204

A parameter set here takes the place of its default, whole. --profile none judges without a profile.`

const policyFiles = `A policy is a folder DOMAIN/NAME. proviso policy new writes one; proviso policy test says what is wrong with it.

policy.yaml
  title, severity, fix      texts; severity is critical, high, medium or low
  ref                       a short number people cite, optional
  match                     rows of {group, kinds, versions, operations}; "" is the core group, "*" any
  when                      one CEL expression; false is notApplicable, an error is unknown
  requires, optional        paths the rule reads, with a type: string, int, number, bool, object, array, duration, quantity;
                            [*] is every element, old. and user. start from the old object and the user
  facts                     name: {group, kind, namespace, name}; a name with a leading dot is taken from the object. Or by
                            labels, or all: true. wildcard: true reads Velero's include lists; optional: true gives null
  strictUpdate              true denies an update for what the old object had already; else that only warns
  params                    a JSON Schema; the defaults of its properties are what ships; fixtures are judged with the first of
                            a property's examples where it has some
  controls                  {framework, id, relation}; relation is satisfies, supports or evidence-for

policy.cel, one expression that yields a list of {"message", "path"}, or policy.rego:

  package <domain>.<name with _>
  violations contains {"message": m, "path": p} if { ... }

Both see object, old, operation, user, params, facts and now (under input in Rego). In CEL write object.?spec.?x.orValue(d)
for what may be absent. good/*.yaml pass; bad/*.yaml fail, and each guilty line ends in  # want "part of the message".
A document of kind AdmissionReview (admission.k8s.io/v1) stands for its request: operation, object, oldObject, userInfo.

To judge by it, name the folder that holds DOMAIN/NAME in proviso.yaml:  bundles: [builtin, ./policies]

Functions of both languages:

`

// functions lists the host functions, from the functions themselves.
func functions() string {
	var b strings.Builder
	for _, f := range host.Functions(nil) {
		var args []string
		for _, a := range f.Args {
			args = append(args, a.Name)
		}
		fmt.Fprintf(&b, "  %s(%s)\n      %s\n", f.Name, strings.Join(args, ", "), f.Doc)
	}
	return strings.TrimRight(b.String(), "\n")
}
