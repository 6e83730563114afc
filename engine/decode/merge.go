package decode

import "go.yaml.in/yaml/v4"

// merges reports whether a key is the merge key <<.
func merges(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && n.Anchor == "" && (n.Style == 0 || n.Tag == "!!merge")
}

// fields fills m with what the mapping node n holds, merged keys first.
func (r *yamlReader) fields(n *yaml.Node, m map[string]any, at *place) {
	first := make(map[string]*yaml.Node, len(n.Content)/2)
	var merge *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if merges(k) {
			switch {
			case merge != nil:
				r.twice("<<", k, merge)
			case len(first) > 0:
				// YAML lets a mapping's own keys win wherever << stands. Kubernetes' YAML library lets the last one win.
				r.mergeLate(k, v, first)
			}
			merge = k
			r.merge(v, m, at)
			continue
		}
		key := r.key(k, n.Style&yaml.FlowStyle != 0)
		if before := first[key]; before != nil {
			r.twice(key, k, before)
		}
		first[key] = k
		outer := r.sealed
		r.sealed = outer.below(key)
		value, where := r.value(v)
		r.sealed = outer
		m[key] = value
		if at != nil {
			own := *where // an alias shares the place of what it names
			own.key = r.at(k.Line, k.Column)
			at.fields[key] = &own
		}
	}
}

func (r *yamlReader) twice(key string, second, first *yaml.Node) {
	at := r.at(first.Line, first.Column)
	r.fail(second, "%s is there twice, first at %d:%d (remove one)", r.sealed.key(key), at.Line, at.Column)
}

// mergeLate refuses a merge that stands behind a key which it also brings.
func (r *yamlReader) mergeLate(k, v *yaml.Node, first map[string]*yaml.Node) {
	brought := map[string]any{}
	r.merge(v, brought, nil)
	for key, own := range first {
		if _, ok := brought[key]; ok {
			at := r.at(own.Line, own.Column)
			r.fail(k, "the merge brings %s, which also stands before it at %d:%d; readers differ in which one counts (put << first)", r.sealed.key(key), at.Line, at.Column)
		}
	}
}

// merge adds to m what a merge key brings: the keys of one mapping, or of several, of which the first counts.
func (r *yamlReader) merge(n *yaml.Node, m map[string]any, at *place) {
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	for i := len(sources) - 1; i >= 0; i-- {
		source := sources[i]
		mapping := source
		if source.Kind == yaml.AliasNode && source.Alias != nil {
			mapping = source.Alias
		}
		if mapping.Kind != yaml.MappingNode {
			r.fail(source, "a merge key wants a mapping, or a list of mappings")
		}
		v, where := r.value(source)
		for key, value := range v.(map[string]any) {
			m[key] = value
			if at != nil && where != nil {
				at.fields[key] = where.fields[key]
			}
		}
	}
}
