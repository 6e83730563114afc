//go:build unix

package evidence_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"proviso.dev/proviso/evidence"
)

// trusting is a trust of one key.
func trusting(t *testing.T, entry map[string]any) *evidence.Trust {
	t.Helper()
	return trustOf(t, string(encoded(t, map[string]any{"keys": []any{entry}})))
}

func trustOf(t *testing.T, text string) *evidence.Trust {
	t.Helper()
	trust, err := evidence.ParseTrust([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// SIG-06: what the key is trusted for, when it is read, what the records say of their time, and what somebody kept.
func TestTrust(t *testing.T) {
	whole, k := scan(t)
	ours := string(k.public(t).PEM())
	origin := whole.producer(t).Origin
	made := whole.records(t)[0].At
	head, before := whole[evidence.CheckpointFile].Data, whole[evidence.SealDir(1)+"/"+evidence.SealPopulation].Data
	type entry = map[string]any
	long := func(d time.Duration) string { return made.Add(d).Format(time.RFC3339) }
	year := 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		trust      *evidence.Trust
		now        time.Time
		against    [][]byte
		code, what string // empty: established
	}{
		"the key":                     {trustOf(t, ours), readAt, nil, "", ""},
		"the key, with bounds":        {trusting(t, entry{"name": "ops", "publicKey": ours, "notBefore": long(-year), "notAfter": long(year), "origins": []string{origin}}), readAt, nil, "", ""},
		"another key":                 {trustOf(t, string(newKey(t).public(t).PEM())), readAt, nil, evidence.KeyUntrusted, "is none of those you trust"},
		"another kind of key":         {trustOf(t, string(edKey(t).public(t).PEM())), readAt, nil, evidence.KeyUntrusted, "is none of those you trust"},
		"the key, for another log":    {trusting(t, entry{"publicKey": ours, "origins": []string{"proviso.dev/evidence/other"}}), readAt, nil, evidence.KeyUntrusted, "the key is trusted for proviso.dev/evidence/other"},
		"not yet valid":               {trusting(t, entry{"publicKey": ours, "notBefore": long(year)}), readAt, nil, evidence.KeyNotYetValid, "cosign.pub: the key is trusted from"},
		"backdated":                   {trusting(t, entry{"publicKey": ours, "notBefore": long(year)}), made.Add(2 * year), nil, evidence.KeyNotYetValid, "record 0: it says it was made at"},
		"expired":                     {trusting(t, entry{"publicKey": ours, "notAfter": long(time.Hour)}), made.Add(year), nil, evidence.KeyExpired, "and nobody else says that it signed the 8 records after record 0 before"},
		"expired, and kept in time":   {trusting(t, entry{"publicKey": ours, "notAfter": long(time.Hour)}), made.Add(year), [][]byte{head}, "", ""},
		"expired, and grown since":    {trusting(t, entry{"publicKey": ours, "notAfter": long(time.Hour)}), made.Add(year), [][]byte{before}, evidence.KeyExpired, "nobody else says that it signed the 5 records after record 3"},
		"expired, and nothing kept":   {trusting(t, entry{"publicKey": ours, "notAfter": long(time.Hour)}), made.Add(year), [][]byte{headOf(t, k, origin, nil, 0)}, evidence.KeyExpired, "the 8 records after record 0"},
		"expired before it signed":    {trusting(t, entry{"publicKey": ours, "notAfter": long(-time.Hour)}), made.Add(year), [][]byte{head}, evidence.KeyExpired, "record 0: it says it was made at"},
		"expires at that instant":     {trusting(t, entry{"publicKey": ours, "notAfter": long(year)}), made.Add(year).Truncate(time.Second), nil, "", ""},
		"begins at that instant":      {trusting(t, entry{"publicKey": ours, "notBefore": long(0)}), made.Truncate(time.Second), nil, "", ""},
		"kept by a stranger's record": {trusting(t, entry{"publicKey": ours, "notAfter": long(time.Hour)}), made.Add(year), [][]byte{[]byte("no checkpoint")}, evidence.OtherLog, "--against 1: open checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			v := whole.verify(t, evidence.Options{Trust: c.trust, Now: c.now, Against: c.against})
			if c.code == "" {
				if v.ExitCode() != evidence.ExitVerified || !v.Established {
					t.Errorf("exit code %d, established %v: %v", v.ExitCode(), v.Established, v.Problems)
				}
				return
			}
			refused(t, v, c.code, c.what)
			if v.Established && !strings.Contains(name, "stranger") && !strings.Contains(name, "before it signed") && name != "backdated" {
				t.Error("the signer is established")
			}
		})
	}
	if v := whole.verify(t, evidence.Options{}); v.Established {
		t.Error("the key in the folder says who signed")
	}
	if _, err := evidence.Verify(fstest.MapFS(whole), evidence.Options{Trust: trustOf(t, ours)}); err == nil || !strings.Contains(err.Error(), "no time is given") {
		t.Errorf("trust without a time: %v", err)
	}
}

func edKey(t testing.TB) key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key{private}
}

// SIG-04, SIG-05: what is taken as a key, and as trust.
func TestParseTrust(t *testing.T) {
	ours := string(newKey(t).public(t).PEM())
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	entry := func(more string) string { return `{"publicKey":` + string(encoded(t, ours)) + more + `}` }
	for name, c := range map[string]struct{ text, want string }{
		"nothing":                {"", "neither a public key"},
		"null":                   {"null", "it names no key"},
		"no keys":                {`{"keys":[]}`, "it names no key"},
		"key that is null":       {`{"keys":[null]}`, "keys[0]: key: want one PEM block"},
		"unknown member":         {`{"keys":[` + entry(`,"x":1`) + `]}`, "unknown field"},
		"more after it":          {`{"keys":[` + entry("") + `]} {}`, "there is more after it"},
		"a bracket after it":     {`{"keys":[` + entry("") + `]}]`, "there is more after it"},
		"a brace after it":       {`{"keys":[` + entry("") + `]}}`, "there is more after it"},
		"one key twice":          {`{"keys":[` + entry("") + "," + entry("") + `]}`, "keys[1]: the key is there twice"},
		"one key, two names":     {`{"keys":[` + entry(`,"name":"a"`) + "," + entry(`,"name":"b"`) + `]}`, "keys[1]: the key is there twice"},
		"one key, two spellings": {`{"keys":[` + entry("") + `,{"publicKey":` + string(encoded(t, "\n"+ours+"\n\n")) + `}]}`, "keys[1]: the key is there twice"},
		"ends before it begins":  {`{"keys":[` + entry(`,"notBefore":"2026-02-01T00:00:00Z","notAfter":"2026-01-01T00:00:00Z"`) + `]}`, "notAfter is before notBefore"},
		"RSA":                    {string(pemOf(t, long.Public())), "want ECDSA on P-256 or Ed25519"},
		"P-384":                  {string(pemOf(t, p384.Public())), "want P-256"},
		"two keys in PEM":        {ours + ours, "want one PEM block"},
		"private key":            {strings.ReplaceAll(ours, "PUBLIC", "PRIVATE"), "want one PEM block PUBLIC KEY"},
		"too large":              {ours + strings.Repeat("\n", 1<<20), "larger than 1048576 bytes"},
	} {
		if trust, err := evidence.ParseTrust([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v: want %q", name, trust, err, c.want)
		}
	}
	if _, err := evidence.ParseTrust([]byte(ours + strings.Repeat("\n", 1<<20-len(ours)))); err != nil {
		t.Errorf("as large as is read: %v", err)
	}
}

func pemOf(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// SIG-05: an Ed25519 log is verified as one, and neither kind of key passes for the other.
func TestKinds(t *testing.T) {
	ed := edKey(t)
	whole := folderOf(t, ed, "cluster-ed", 2).sealed(t)
	ec, _ := scan(t)
	for _, name := range []string{evidence.KeyFile, evidence.CheckpointFile, evidence.SealDir(1) + "/" + evidence.SealStatement} {
		f := whole.clone()
		f[name] = ec[name]
		refused(t, f.verify(t, evidence.Options{}), evidence.SignatureInvalid, "")
	}
	// The checkpoint names the key by four bytes: they are that key's, or it is not read.
	f := whole.clone()
	f.edit(evidence.CheckpointFile, func(b []byte) []byte {
		at := bytes.LastIndexByte(b, ' ') + 1
		return append(b[:at:at], bytes.Replace(b[at:], b[at:at+4], []byte("AAAA"), 1)...)
	})
	refused(t, f.verify(t, evidence.Options{}), evidence.SignatureInvalid, "no signature of it is of this key and this log")
}

// F14, F15, F31: what only a checkpoint that somebody else kept can tell.
func TestAgainst(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	scanInto(t, dir, k, "cluster-a", 3)
	old := read(t, dir).sealed(t)
	scanInto(t, dir, k, "cluster-a", 3)
	grown := read(t, dir).sealed(t)
	origin := old.producer(t).Origin
	oldHead, newHead := old[evidence.CheckpointFile].Data, grown[evidence.CheckpointFile].Data
	// The insider tells another story from the second record on, of the same length, and a shorter one.
	in := insider{key: k}
	story := old.records(t)
	story[3].Decision.Results[0].Verdict = "fail"
	story[6].Close.Counts.Pass, story[6].Close.Counts.Fail = story[6].Close.Counts.Pass-1, story[6].Close.Counts.Fail+1
	other := in.resign(t, old, story).sealed(t)
	all := grown.records(t)
	cut := in.resign(t, old, all[:7]).sealed(t)
	for name, c := range map[string]struct {
		f          folder
		against    [][]byte
		code, what string
	}{
		"what it was":                           {old, [][]byte{oldHead}, "", ""},
		"what it was, and an earlier head":      {old, [][]byte{old[evidence.SealDir(1)+"/"+evidence.SealPopulation].Data, oldHead}, "", ""},
		"grown since":                           {grown, [][]byte{oldHead, newHead}, "", ""},
		"an old copy in its place":              {old, [][]byte{newHead}, evidence.Rollback, "the log had 14 records then and has 7 now"},
		"cut off and signed anew":               {cut, [][]byte{newHead}, evidence.Rollback, "the log had 14 records then and has 7 now"},
		"another story of the same length":      {other, [][]byte{oldHead}, evidence.SplitView, "--against 1: the records give another root at 7"},
		"another story, and its own head":       {other, [][]byte{other[evidence.CheckpointFile].Data, oldHead}, evidence.SplitView, "--against 2"},
		"another story than the head before it": {other, [][]byte{headOf(t, k, origin, old.lines(evidence.RecordsFile(0)), 4)}, evidence.SplitView, "another root at 4"},
		"a head of another log":                 {old, [][]byte{folderOf(t, k, "cluster-b", 1)[evidence.CheckpointFile].Data}, evidence.OtherLog, "no signature of it is of this key and this log"},
		"a head by another key":                 {old, [][]byte{headOf(t, newKey(t), origin, old.lines(evidence.RecordsFile(0)), 7)}, evidence.OtherLog, "no signature of it is of this key and this log"},
		"a head that is empty":                  {old, [][]byte{nil}, evidence.OtherLog, "malformed note"},
		"a head that is too large":              {old, [][]byte{append(bytes.Clone(oldHead), make([]byte, 64<<10)...)}, evidence.OtherLog, "larger than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			v := c.f.verify(t, evidence.Options{Against: c.against})
			if c.code == "" {
				if v.ExitCode() != evidence.ExitVerified {
					t.Errorf("%v %v", v.Problems, v.Holes)
				}
				return
			}
			refused(t, v, c.code, c.what)
		})
	}
	// Without it both stories verify, and the reader is told what was not checked.
	for _, f := range []folder{old, other, cut} {
		if v := f.verify(t, evidence.Options{}); v.ExitCode() != 0 || !strings.Contains(strings.Join(v.Unchecked, "\n"), "the newest and only copy") {
			t.Errorf("exit code %d, not checked: %v", v.ExitCode(), v.Unchecked)
		}
	}
	// The newest seal is taken away: what came after the one before is not sealed.
	f := grown.clone()
	for name := range f {
		if strings.HasPrefix(name, evidence.SealDir(2)) {
			delete(f, name)
		}
	}
	if v := f.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitIncomplete {
		t.Errorf("newest seal gone: %v", v.Problems)
	} else {
		tells(t, v.Holes, evidence.Unsealed, "7 records came after the newest seal")
	}
	for name, do := range map[string]func(folder){
		"sealed record cut":  func(f folder) { f.put(evidence.RecordsFile(0), bytes.Join(f.lines(evidence.RecordsFile(0))[:5], nil)) },
		"sealed input cut":   func(f folder) { f.put(evidence.InputsFile(0), bytes.Join(f.lines(evidence.InputsFile(0))[:1], nil)) },
		"sealed input other": func(f folder) { erase(t, f, 0, "") },
		"salt altered":       func(f folder) { f.put(evidence.SaltFile, make([]byte, 32)) },
		"object removed":     func(f folder) { delete(f, evidence.ObjectFile(f.seal(t).Population.List)) },
		"file unlisted":      func(f folder) { f.put("seals/000003/files.json", nil) },
	} {
		g := f.clone()
		do(g)
		if v := g.verify(t, evidence.Options{}); v.ExitCode() != evidence.ExitUnverified {
			t.Errorf("newest seal gone and %s: exit code %d", name, v.ExitCode())
		}
	}
	// Seals in another order: the second is numbered first and signed so.
	f = grown.clone()
	for _, file := range []string{evidence.SealFiles, evidence.SealCheckpoint, evidence.SealPopulation, evidence.SealStatement} {
		one, two := evidence.SealDir(1)+"/"+file, evidence.SealDir(2)+"/"+file
		f[one], f[two] = f[two], f[one]
	}
	for n := range 2 {
		name := evidence.SealDir(n+1) + "/" + evidence.SealStatement
		var b struct{ DSSEEnvelope struct{ Payload []byte } }
		if err := json.Unmarshal(f[name].Data, &b); err != nil {
			t.Fatal(err)
		}
		f.put(name, bundleOf(t, k, bytes.Replace(b.DSSEEnvelope.Payload, fmt.Appendf(nil, `"number":%d`, 2-n), fmt.Appendf(nil, `"number":%d`, n+1), 1)))
	}
	refused(t, f.verify(t, evidence.Options{}), evidence.OrderBroken, "seals/000002/statement.sigstore.json: it speaks of what was before the seal before it")
}

// A checkpoint is three lines, written in one way.
func TestCheckpoints(t *testing.T) {
	k := newKey(t)
	const origin, root = "log", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
	for text, want := range map[string]string{
		origin + "\n0\n" + root + "\n":                      "",
		origin + "\n0\n" + root + "\nmore\n":                "want three lines",
		origin + "\n0\n":                                    "want three lines",
		origin + "\n00\n" + root + "\n":                     `the size "00" is no number`,
		origin + "\n-1\n" + root + "\n":                     `the size "-1" is no number`,
		origin + "\n9223372036854775808\n" + root + "\n":    `the size "9223372036854775808" is no number`,
		origin + "\n0\nAAAA\n":                              "the root is no hash",
		origin + "\n0\n" + strings.Repeat("A", 42) + "B=\n": "the root is no hash",
		"other\n0\n" + root + "\n":                          "it is of the log other, not of log",
	} {
		_, err := evidence.OpenCheckpoint(signedNote(t, k, origin, text), k.public(t), origin)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
