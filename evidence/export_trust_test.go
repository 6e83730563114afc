//go:build unix

package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/evidence"
)

// An auditor must believe who exported and who judged, each for itself.
func TestExportTrust(t *testing.T) {
	f, k := export(t)
	exporter := newKey(t)
	by := f.clone().reexported(t, exporter, func(m *evidence.Manifest) { m.Signed = []uint64{} })
	for name := range by {
		if strings.HasPrefix(name, "bundles/") || strings.HasPrefix(name, "proofs/") {
			delete(by, name)
		}
	}
	by.reexported(t, exporter, nil)
	trusted := func(k key, change ...func(*evidence.TrustedKey)) evidence.TrustedKey {
		one := evidence.TrustedKey{Key: k.public(t), Name: "named"}
		for _, c := range change {
			c(&one)
		}
		return one
	}
	expired := func(k *evidence.TrustedKey) { k.NotAfter = readAt.Add(-time.Second) }
	early := func(k *evidence.TrustedKey) { k.NotBefore = readAt.Add(time.Second) }
	elsewhere := func(k *evidence.TrustedKey) { k.Origins = []string{"other"} }
	head := [][]byte{f["evidence/log/checkpoint"].Data}
	for name, c := range map[string]struct {
		f                folder
		trust            []evidence.TrustedKey
		against          [][]byte
		code, what       string
		signer, exporter bool
	}{
		"nobody":                    {f: f},
		"nobody, two keys":          {f: by},
		"the one key":               {f: f, trust: []evidence.TrustedKey{trusted(k)}, signer: true, exporter: true},
		"somebody else":             {f: f, trust: []evidence.TrustedKey{trusted(exporter)}, code: evidence.KeyUntrusted},
		"both":                      {f: by, trust: []evidence.TrustedKey{trusted(k), trusted(exporter)}, signer: true, exporter: true},
		"the producer alone":        {f: by, trust: []evidence.TrustedKey{trusted(k)}, code: evidence.KeyUntrusted, signer: true},
		"the exporter alone":        {f: by, trust: []evidence.TrustedKey{trusted(exporter)}, code: evidence.KeyUntrusted, exporter: true},
		"an expired exporter":       {f: by, trust: []evidence.TrustedKey{trusted(k), trusted(exporter, expired)}, code: evidence.KeyExpired, signer: true},
		"an exporter to be":         {f: by, trust: []evidence.TrustedKey{trusted(k), trusted(exporter, early)}, code: evidence.KeyNotYetValid, signer: true},
		"an exporter of other logs": {f: by, trust: []evidence.TrustedKey{trusted(k), trusted(exporter, elsewhere)}, code: evidence.KeyUntrusted, signer: true},
		"an expired key":            {f: f, trust: []evidence.TrustedKey{trusted(k, expired)}, code: evidence.KeyExpired},
		// A head that somebody kept dates the log, and not the manifest.
		"an expired key, but a head kept":       {f: f, trust: []evidence.TrustedKey{trusted(k, expired)}, against: head, code: evidence.KeyExpired, what: "manifest.pub: the key is trusted until", signer: true},
		"an expired key, a head kept, two keys": {f: by, trust: []evidence.TrustedKey{trusted(k, expired), trusted(exporter)}, against: head, signer: true, exporter: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := evidence.Options{Against: c.against}
			if c.trust != nil {
				o.Trust = &evidence.Trust{Keys: c.trust}
			}
			v := c.f.verify(t, o)
			if c.code != "" {
				refused(t, v, c.code, c.what)
			} else if v.ExitCode() != evidence.ExitVerified {
				t.Errorf("problems %v, holes %v", v.Problems, v.Holes)
			}
			if v.Established != c.signer || v.Export.Established != c.exporter {
				t.Errorf("established: signer %v, exporter %v; want %v, %v", v.Established, v.Export.Established, c.signer, c.exporter)
			}
			var text bytes.Buffer
			if err := v.Text(&text); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(text.String(), "not established: checked against"); n != btoi(!c.signer)+btoi(!c.exporter) {
				t.Errorf("%d keys are said not to be established:\n%s", n, &text)
			}
		})
	}
}
