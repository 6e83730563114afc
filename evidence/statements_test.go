//go:build unix

package evidence_test

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"proviso.dev/proviso/evidence"
)

// Statements that are signed and are not what they must be.
func TestStatements(t *testing.T) {
	whole, k := scan(t)
	name := evidence.SealDir(1) + "/" + evidence.SealStatement
	truth := whole.statement(t)
	replaced := func(old, text string) func(testing.TB, []byte) []byte {
		return func(t testing.TB, st []byte) []byte {
			t.Helper()
			if !bytes.Contains(st, []byte(old)) {
				t.Fatalf("the statement has no %s", old)
			}
			return bundleOf(t, k, bytes.Replace(st, []byte(old), []byte(text), 1))
		}
	}
	edit := func(t testing.TB, bundle []byte, pattern, text string) []byte {
		t.Helper()
		re := regexp.MustCompile(pattern)
		if !re.Match(bundle) {
			t.Fatalf("the bundle has no %s", pattern)
		}
		return re.ReplaceAll(bundle, []byte(text))
	}
	edited := func(pattern, text string) func(testing.TB, []byte) []byte {
		return func(t testing.TB, _ []byte) []byte { return edit(t, whole[name].Data, pattern, text) }
	}
	hint := regexp.MustCompile(`"hint":"[^"]*"`)
	subject := string(truth[bytes.Index(truth, []byte(`{"name":`)):bytes.Index(truth, []byte(`],"predicateType"`))])
	for what, c := range map[string]struct {
		bundle     func(testing.TB, []byte) []byte
		code, text string
	}{
		"SIG-02 wrong predicate type": {replaced(evidence.SealType, evidence.ExportType), evidence.WrongStatement, "its predicate is of type " + `"` + evidence.ExportType},
		"SIG-02 wrong statement type": {replaced(evidence.StatementType, "https://in-toto.io/Statement/v0.1"), evidence.WrongStatement, "Statement/v0.1"},
		"SIG-02 no subject":           {replaced(subject, ""), evidence.WrongStatement, "it has 0 subjects: want one"},
		"SIG-02 two subjects":         {replaced(subject, subject+","+subject), evidence.WrongStatement, "it has 2 subjects: want one"},
		"SIG-02 another subject":      {replaced(`"name":"files.json"`, `"name":"others.json"`), evidence.FileAltered, "it is not the list that was signed"},
		"SIG-02 two digests":          {replaced(`"digest":{`, `"digest":{"md5":"",`), evidence.FileAltered, "it is not the list that was signed"},
		"SIG-02 unknown member":       {replaced(`{"_type"`, `{"":1,"_type"`), evidence.WrongStatement, "unknown field"},
		"SIG-02 statement null":       {func(t testing.TB, _ []byte) []byte { return bundleOf(t, k, []byte("null")) }, evidence.WrongStatement, "not as it is written"},
		"SIG-02 statement empty":      {func(t testing.TB, _ []byte) []byte { return bundleOf(t, k, nil) }, evidence.WrongStatement, "EOF"},
		"SIG-02 statement truncated":  {func(t testing.TB, st []byte) []byte { return bundleOf(t, k, st[:len(st)-1]) }, evidence.WrongStatement, "unexpected EOF"},
		"SIG-02 statement and more":   {func(t testing.TB, st []byte) []byte { return bundleOf(t, k, append(st, ' ')) }, evidence.WrongStatement, "not as it is written"},
		"SIG-02 predicate null": {func(t testing.TB, st []byte) []byte {
			return bundleOf(t, k, append(st[:bytes.Index(st, []byte(`"predicate":`))], `"predicate":null}`...))
		}, evidence.WrongStatement, "it has no predicate"},
		"SIG-05 wrong payload type":           {func(t testing.TB, st []byte) []byte { return wrap(t, k, "application/json", st, 1) }, evidence.SignatureInvalid, `the payload is of type "application/json"`},
		"SIG-02 no signature":                 {func(t testing.TB, st []byte) []byte { return wrap(t, k, evidence.PayloadType, st, 0) }, evidence.SignatureInvalid, "0 signatures: want one"},
		"SIG-04 two signatures":               {func(t testing.TB, st []byte) []byte { return wrap(t, k, evidence.PayloadType, st, 2) }, evidence.SignatureInvalid, "2 signatures: want one"},
		"SIG-02 empty signature":              {edited(`"sig":"[^"]*"`, `"sig":""`), evidence.SignatureInvalid, "the signature is not of this key and these bytes"},
		"SIG-02 signature no base64":          {edited(`"sig":"....`, `"sig":"!!!!`), evidence.SignatureInvalid, "signature: illegal base64"},
		"SIG-02 signature padded otherwise":   {edited(`"sig":"([^"]*)"`, `"sig":"$1="`), evidence.SignatureInvalid, "signature: illegal base64"},
		"SIG-02 payload no base64":            {edited(`"payload":"....`, `"payload":"!!!!`), evidence.SignatureInvalid, "payload: illegal base64"},
		"SIG-02 other media type":             {edited(`bundle\.v0\.3`, `bundle.v0.2`), evidence.SignatureInvalid, "v0.2+json"},
		"SIG-05 a certificate beside the key": {edited(`"publicKey":`, `"certificate":{"rawBytes":""},"publicKey":`), evidence.SignatureInvalid, "unknown field"},
		"SIG-05 hint of another key":          {edited(`"hint":"....`, `"hint":"AAAA`), evidence.SignatureInvalid, "it names another key"},
		"SIG-05 signed by another key, named as this": {func(t testing.TB, st []byte) []byte {
			return edit(t, bundleOf(t, newKey(t), st), hint.String(), string(hint.Find(whole[name].Data)))
		}, evidence.SignatureInvalid, "the signature is not of this key and these bytes"},
		"SIG-02 bundle null":                {func(testing.TB, []byte) []byte { return []byte("null") }, evidence.SignatureInvalid, "not as it is written"},
		"SIG-02 bundle empty":               {func(testing.TB, []byte) []byte { return nil }, evidence.SignatureInvalid, "EOF"},
		"SIG-02 bundle a list":              {func(testing.TB, []byte) []byte { return []byte("[]") }, evidence.SignatureInvalid, "cannot unmarshal"},
		"SIG-10 bundle too large":           {func(t testing.TB, st []byte) []byte { return bytes.Repeat([]byte(" "), 4<<20+1) }, evidence.FileAltered, "it has 4194305 bytes: at most 4194304 are read"},
		"SIG-10 bundle of the largest size": {func(t testing.TB, st []byte) []byte { return bytes.Repeat([]byte(" "), 4<<20) }, evidence.SignatureInvalid, "EOF"},
	} {
		t.Run(what, func(t *testing.T) {
			f := whole.clone()
			f.put(name, c.bundle(t, bytes.Clone(truth)))
			refused(t, f.verify(t, evidence.Options{}), c.code, c.text)
		})
	}
}

// SIG-10: a bundle is read up to a size.
func TestBundleSize(t *testing.T) {
	k := newKey(t)
	for size, want := range map[int]string{4 << 20: "EOF", 4<<20 + 1: "it is larger than 4194304 bytes"} {
		if _, err := evidence.OpenBundle(bytes.Repeat([]byte(" "), size), k.public(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, want %q", size, err, want)
		}
	}
}
