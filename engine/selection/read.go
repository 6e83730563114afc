package selection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// reader takes values out of decoded JSON or YAML and gathers what is not as it should be.
type reader struct{ errs []error }

func (r *reader) wrong(at, want string, v any) {
	r.errs = append(r.errs, fmt.Errorf("%s: holds a %T, want %s", at, v, want))
}

func (r *reader) err() error { return errors.Join(r.errs...) }

// only refuses fields that are not known: what they would mean is not known either.
func (r *reader) only(at string, m map[string]any, known ...string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(known, key) {
			r.errs = append(r.errs, fmt.Errorf("%s: field %q is not one that is known", at, key))
		}
	}
}

func (r *reader) object(at string, v any) map[string]any {
	switch m := v.(type) {
	case nil:
	case map[string]any:
		return m
	default:
		r.wrong(at, "an object", v)
	}
	return nil
}

func (r *reader) list(at string, v any) []any {
	switch l := v.(type) {
	case nil:
	case []any:
		return l
	default:
		r.wrong(at, "a list", v)
	}
	return nil
}

func (r *reader) text(at string, v any) string {
	switch s := v.(type) {
	case nil:
	case string:
		return s
	default:
		r.wrong(at, "text", v)
	}
	return ""
}

func (r *reader) texts(at string, v any) []string {
	var all []string
	for i, one := range r.list(at, v) {
		all = append(all, r.text(fmt.Sprintf("%s[%d]", at, i), one))
	}
	return all
}

func (r *reader) pairs(at string, v any) map[string]string {
	var all map[string]string
	for key, one := range r.object(at, v) {
		if all == nil {
			all = map[string]string{}
		}
		all[key] = r.text(at+"."+key, one)
	}
	return all
}

func (r *reader) flag(at string, v any) *bool {
	switch b := v.(type) {
	case nil:
	case bool:
		return &b
	default:
		r.wrong(at, "true or false", v)
	}
	return nil
}
