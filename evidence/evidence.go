// Package evidence owns the record of who judged what, when, with which policies and on which inputs; the folder such
// records lie in; and the checking of both. It verifies with the standard library and golang.org/x/mod alone, offline, and
// knows no policy language and no cluster. FORMAT.md beside it is the same in words.
//
// Start at [Record], [OpenFolder] and [Verify].
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"proviso.dev/proviso/engine"
)

// The types of what is signed, URIs that never change their meaning.
const (
	// RecordType is the type of a record, and of the predicate of a bundle about one record.
	RecordType = "https://proviso.dev/evidence/record/v1"
	// SealType is the predicate type of the statement that seals a folder.
	SealType = "https://proviso.dev/evidence/seal/v1"
	// ExportType is the predicate type of the statement about an auditor bundle.
	ExportType = "https://proviso.dev/evidence/export/v1"
	// StatementType is in-toto's Statement v1.
	StatementType = "https://in-toto.io/Statement/v1"
	// PayloadType is that of an in-toto statement in a DSSE envelope.
	PayloadType = "application/vnd.in-toto+json"
)

// DigestOf is the digest of bytes.
func DigestOf(b []byte) engine.Digest {
	sum := sha256.Sum256(b)
	return engine.Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Encode writes a value as evidence keeps it: one line of JSON without a line end, members of structs in their order and
// keys of maps sorted, nothing escaped that need not be.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	return replaced(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// replaced writes U+FFFD as itself: encoding/json escapes it where it stands for bytes that are no UTF-8, and nowhere else,
// so that reading and writing again would give another text.
func replaced(text []byte) []byte {
	const escaped, itself = `\ufffd`, "\uFFFD"
	if !bytes.Contains(text, []byte(escaped)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] != '\\':
			out = append(out, text[i])
		case bytes.HasPrefix(text[i:], []byte(escaped)):
			out = append(out, itself...)
			i += len(escaped) - 1
		default: // what follows a backslash is no start of an escape
			out = append(out, text[i], text[i+1])
			i++
		}
	}
	return out
}

// Decode reads what Encode wrote, byte for byte: unknown members, other orders and other spellings of the same value are
// errors, so that nothing can be altered without being seen.
func Decode(raw []byte, into any) error {
	if _, record := into.(*Record); record {
		if err := Readable(raw); err != nil {
			return err
		}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decode evidence: %w", err)
	}
	again, err := Encode(into)
	if err != nil {
		return err
	}
	if !bytes.Equal(raw, again) {
		return errNotCanonical
	}
	return nil
}

const (
	// MaxLine is how many bytes a line of inputs may have, and one of the list of a population; MaxRecord how many one of
	// records may have.
	MaxLine   = 64 << 20
	MaxRecord = 8 << 20
	// maxMembers is how many commas a record may have outside its texts, each of which begins a member or an element: three
	// bytes of text may be two hundred in memory. A thousand policies that all speak of one subject have fewer.
	maxMembers = 1 << 17
)

// Readable reports why the line of a record is more than readers take. A writer asks before it writes.
func Readable(line []byte) error {
	if len(line) > MaxRecord {
		return fmt.Errorf("the record has %d bytes: at most %d can be read again", len(line), MaxRecord)
	}
	members, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++
		case ',':
			if !quoted {
				members++
			}
		}
	}
	if members > maxMembers {
		return fmt.Errorf("the record has %d members and elements: at most %d can be read again", members, maxMembers)
	}
	return nil
}

var errNotCanonical = errors.New("decode evidence: the text is not as it is written: something was altered or added")
