package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/json"
)

// object reads one object of the resource. What it says of itself must be what was asked for.
func (r resource) object(item []byte) (map[string]any, error) {
	var object map[string]any
	if err := json.Unmarshal(item, &object); err != nil {
		return nil, fmt.Errorf("read one of %s: it cannot be parsed", r)
	}
	// The objects of a list of a built-in kind do not repeat what the list says.
	want := map[string]string{"apiVersion": strings.TrimPrefix(r.group+"/"+r.version, "/"), "kind": r.kind}
	for key, text := range want {
		if object[key] == nil && object != nil {
			object[key] = text
		}
		if object[key] != text {
			return nil, fmt.Errorf("read one of %s: it says its %s is %.80q, not %s", r, key, fmt.Sprint(object[key]), text)
		}
	}
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	switch {
	case name == "":
		return nil, fmt.Errorf("read one of %s: it has no name", r)
	case r.namespaced != (namespace != ""):
		return nil, fmt.Errorf("read %s %s: it lies in namespace %q, which its kind cannot", r, name, namespace)
	}
	if r.groupKind == (groupKind{"", "Secret"}) {
		hide(object, meta)
	}
	return object, nil
}

func identity(object map[string]any) (namespace, name string) {
	meta := object["metadata"].(map[string]any) // every object that was read has one
	namespace, _ = meta["namespace"].(string)
	return namespace, meta["name"].(string)
}

// hide takes the contents out of a Secret: each value becomes its digest, and what repeats them is dropped.
func hide(object, meta map[string]any) {
	delete(meta, "managedFields")
	var contents []string
	for _, field := range []string{"data", "stringData"} {
		values, isMap := object[field].(map[string]any)
		if !isMap {
			if object[field] != nil {
				object[field] = digest(fmt.Append(nil, object[field]))
			}
			continue
		}
		for key, v := range values {
			text, isText := v.(string)
			if !isText {
				text = fmt.Sprint(v)
			}
			value := []byte(text)
			if field == "data" {
				if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
					value = decoded
				}
			}
			contents = append(contents, text, string(value))
			values[key] = digest(value)
		}
	}
	annotations, _ := meta["annotations"].(map[string]any)
	for key, v := range annotations {
		text, _ := v.(string)
		if key == "kubectl.kubernetes.io/last-applied-configuration" || repeats(text, contents) {
			delete(annotations, key)
		}
	}
}

// shortest is how long a content must be to be looked for in an annotation: shorter ones occur by chance.
const shortest = 6

// repeats reports whether an annotation holds a Secret, as tools write it that keep what they applied.
func repeats(text string, contents []string) bool {
	if strings.Contains(text, `"data"`) || strings.Contains(text, `"stringData"`) {
		return true
	}
	for _, c := range contents {
		if len(c) >= shortest && strings.Contains(text, c) {
			return true
		}
	}
	return false
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
