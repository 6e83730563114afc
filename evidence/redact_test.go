package evidence_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/evidence"
)

// What was kept is read again as it was judged: a float stays a float, whole or not.
func TestInputsAreReadAsTheyWereJudged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var value func(depth int) *rapid.Generator[any]
		value = func(depth int) *rapid.Generator[any] {
			leaves := []*rapid.Generator[any]{rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
				rapid.Map(rapid.Int64(), func(n int64) any { return n }), rapid.Map(rapid.Float64Range(-1e22, 1e22), func(f float64) any { return f }),
				rapid.Map(rapid.IntRange(-9, 9), func(n int) any { return float64(n) }), rapid.Map(rapid.StringMatching(`[ -~é<>&]*`), func(s string) any { return s })}
			if depth == 0 {
				return rapid.OneOf(leaves...)
			}
			return rapid.OneOf(append(leaves, rapid.Map(rapid.SliceOfN(value(depth-1), 0, 4), func(l []any) any { return l }),
				rapid.Map(rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), value(depth-1), 0, 4), func(m map[string]any) any { return m }))...)
		}
		object := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), value(3), 0, 5).Draw(t, "object")
		line, err := evidence.Encode(evidence.InputOf(&engine.Subject{APIVersion: "v1", Kind: "Thing", Object: object}, nil).Object)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := decode.JSON(string(line), "kept", decode.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := doc.Value.(map[string]any); len(object) > 0 && !reflect.DeepEqual(got, object) {
			t.Fatalf("got %#v, want %#v: %s", got, object, line)
		}
	})
}

const canary = "hunter2-canary"

// What Secrets hold is nowhere in what is kept, and equal values have equal commitments under one salt alone.
func TestSecretsAreCommitted(t *testing.T) {
	secret := map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": map[string]any{"a": canary, "b": canary},
		"stringData": map[string]any{"c": canary}, "metadata": map[string]any{"name": "s", "annotations": map[string]any{"kubectl.kubernetes.io/last-applied-configuration": `{"stringData":"` + canary + `"}`}}}
	text := func(object any, salt string) string {
		line, err := evidence.Encode(evidence.KeptFact(object, []byte(salt)))
		if err != nil {
			t.Fatal(err)
		}
		return string(line)
	}
	for name, object := range map[string]any{
		"alone":             secret,
		"in a list":         []any{secret},
		"in a List":         map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{secret}},
		"in the wrong case": map[string]any{"apiVersion": "v1", "kind": "secretlist", "items": []any{without(secret, "kind", "apiVersion")}},
		"in a SecretList":   map[string]any{"apiVersion": "v1", "kind": "SecretList", "items": []any{without(secret, "kind", "apiVersion")}},
	} {
		got := text(object, "salt")
		if strings.Contains(got, canary) || !strings.Contains(got, `"type":"Opaque"`) || !strings.Contains(got, `"name":"s"`) {
			t.Errorf("%s: kept as %s", name, got)
		}
		if got == text(object, "pepper") || got != text(object, "salt") {
			t.Errorf("%s: the commitments do not depend on the salt, and on it alone", name)
		}
	}
	kept := evidence.Redacted(secret, []byte("salt"))
	data := kept["data"].(map[string]any)
	if data["a"] != data["b"] {
		t.Errorf("equal values have different commitments: %v", data)
	}
	kept = evidence.Redacted(map[string]any{"apiVersion": "v1", "kind": "Secret", "data": map[string]any{"text": "1", "number": int64(1)}}, []byte("salt"))
	if data := kept["data"].(map[string]any); data["text"] == data["number"] {
		t.Errorf("1 and \"1\" have one commitment: %v", data)
	}
	if secret["data"].(map[string]any)["a"] != canary {
		t.Error("the object that is judged was altered")
	}
}

// Wherever a Secret has a value, it is not kept; what names and sorts the Secret is, as it is.
func TestWhatASecretMayHold(t *testing.T) {
	kept := map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "data": map[string]any{"key": nil},
		"metadata": map[string]any{"name": "s", "namespace": "n", "uid": "u-1", "labels": map[string]any{"app": "shop"}, "annotations": map[string]any{"note": nil}}}
	if got := evidence.Redacted(kept, []byte("salt")); !reflect.DeepEqual(got, kept) {
		t.Errorf("kept as %v, want %v", got, kept)
	}
	meta := func(m map[string]any) map[string]any { return map[string]any{"metadata": m} }
	for name, part := range map[string]map[string]any{
		"an annotation of OpenShift":   meta(map[string]any{"annotations": map[string]any{"openshift.io/token-secret.value": canary}}),
		"annotations that are a list":  meta(map[string]any{"annotations": []any{canary}}),
		"a field in the wrong case":    {"StringData": map[string]any{"c": canary}},
		"the key of an unknown field":  {"StringData": map[string]any{canary: "c"}},
		"a text that is unknown":       {"password": canary},
		"data that is a text":          {"data": canary},
		"data that is a list":          {"data": []any{map[string]any{"a": canary}}},
		"data in data":                 {"data": map[string]any{"a": map[string]any{canary: canary}}},
		"a type that is no text":       {"type": map[string]any{"a": canary}},
		"immutable that is a text":     {"immutable": canary},
		"metadata that are a text":     {"metadata": canary},
		"a name that is no text":       meta(map[string]any{"name": []any{canary}}),
		"a label that is no text":      meta(map[string]any{"labels": map[string]any{"a": []any{canary}}}),
		"labels that are no object":    meta(map[string]any{"labels": []any{canary}}),
		"unknown metadata":             meta(map[string]any{"note": canary}),
		"an owner":                     meta(map[string]any{"ownerReferences": []any{map[string]any{"name": canary}}}),
		"items":                        {"items": []any{canary}},
		"without a version":            {"apiVersion": nil, "data": map[string]any{"a": canary}},
		"a version that nobody serves": {"apiVersion": "v2", "data": map[string]any{"a": canary}},
		"the core group by its name":   {"apiVersion": "core/v1", "data": map[string]any{"a": canary}},
		"a version with a dot":         {"apiVersion": "v1.0", "data": map[string]any{"a": canary}},
		"a group of Kubernetes' own":   {"apiVersion": "core.k8s.io/v1", "data": map[string]any{"a": canary}},
		"a kind in the plural":         {"kind": "secrets", "data": map[string]any{"a": canary}},
		"a kind in the wrong case":     {"kind": "secret", "data": map[string]any{"a": canary}},
		"a kind with a space":          {"kind": "Secret ", "data": map[string]any{"a": canary}},
	} {
		secret := maps.Clone(kept)
		maps.Copy(secret, part)
		line, err := evidence.Encode(evidence.InputOf(&engine.Subject{APIVersion: "v1", Kind: "Secret", Object: secret, Old: secret}, []byte("salt")))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(line), canary) {
			t.Errorf("%s: kept as %s", name, line)
		}
	}
	if other := map[string]any{"apiVersion": "example.org/v1", "kind": "Secret", "spec": "s"}; !reflect.DeepEqual(evidence.Redacted(other, nil), other) {
		t.Error("another kind of that name is altered")
	}
}

func without(m map[string]any, keys ...string) map[string]any {
	m = maps.Clone(m)
	for _, key := range keys {
		delete(m, key)
	}
	return m
}
