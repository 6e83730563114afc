package exported

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"proviso.dev/proviso/engine/decode"
)

// elements are what AWS lets a statement hold. Another one is a mistake, and one that is passed by may be a condition.
var elements = []string{"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}

// Policy is a field that holds an IAM or bucket policy, an object or a text of JSON (percent-encoded or not), as its
// statements in one shape:
//
//	{sid?, effect, principals, notPrincipals?, actions, notActions?, resources, notResources?, conditions}
//
// where each of the lists is of texts, "*" stands for everybody, and conditions map an operator and a key to texts.
func (o Object) Policy(key string) ([]any, bool) {
	switch v := o.fields[key].(type) {
	case nil:
		return nil, false
	case map[string]any:
		return o.In(key).Statements()
	case string:
		document, err := policyText(v)
		if err != nil {
			o.Mistyped(key, "read %s: %w", key, err)
			return nil, false
		}
		inner := Read(document)
		statements, ok := inner.Statements()
		for _, p := range inner.Problems() { // the text has no places of its own
			o.Mistyped(key, "read %s: %w", key, p.Err)
		}
		return statements, ok
	}
	o.Mistyped(key, "read %s: it is no policy document", key)
	return nil, false
}

func policyText(text string) (map[string]any, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "%") {
		plain, err := url.QueryUnescape(text)
		if err != nil {
			return nil, fmt.Errorf("undo its percent-encoding: %w", err)
		}
		text = plain
	}
	doc, err := decode.One(strings.NewReader(text), "policy", decode.Limits{})
	if err != nil {
		return nil, err
	}
	m, ok := doc.Value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("it is no policy document")
	}
	return m, nil
}

// Statements are those of the object, a policy document, in the shape [Object.Policy] names. False where any of them
// cannot be read: a policy that is read in part is not a policy.
func (o Object) Statements() ([]any, bool) {
	var list []Object
	switch o.fields["Statement"].(type) {
	case map[string]any:
		list = []Object{o.In("Statement")}
	case []any:
		var ok bool
		if list, ok = o.Objects("Statement"); !ok {
			return nil, false
		}
	default:
		o.Mistyped("", "read policy: it has no Statement")
		return nil, false
	}
	statements := make([]any, 0, len(list))
	for _, s := range list {
		before := len(*o.problems)
		statement := s.statement()
		if len(*o.problems) > before {
			return nil, false
		}
		statements = append(statements, statement)
	}
	return statements, true
}

func (o Object) statement() map[string]any {
	for _, key := range o.Keys() {
		if !slices.Contains(elements, key) {
			o.Mistyped(key, "read policy: a statement has no element %s (want one of %s)", key, strings.Join(elements, ", "))
		}
	}
	out := map[string]any{"conditions": o.conditions()}
	effect, _ := o.Text("Effect")
	if effect != "Allow" && effect != "Deny" {
		o.Mistyped("Effect", "read policy: the effect %q is neither Allow nor Deny", effect)
	}
	out["effect"] = effect
	if sid, ok := o.Text("Sid"); ok {
		out["sid"] = sid
	}
	if !o.Has("Action") && !o.Has("NotAction") {
		o.Mistyped("", "read policy: a statement has neither Action nor NotAction")
	}
	for _, e := range []struct{ key, positive, negative string }{
		{"Principal", "principals", "notPrincipals"}, {"Action", "actions", "notActions"}, {"Resource", "resources", "notResources"},
	} {
		read := Object.oneOrMany
		if e.key == "Principal" {
			read = Object.principals
		}
		out[e.positive] = read(o, e.key)
		if o.Has("Not" + e.key) {
			out[e.negative] = read(o, "Not"+e.key)
		}
	}
	return out
}

// oneOrMany is a text or a list of texts, as a list.
func (o Object) oneOrMany(key string) []any {
	if _, isList := o.fields[key].([]any); isList {
		texts, _ := o.Texts(key)
		return list(texts)
	}
	if text, ok := o.Text(key); ok {
		return []any{text}
	}
	return []any{}
}

func list(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

// principals are accounts and ARNs as they are written. A wildcard under another key than AWS is not everybody, and keeps
// its key.
func (o Object) principals(key string) []any {
	if _, isObject := o.fields[key].(map[string]any); !isObject {
		return o.oneOrMany(key)
	}
	out, in := []any{}, o.In(key)
	for _, kind := range in.Keys() {
		for _, p := range in.oneOrMany(kind) {
			if p == "*" && kind != "AWS" {
				p = kind + ":*"
			}
			out = append(out, p)
		}
	}
	return out
}

func (o Object) conditions() map[string]any {
	out, all := map[string]any{}, o.In("Condition")
	for _, operator := range all.Keys() {
		keys, in := map[string]any{}, all.In(operator)
		for _, key := range in.Keys() {
			values, isList := in.fields[key].([]any)
			if !isList {
				values = []any{in.fields[key]}
			}
			texts := make([]any, 0, len(values))
			for _, v := range values {
				text, ok := scalar(v)
				if !ok {
					in.Mistyped(key, "read policy: a value of condition %s is %s", key, name(v))
				}
				texts = append(texts, text)
			}
			keys[key] = texts
		}
		out[operator] = keys
	}
	return out
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}
