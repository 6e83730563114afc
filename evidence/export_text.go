package evidence

import (
	"crypto/ed25519"
	_ "embed" // VERIFY.md
	"errors"
	"fmt"
	"io"
	"strings"
)

// instructionsText is how to check an export without us: each block is run from the unpacked folder by a plain sh, says what it
// found, and ends with 0 only where that holds. They write below a folder of their own, for the bundle lists what it holds.
//
//go:embed export_VERIFY.md
var instructionsText string

// instructions is VERIFY.md of this export.
func (e *exporting) instructions() []byte {
	inputs := map[string]bool{}
	for i := range e.parts {
		inputs[e.parts[i].Path] = true
	}
	var judged, alone []string // what is signed on its own, with what was judged and without
	for _, seq := range e.m.Signed {
		if inputs[bundleInput(seq)] {
			judged = append(judged, fmt.Sprintf("%010d", seq))
		} else {
			alone = append(alone, fmt.Sprintf("%010d", seq))
		}
	}
	text := instructionsText
	section := func(name string, keep bool) {
		before, rest, _ := strings.Cut(text, "<!-- "+name+" -->\n")
		within, after, _ := strings.Cut(rest, "<!-- end -->\n")
		if !keep {
			within = ""
		}
		text = before + within + after
	}
	section("simulated", len(e.simulations) > 0)
	section("sealed", inputs[ExportDir+"/"+SealDir(1)+"/"+SealStatement])
	section("signed", len(e.m.Signed) > 0)
	section("signed inputs", len(judged) > 0)
	section("signed alone", len(alone) > 0)
	section("judge", !e.o.WithoutInputs)
	section("replay", !e.o.WithoutInputs)
	return []byte(strings.NewReplacer(
		"{{origin}}", oneLine(e.m.Producer.Origin),
		"{{left out}}", oneLine(e.m.Filter.words()),
		"{{records}}", fmt.Sprint(e.m.Records), "{{head}}", fmt.Sprint(e.m.Head.Size),
		"{{export type}}", ExportType, "{{seal type}}", SealType, "{{record type}}", RecordType,
		"{{payload type}}", fmt.Sprintf("DSSEv1 %d %s", len(PayloadType), PayloadType),
		"{{simulated}}", oneLine(strings.Join(e.simulations, "; ")),
		"{{check manifest}}", opensslVerify(e.o.Key, ManifestKey, "pae"),
		"{{check head}}", opensslVerify(e.key, ExportDir+"/"+KeyFile, "text"),
		"{{key}}", e.m.Producer.Key,
		"{{signed}}", fmt.Sprint(len(e.m.Signed)), "{{signed inputs}}", strings.Join(judged, " "), "{{signed alone}}", strings.Join(alone, " "),
	).Replace(text))
}

// opensslVerify is the command that checks $T/sig over a file in $T.
func opensslVerify(k *Key, file, signed string) string {
	if _, ok := k.public.(ed25519.PublicKey); ok {
		return fmt.Sprintf(`openssl pkeyutl -verify -pubin -inkey %s -rawin -sigfile "$T/sig" -in "$T/%s"`, file, signed)
	}
	return fmt.Sprintf(`openssl dgst -sha256 -verify %s -signature "$T/sig" "$T/%s"`, file, signed)
}

// putOSCAL writes the assessment results.
func (e *exporting) putOSCAL() error {
	if e.o.OSCAL == nil {
		e.m.WithoutOSCAL = "none was asked for"
		return nil
	}
	err := e.written(OSCALFile, func(w io.Writer) error { return e.o.OSCAL(w, &Exporting{e.m, e.folder, e.activations, e.exported()}) })
	if why, ok := errors.AsType[*LeftOutError](err); ok {
		e.m.WithoutOSCAL = why.Why
		return nil
	}
	return err
}
