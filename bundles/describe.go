package bundles

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"

	"proviso.dev/proviso/engine"
)

// Description is a policy as machines list it.
type Description struct {
	ID         string           `json:"id"`
	Ref        string           `json:"ref,omitempty"`
	Title      string           `json:"title"`
	Severity   string           `json:"severity"`
	Language   string           `json:"language"`
	Source     string           `json:"source"`
	Digest     engine.Digest    `json:"digest"`
	Match      []string         `json:"match"`
	Parameters map[string]any   `json:"parameters"`
	Controls   []engine.Control `json:"controls"`
	Fix        string           `json:"fix"`
}

// Describe lists policies for machines. Parameters are their defaults.
func Describe(folders []*Folder) []Description {
	list := []Description{}
	for _, f := range folders {
		d := Description{ID: f.ID, Ref: f.Ref, Title: f.Title, Severity: f.Severity.String(), Language: f.Language, Source: f.Source,
			Digest: f.Digest, Match: f.kinds(), Parameters: f.Params, Controls: f.Controls, Fix: f.Fix}
		if d.Source == "" {
			d.Source = "builtin"
		}
		if d.Controls == nil {
			d.Controls = []engine.Control{}
		}
		list = append(list, d)
	}
	return list
}

// kinds are the kinds the policy is for, as group/Kind.
func (f *Folder) kinds() []string {
	kinds := []string{}
	for _, row := range f.Match {
		for _, kind := range row.Kinds {
			if row.Group != "" {
				kind = row.Group + "/" + kind
			}
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// Explain is the page about a policy: what it is for, its README, what it reads, its parameters and its controls.
func (f *Folder) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", f.ID)
	if f.Ref != "" {
		fmt.Fprintf(&b, " (%s)", f.Ref)
	}
	fmt.Fprintf(&b, ", %s\n%s\n\n", f.Severity, f.Title)
	fmt.Fprintf(&b, "Judges    %s\n", strings.Join(f.kinds(), ", "))
	fmt.Fprintf(&b, "Rule      %s, %s\n", f.ruleFile, f.Digest)
	if readme, err := fs.ReadFile(f.fsys, path.Join(f.Dir, "README.md")); err == nil {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(string(readme)))
	}
	list := func(title string, names []string, text func(name string) string) {
		if len(names) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n", title)
		for _, name := range names {
			fmt.Fprintf(&b, "- %s: %s\n", name, text(name))
		}
	}
	list("Must be there", slices.Sorted(maps.Keys(f.Requires)), func(n string) string { return string(f.Requires[n]) })
	list("Also read", slices.Sorted(maps.Keys(f.Optional)), func(n string) string { return string(f.Optional[n]) })
	list("Facts it asks for", slices.Sorted(maps.Keys(f.Facts)), func(n string) string { return f.Facts[n].String() })
	list("Parameters and their defaults", slices.Sorted(maps.Keys(f.Properties)), func(n string) string {
		text := string(jsonOf(f.Params[n]))
		p, _ := f.Properties[n].(map[string]any)
		if d, ok := p["description"].(string); ok {
			text += ": " + d
		}
		return text
	})
	if len(f.Controls) > 0 {
		b.WriteString("\n## Controls\n")
	}
	for _, c := range f.Controls {
		fmt.Fprintf(&b, "- %s %s (%s)", c.Framework, c.ID, c.Relation)
		if fw, ok := Frameworks()[c.Framework]; ok {
			if i := slices.IndexFunc(fw.Controls, func(have FrameworkControl) bool { return have.ID == c.ID }); i >= 0 {
				fmt.Fprintf(&b, ": %s", fw.Controls[i].Title)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Skeleton is the files of a new policy's folder, by name. Its bad fixture does not fail until the rule is written.
func Skeleton(id, language string) (map[string][]byte, error) {
	domain, name, ok := strings.Cut(id, "/")
	if !ok || !slices.Contains(Domains, domain) || !validName(name) {
		return nil, fmt.Errorf("%q is no policy id: want DOMAIN/NAME in lower-case letters, digits and dashes, with a domain of %s", id, strings.Join(Domains, ", "))
	}
	if language != "cel" && language != "rego" {
		return nil, fmt.Errorf("there is no language %q: want cel or rego", language)
	}
	files := map[string][]byte{}
	for file, text := range skeleton {
		if path.Ext(file) == ".cel" && language != "cel" || path.Ext(file) == ".rego" && language != "rego" {
			continue
		}
		var b bytes.Buffer
		if err := template.Must(template.New(file).Parse(text)).Execute(&b, map[string]string{
			"Package": strings.NewReplacer("/", ".", "-", "_").Replace(id), "Name": name,
		}); err != nil {
			return nil, err
		}
		files[file] = b.Bytes()
	}
	return files, nil
}

func validName(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && name[0] >= 'a'
}

var skeleton = map[string]string{
	"policy.yaml": `title: Say in one line what is true of what passes
severity: medium # critical, high, medium or low
match:
  - {group: velero.io, kinds: [Schedule]}
requires: {spec.schedule: string}
controls: [] # for example {framework: gdpr, id: art-32(1)(a), relation: supports}
fix: Say in one sentence what a person does about it.
`,
	"policy.cel": `// Yields what is wrong, nothing where all is well.
object.spec.schedule == "never" ? [{"message": "the schedule is never, want a time", "path": "spec.schedule"}] : []
`,
	"policy.rego": `package {{.Package}}

violations contains {"message": "the schedule is never, want a time", "path": "spec.schedule"} if {
	input.object.spec.schedule == "never"
}
`,
	"README.md": `## Why

Say what goes wrong without it.

## Bad

` + "```yaml" + `
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: {{.Name}}, namespace: velero}
spec:
  schedule: never
` + "```" + `

## Good

` + "```yaml" + `
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: {{.Name}}, namespace: velero}
spec:
  schedule: "0 3 * * *"
` + "```" + `

## Fix

Say how to meet it.
`,
	"good/daily.yaml": `apiVersion: velero.io/v1
kind: Schedule
metadata: {name: {{.Name}}, namespace: velero}
spec:
  schedule: "0 3 * * *"
`,
	"bad/write-me.yaml": `apiVersion: velero.io/v1
kind: Schedule
metadata: {name: {{.Name}}, namespace: velero}
spec:
  schedule: sometimes # want "the rule does not say this yet: write it"
`,
}
