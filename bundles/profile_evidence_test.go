package bundles_test

import (
	"strings"
	"testing"
	"time"

	"proviso.dev/proviso/bundles"
)

func TestProfileEvidence(t *testing.T) {
	type limits struct {
		wait, heartbeat time.Duration
		bytes           int64
	}
	for text, c := range map[string]struct {
		want  limits
		wrong string
	}{
		"{mode: strict}": {limits{250 * time.Millisecond, time.Minute, 10 << 30}, ""},
		"{mode: blocking, wait: 1s, heartbeat: 10s, maxBytes: 2Ti}": {limits{time.Second, 10 * time.Second, 2 << 40}, ""},
		"{mode: batch, maxBytes: '100000000'}":                      {limits{250 * time.Millisecond, time.Minute, 100000000}, ""},
		"{wait: 1s}":                                                {wrong: `:3:1: unknown mode "": want strict (no record, no allow), blocking`},
		"{mode: lax}":                                               {wrong: `:3:18: unknown mode "lax"`},
		"{mode: strict, wait: 1s}":                                  {wrong: `only mode blocking waits`},
		"{mode: blocking, wait: soon}":                              {wrong: `"soon": want a duration from 1ms to 30s`},
		"{mode: blocking, wait: 0s}":                                {wrong: `"0s": want a duration`},
		"{mode: strict, heartbeat: 6m}":                             {wrong: `"6m": want a duration from 1s to 1m0s`},
		"{mode: strict, maxBytes: 10}":                              {wrong: `10`},
		"{mode: strict, maxBytes: 1Ki}":                             {wrong: `"1Ki" is no size of a folder`},
		"{mode: strict, maxBytes: 1.5Gi}":                           {wrong: `"1.5Gi" is no size`},
		"{mode: strict, maxBytes: 99999999Ti}":                      {wrong: `"99999999Ti" is no size`},
		"{mode: strict, maxBytes: -64Mi}":                           {wrong: `"-64Mi" is no size`},
		"{mode: strict, keep: all}":                                 {wrong: `keep`},
		"{mode: strict, wait: }":                                    {wrong: `evidence.wait says nothing`},
	} {
		p, err := bundles.ParseProfile("proviso.yaml", []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\nevidence: "+text+"\n"))
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: error %v, want %q", text, err, c.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var is limits
		if is.wait, is.heartbeat, is.bytes = p.Evidence.Limits(); is != c.want {
			t.Errorf("%s: %+v, want %+v", text, is, c.want)
		}
	}
}
