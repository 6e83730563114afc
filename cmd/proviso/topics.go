package main

import "github.com/spf13/cobra"

// topics are the pages of proviso help that belong to no verb.
func topics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "exit-codes", Short: "What the exit codes mean", Long: `Exit codes, the same for every verb and format:

  0  compliant and complete
  1  the tool could not do its job: usage, configuration, or an input named on the command line (or a
     document in it) that cannot be read or parsed; the rest is still judged and reported
  2  incomplete: nothing was checked, something is unknown, or something that exists was not seen
  3  violations
  4  verification failed: a signature, a log, a trust root

Where several hold, 4 wins over 1, 1 over 3, and 3 over 2. --fail-on sets which failures are violations;
--allow-unknown takes unknowns out of code 2 whose sole cause is a fact nobody could answer.`},
		{Use: "verdicts", Short: "What pass, fail, unknown and notApplicable mean, and what is done about them", Long: `Verdicts say what is true:

  pass           the rule ran and found nothing wrong
  fail           the rule ran and says what is wrong, and where
  unknown        it cannot be told: a required field is missing or mistyped, a fact is not known, the rule
                 failed or ran into a limit. Unknown never counts as pass
  notApplicable  the policy is not for this object, or not for this operation

Effects say what is done: deny, warn or record. The profile's mode decides it for failures and its unknown
for unknowns, for all policies or for one. A waiver turns the effect to record until it expires; the policy
is still judged, and a waiver that has expired or hides nothing is reported.`},
		{Use: "profile", Short: "What proviso.yaml may say", Long: `A profile, proviso.yaml in the working directory or the file after --profile, says what an organisation
wants judged. Its JSON Schema is bundles/schema/profile.json in the source tree.

  # yaml-language-server: $schema=https://proviso.dev/schemas/v1alpha1/profile.json
  apiVersion: proviso.dev/v1alpha1
  kind: Profile
  bundles: [builtin, ./policies]          # policies to use; folders are relative to this file
  frameworks: [gdpr, dora]                # only policies that speak to one of these
  mode: deny                              # about failures: deny, warn or record
  unknown: deny                           # about what cannot be told
  parameters: {jurisdictions: [eu]}       # for every policy that has a parameter of that name
  policies:                               # for one policy
    retention/backup-minimum: {mode: warn, parameters: {serverDefault: 720h}}
  labels: {jurisdiction: example.com/jurisdiction}   # the labels that classify your objects
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
      ticket: SEC-204`},
	}
}
