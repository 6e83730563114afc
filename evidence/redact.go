package evidence

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine"
)

const commitment = "commitment:"

// InputOf is a subject as it is kept, what Secrets hold replaced by commitments under the salt. The subject is not altered.
func InputOf(sub *engine.Subject, salt []byte) Input {
	return Input{APIVersion: sub.APIVersion, Kind: sub.Kind, Namespace: sub.Namespace, Name: sub.Name, Operation: sub.Operation,
		Object: faithfulMap(Redacted(sub.Object, salt)), Old: faithfulMap(Redacted(sub.Old, salt)), User: faithfulMap(sub.User), Source: sub.Origin.Source}
}

// KeptFact is the value of a fact as it is kept.
func KeptFact(v any, salt []byte) any { return faithful(RedactedValue(v, salt)) }

// faithful is v with floats that are whole written so that they are floats when they are read again: 1.0, not 1. What has
// none is returned as it is.
func faithful(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e21 {
			return json.RawMessage(strconv.FormatFloat(v, 'f', 1, 64))
		}
	case map[string]any:
		return faithfulMap(v)
	case []any:
		for i, e := range v {
			if kept, changed := changed(e); changed {
				v = slices.Clone(v)
				v[i] = kept
				for j := i + 1; j < len(v); j++ {
					v[j] = faithful(v[j])
				}
				return v
			}
		}
	}
	return v
}

// changed is faithful of an element, and whether that is another value.
func changed(v any) (any, bool) {
	kept := faithful(v)
	switch was := v.(type) {
	case float64:
		_, still := kept.(float64)
		return kept, !still
	case map[string]any:
		return kept, len(was) > 0 && reflect.ValueOf(was).Pointer() != reflect.ValueOf(kept).Pointer()
	case []any:
		return kept, len(was) > 0 && reflect.ValueOf(was).Pointer() != reflect.ValueOf(kept).Pointer()
	}
	return kept, false
}

func faithfulMap(m map[string]any) map[string]any {
	copied := false
	for key, e := range m {
		if kept, changed := changed(e); changed {
			if !copied {
				m, copied = maps.Clone(m), true
			}
			m[key] = kept
		}
	}
	return m
}

// Subject is what was kept, ready to be judged again.
func (in *Input) Subject() engine.Subject {
	return engine.Subject{APIVersion: in.APIVersion, Kind: in.Kind, Namespace: in.Namespace, Name: in.Name, Operation: in.Operation,
		Object: in.Object, Old: in.Old, User: in.User, Origin: engine.Origin{Source: in.Source}}
}

// Redacted is the object without what a Secret holds: commitments in its place, which are equal where the values are. Other
// objects are returned as they are; so are lists of objects within them, but for Secrets among their items.
func Redacted(object map[string]any, salt []byte) map[string]any {
	if items, ok := object["items"].([]any); ok {
		kept := make([]any, len(items))
		for i, item := range items {
			if secret, ok := item.(map[string]any); ok && kindIs(object, "SecretList") {
				kept[i] = redactedSecret(secret, salt) // its items need not name their kind
			} else {
				kept[i] = RedactedValue(item, salt)
			}
		}
		object = maps.Clone(object)
		object["items"] = kept
	}
	if isSecret(object) {
		return redactedSecret(object, salt)
	}
	return object
}

// isSecret tells a core Secret, and what somebody meant to be one, from kinds of that name in other groups: those have a dot, and
// none of Kubernetes' own has such a kind.
func isSecret(object map[string]any) bool {
	version, _ := object["apiVersion"].(string)
	group, _, grouped := strings.Cut(version, "/")
	other := grouped && strings.Contains(group, ".") && !strings.HasSuffix("."+group, ".k8s.io")
	return (kindIs(object, "Secret") || kindIs(object, "Secrets")) && !other
}

func kindIs(object map[string]any, want string) bool {
	kind, _ := object["kind"].(string)
	return strings.EqualFold(strings.TrimSpace(kind), want)
}

// redactedSecret keeps what names and sorts a Secret, and the keys of what it holds. Any other field may hold a secret, too: an
// annotation, one that is spelt wrong.
func redactedSecret(object map[string]any, salt []byte) map[string]any {
	kept := make(map[string]any, len(object))
	for key, v := range object {
		switch key {
		case "apiVersion", "kind", "type":
			kept[key] = ifText(v, salt)
		case "immutable":
			if kept[key] = v; v != true && v != false {
				kept[key] = committed(v, salt)
			}
		case "metadata":
			kept[key] = redactedMeta(v, salt)
		case "data", "stringData":
			kept[key] = committedKeys(v, salt)
		default:
			kept[key] = committed(v, salt)
		}
	}
	return kept
}

func redactedMeta(v any, salt []byte) any {
	meta, ok := v.(map[string]any)
	if !ok {
		return committed(v, salt)
	}
	kept := make(map[string]any, len(meta))
	for key, v := range meta {
		switch labels, isMap := v.(map[string]any); {
		case key == "name" || key == "namespace" || key == "uid":
			kept[key] = ifText(v, salt)
		case key == "labels" && isMap:
			texts := make(map[string]any, len(labels))
			for name, v := range labels {
				texts[name] = ifText(v, salt)
			}
			kept[key] = texts
		case key == "annotations":
			kept[key] = committedKeys(v, salt)
		default:
			kept[key] = committed(v, salt)
		}
	}
	return kept
}

// ifText is a text as it is, and a commitment to anything else.
func ifText(v any, salt []byte) any {
	if _, ok := v.(string); ok {
		return v
	}
	return committed(v, salt)
}

// RedactedValue is Redacted for an object, a list of objects, or anything else, which is returned as it is.
func RedactedValue(v any, salt []byte) any {
	switch v := v.(type) {
	case map[string]any:
		return Redacted(v, salt)
	case []any:
		kept := make([]any, len(v))
		for i, e := range v {
			kept[i] = RedactedValue(e, salt)
		}
		return kept
	}
	return v
}

// committedKeys keeps the keys of an object, and replaces the values.
func committedKeys(v any, salt []byte) any {
	object, ok := v.(map[string]any)
	if !ok {
		return committed(v, salt)
	}
	kept := make(map[string]any, len(object))
	for key, e := range object {
		kept[key] = committed(e, salt)
	}
	return kept
}

// committed is a commitment to a value, and nil for nil.
func committed(v any, salt []byte) any {
	if v == nil {
		return nil
	}
	mac := hmac.New(sha256.New, salt)
	raw, err := Encode(v)
	if err != nil {
		raw = fmt.Append(nil, v) // no JSON has it, and it is kept no more than what has
	}
	mac.Write(raw)
	return commitment + hex.EncodeToString(mac.Sum(nil))
}
