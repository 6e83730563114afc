package velero

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// lastApplied is the annotation in which kubectl keeps a whole object, a Secret's data with it.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// parse reads one object of a tarball, strictly, and takes the contents of Secrets out of it. Its errors tell a place and
// nothing of the text there, for any entry may be a Secret.
func parse(text string, limits Limits) (map[string]any, error) {
	doc, err := decode.JSON(text, "", decode.Limits{Bytes: int(limits.Entry)})
	if err != nil {
		var at *decode.Error
		if errors.As(err, &at) && at.Line > 0 {
			return nil, fmt.Errorf("it cannot be parsed as JSON, at line %d, column %d", at.Line, at.Column)
		}
		return nil, errors.New("it cannot be parsed as JSON")
	}
	object, ok := doc.Value.(map[string]any)
	if !ok {
		return nil, errors.New("it is no JSON object")
	}
	redact(object, "")
	return object, nil
}

// redact replaces every value of a Secret's data by its digest, in the object and in the items of a list.
func redact(object map[string]any, kind string) {
	if k, ok := object["kind"].(string); ok {
		kind = k
	}
	version, _ := object["apiVersion"].(string)
	if items, ok := object["items"].([]any); ok {
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				redact(m, strings.TrimSuffix(kind, "List"))
			}
		}
	}
	if kind != "Secret" || strings.Contains(version, "/") {
		return
	}
	for key, v := range object {
		switch key {
		case "apiVersion", "kind", "type", "immutable", "items":
		case "metadata":
			meta, _ := v.(map[string]any)
			if notes, ok := meta["annotations"].(map[string]any); ok && notes[lastApplied] != nil {
				notes[lastApplied] = digested(notes[lastApplied])
			}
		default: // data, stringData, and whatever else somebody may have put into it
			values, ok := v.(map[string]any)
			if !ok {
				object[key] = digested(v)
				continue
			}
			for k, value := range values {
				values[k] = digested(value)
			}
		}
	}
}

// digested is the digest of a text, or of another value's JSON. Base64 is digested as it is written.
func digested(v any) any {
	if v == nil {
		return nil
	}
	text, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v) // what was decoded can be encoded
		text = string(b)
	}
	return string(digestOf(sha256.Sum256([]byte(text))))
}

func digestOf(sum [sha256.Size]byte) engine.Digest {
	return engine.Digest("sha256:" + hex.EncodeToString(sum[:]))
}
