package evidence

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// beside checks the files of an auditor bundle that no other check reads: whether they belong there.
func (v *verification) beside(e *exportCheck) {
	for name := range v.files {
		dir, number, _ := strings.Cut(name, "/")
		if dir != "bundles" && dir != "proofs" {
			continue
		}
		seq, err := strconv.ParseUint(number[:min(10, len(number))], 10, 64)
		if _, signed := slices.BinarySearch(e.m.Signed, seq); err != nil || !signed {
			v.problem(FileUnlisted, name, "the manifest does not say that the record is signed on its own")
		}
	}
	if raw, ok := v.read(TrustedRootFile, maxTrust); ok && string(raw) != TrustedRoot {
		v.problem(FileAltered, TrustedRootFile, "it is not the empty root")
	}
	if v.files[InstructionsFile] == nil {
		v.problem(FileMissing, InstructionsFile, "it is not there")
	}
}

// judgedLeftOut checks that what was judged is not among the values that an export leaves out.
func (v *verification) judgedLeftOut(e *exportCheck) {
	for name := range v.files {
		if len(e.unkept) == 0 || !strings.HasPrefix(name, "inputs/") {
			continue
		}
		err := eachLine(v.fsys, name, func(raw []byte, _ int64, number int) error {
			kept, err := parseKept(raw)
			if err != nil {
				return nil // it was told
			}
			if seq, judged := e.unkept[kept.Digest]; judged && kept.Erased == leftOutText && !v.known[kept.Digest] {
				v.problem(InputMissing, v.run.place(seq), "what was judged, %s, is left out, and the filter does not say so", kept.Digest)
			}
			return nil
		})
		if err != nil {
			v.problem(InputAltered, name, "read: %v", err)
		}
	}
}

// trustExporter settles whether the reader believes who signed the manifest. The producer's own key is as good as it is for the
// log; another must be trusted. Either must be so still: a head that somebody kept says when the log was signed, and nobody says
// when the manifest was.
func (v *verification) trustExporter(e *exportCheck) {
	x := v.Export
	t, holds := v.trusted, v.Established
	if x.Signer != v.Signer {
		if v.o.Trust == nil {
			return
		}
		t, holds = v.trusts(e.key, ManifestKey)
	}
	if t == nil {
		return
	}
	if !t.NotAfter.IsZero() && v.o.Now.After(t.NotAfter) {
		v.problem(KeyExpired, ManifestKey, "the key is trusted until %s, and nobody else says that it signed the manifest before", t.NotAfter.Format(time.RFC3339))
		holds = false
	}
	x.SignerName, x.Established = t.Name, holds
}

// compareSealed holds what an export took from a sealed folder against the newest seal. Records and inputs are as they were
// sealed where nothing is left out, and longer where the folder went on; tiles grow, and what is the producer's alone is never
// exported.
func (e *exportCheck) compareSealed(v *verification, s *sealed) {
	if e.key == nil {
		return
	}
	there := map[string]File{}
	for _, f := range e.m.Files {
		there[f.Path] = f
	}
	whole := v.LeftOut == 0 && !e.m.Filter.WithoutInputs && e.m.Filter.Namespace == ""
	grown := v.Head.Size > s.seal.Size || e.m.Unsigned > 0
	running := v.run.this != nil && !v.run.this.Closed
	for _, f := range s.files.Files {
		inputs := strings.HasPrefix(f.Path, "inputs/")
		grows := strings.HasPrefix(f.Path, "records/") || inputs
		if !strings.HasPrefix(f.Path, SealsDir+"/") && !(grows && whole) {
			continue
		}
		x, exported := there[path.Join(ExportDir, f.Path)]
		same := x.Digest == f.Digest
		if grows && (grown || inputs && running) && x.Size > f.Size {
			d, err := v.digest(f.Path, f.Size)
			same = err == nil && d == f.Digest
		}
		switch {
		case !exported:
			v.problem(FileMissing, f.Path, "the newest seal lists it, and it is not there")
		case !same:
			v.problem(FileAltered, f.Path, "it is not what it was when it was sealed")
		}
	}
}
