package cloud

// policy reads an IAM policy in any of the shapes it is printed in.
func (g *gathering) policy(p part) {
	a := newArtifact("AccessPolicy", "aws", p)
	a.fields["source"] = p.document.Text.File
	a.name = base(p.document.Text.File)
	if name, ok := p.Text("PolicyName"); ok {
		a.name = name
	}
	var statements []any
	var ok bool
	switch {
	case p.Has("PolicyDocument"):
		statements, ok = p.Policy("PolicyDocument")
		a.mark(p, "PolicyDocument")
	case p.Has("PolicyVersion"):
		inner := part{p.In("PolicyVersion"), p.document}
		statements, ok = inner.Policy("Document")
		if !ok && len(p.Problems()) == 0 {
			inner.Mistyped("", "read policy: the version has no Document")
		}
		a.mark(inner, "Document")
	default:
		statements, ok = p.Statements()
		a.marks.Set("statements", p.document, p.At("Statement"))
		if list, isList := p.Raw("Statement").([]any); isList {
			for i := range list {
				a.marks.Set(index("statements", i), p.document, p.At("Statement", i))
			}
		}
	}
	if ok {
		a.fields["statements"] = statements
	}
	for _, key := range []string{"RoleName", "UserName", "GroupName"} {
		if name, ok := p.Text(key); ok {
			a.set("attachedTo", map[string]string{"RoleName": "role/", "UserName": "user/", "GroupName": "group/"}[key]+name, p, key)
		}
	}
	g.add(a, nil)
}

// mark notes the places of the statements of a document that stands in a field.
func (a *artifact) mark(p part, key string) {
	a.marks.Set("statements", p.document, p.At(key))
	document, isObject := p.Raw(key).(map[string]any)
	if !isObject {
		return
	}
	list, _ := document["Statement"].([]any)
	for i := range list {
		a.marks.Set(index("statements", i), p.document, p.At(key, "Statement", i))
	}
}
