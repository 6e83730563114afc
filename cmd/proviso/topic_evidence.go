package main

const evidencePage = `Evidence: who judged what, when, with which policies, on which inputs; signed, chained, complete, and checked by tools that
are not ours.

  proviso scan velero:s3://backups cluster:prod --evidence evidence --key awskms:///alias/audit
  proviso evidence verify evidence --trust auditor/cosign.pub
  proviso evidence replay evidence

A folder of evidence is one log with one writer: a record for every subject that was judged, with every verdict as it is, the
policies, parameters and waivers in force, what was judged and what was known around it. evidence/FORMAT.md in the sources
has every file and field. A second scan into the same folder continues its log.

A scan first lists all there is, keeps it, and has the list signed; only then it judges. So nothing can be left out after its
verdict is known: each item of the list has a result, or is a hole with a name.

Who signs: --key is a cosign.key (its password in COSIGN_PASSWORD), a key of a KMS (awskms://, gcpkms://, azurekms://,
hashivault://) or k8s://NAMESPACE/SECRET: ECDSA on P-256, or Ed25519. Without it a key is made in your configuration folder.
Whoever checks must have the public key from you by another way than the evidence. A log has one key for life: to replace it,
proviso evidence rotate ends the log and begins the one that goes on.

Who checks: proviso evidence verify, or proviso-verify, a small program that has no policy language and asks no network; and
without either

  cosign verify-blob-attestation --key cosign.pub --bundle evidence/seals/000001/statement.sigstore.json \
    --new-bundle-format --trusted-root evidence/trusted_root.json --insecure-ignore-tlog \
    --type https://proviso.dev/evidence/seal/v1 evidence/seals/000001/files.json

whose list has the digest of every other file (sha256sum checks them), and any reader of tlog-tiles, as fsck of
github.com/transparency-dev/tessera, for evidence/log. --insecure-ignore-tlog says that the signature is in no public log: the
log is yours.

Exit codes of verify: 0 verified; 2 verified, and something is declared to be missing: a hole, a gap, a run that was cut
off, records that are not signed yet; 4 it does not verify. Each finding has a code in brackets that does not change. A folder
that is being written is read as it is at that moment, by all of these commands.

What it cannot prove: that there is no other history. Who holds the key and every copy can write one, unless somebody else
keeps a checkpoint (evidence/log/checkpoint, three lines and a signature): verify --against CHECKPOINT says whether what you
are shown continues what you were shown before. Keep a copy under object lock: proviso evidence copy, --copy of
scan and serve.

Secrets never enter: what a Secret holds is replaced by commitments under a salt that is never exported.`
