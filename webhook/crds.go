package webhook

import (
	"embed"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml
var crds embed.FS

// Definitions are the CustomResourceDefinitions of Proviso's own kinds, sorted by file.
func Definitions() ([]*unstructured.Unstructured, error) {
	files, err := crds.ReadDir("crds")
	if err != nil {
		return nil, fmt.Errorf("read definitions: %w", err)
	}
	var list []*unstructured.Unstructured
	for _, f := range files {
		raw, err := crds.ReadFile("crds/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("read definitions: %w", err)
		}
		text, err := yaml.YAMLToJSONStrict(raw)
		u := &unstructured.Unstructured{}
		if err := errors.Join(err, u.UnmarshalJSON(text)); err != nil {
			return nil, fmt.Errorf("read definition %s: %w", f.Name(), err)
		}
		list = append(list, u)
	}
	return list, nil
}
