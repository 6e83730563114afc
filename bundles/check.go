package bundles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/region"
)

// Check reads the policies and holds each folder against everything it promises: that it is whole and holds nothing
// else; that the rule reads what is declared and declares what it reads; that good fixtures pass, and do not once a
// required field is gone or mistyped; that bad ones fail exactly on the lines that say so; that the README's examples do
// the same. All problems are joined, each with its place.
//
// Fixtures are judged with the defaults of the parameters; with the first of a parameter's examples where it has any, so
// that a policy that is not for everybody shows what it does where it is set.
func Check(regions *region.Table, src Source) (*Catalogue, error) {
	cat, err := Read(regions, src)
	errs := []error{err}
	for _, f := range cat.Folders {
		errs = append(errs, f.check()...)
	}
	return cat, errors.Join(errs...)
}

// headings are what a policy's README must say, in this order.
var headings = []string{"Why", "Bad", "Good", "Fix"}

func (f *Folder) check() []error {
	policy := f.Policy
	policy.Params = f.exampleParams()
	set, err := engine.NewSet([]engine.Policy{policy})
	if err != nil {
		return []error{f.problem("", err.Error())}
	}
	c := &checker{Folder: f, set: set}
	for _, bad := range f.checkParams(policy.Params) {
		c.errs = append(c.errs, f.problem("params.properties"+bad.at, "the example "+bad.message))
	}
	c.files()
	c.placeholders()
	c.reads()
	c.readme()
	return c.errs
}

// exampleParams are the parameters that fixtures are judged with.
func (f *Folder) exampleParams() map[string]any {
	params := maps.Clone(f.Params)
	for name, property := range f.Properties {
		p, _ := property.(map[string]any)
		if examples, _ := p["examples"].([]any); len(examples) > 0 {
			params[name] = examples[0]
		}
	}
	return params
}

type checker struct {
	*Folder
	set  *engine.Set
	errs []error
}

func (c *checker) bad(file string, line, column int, format string, args ...any) {
	c.errs = append(c.errs, problem(Source{Name: c.Source}.at(path.Join(c.Dir, file)), line, column, fmt.Errorf(format, args...)))
}

// files walks the folder: every file is one of those a policy has, and judges the fixtures.
func (c *checker) files() {
	count := map[string]int{}
	err := fs.WalkDir(c.fsys, c.Dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(file, c.Dir+"/")
		switch dir := path.Dir(name); {
		case name == "policy.yaml", name == "README.md", name == c.ruleFile:
		case (dir == "good" || dir == "bad") && path.Ext(name) == ".yaml":
			count[dir]++
			raw, err := fs.ReadFile(c.fsys, file)
			if err != nil {
				return err
			}
			c.fixture(name, raw, 0, dir == "good", true)
		default:
			c.bad(name, 0, 0, "is no file of a policy: want policy.yaml, policy.rego or policy.cel, README.md, good/*.yaml and bad/*.yaml")
		}
		return nil
	})
	if err != nil {
		c.bad("", 0, 0, "%w", err)
	}
	for _, dir := range []string{"good", "bad"} {
		if count[dir] == 0 {
			c.bad(dir, 0, 0, "there is no %s/*.yaml: a policy shows what passes and what fails", dir)
		}
	}
}

// placeholders finds what a new policy's files say before anybody has written them.
func (c *checker) placeholders() {
	for _, name := range []string{"policy.yaml", "README.md"} {
		raw, err := fs.ReadFile(c.fsys, path.Join(c.Dir, name))
		if err != nil {
			continue // that it is missing is said elsewhere
		}
		for i, line := range strings.Split(string(raw), "\n") {
			for _, text := range skeletonSays[name] {
				if strings.Contains(line, text) {
					c.bad(name, i+1, 0, "it still says %q: write it", text)
				}
			}
		}
	}
}

// skeletonSays are the sentences of [Skeleton] that its user is to replace, by file.
var skeletonSays = map[string][]string{
	"policy.yaml": {"Say in one line what is true of what passes", "Say in one sentence what a person does about it."},
	"README.md":   {"Say what goes wrong without it.", "Say how to meet it."},
}

// fixtureTime is the instant fixtures are judged at.
var fixtureTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	wantComment = regexp.MustCompile(`#\s*want((?:\s+"(?:[^"\\]|\\.)*")+)\s*$`)
	quotedText  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// wants are the messages a fixture's lines ask for.
func wants(raw []byte) map[int][]string {
	all := map[int][]string{}
	for i, line := range strings.Split(string(raw), "\n") {
		m := wantComment.FindStringSubmatch(strings.TrimRight(line, "\r"))
		if m == nil {
			continue
		}
		for _, q := range quotedText.FindAllString(m[1], -1) {
			text, err := strconv.Unquote(q)
			if err != nil {
				text = q
			}
			all[i+1] = append(all[i+1], text)
		}
	}
	return all
}

// fixture judges one file of examples; offset is how many lines stand before raw in its file.
func (c *checker) fixture(name string, raw []byte, offset int, good, marked bool) {
	want := wants(raw)
	counts := map[engine.Verdict]int{}
	facts := newFixtureFacts(raw, c.set)
	var passing []*engine.Subject
	for sub, err := range fixtureSubjects(name, raw, c.set) {
		if err != nil {
			c.unread(name, err, offset)
			continue
		}
		for _, d := range c.set.Judge(context.Background(), *sub, facts, fixtureTime) {
			counts[d.Verdict]++
			at := sub.Origin.Position
			switch d.Verdict {
			case engine.Pass:
				passing = append(passing, sub)
			case engine.Unknown:
				if d.Path != "" {
					at = sub.Origin.Place(d.Path)
				}
				c.bad(name, at.Line+offset, at.Column, "%s is unknown: %s", sub, d.Reason)
			case engine.Fail:
				for _, v := range d.Violations {
					at = sub.Origin.Place(v.Path)
					texts := want[at.Line]
					i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(v.Message, text) })
					switch {
					case good:
						c.bad(name, at.Line+offset, at.Column, "%s must pass, and fails: %s", sub, v.Message)
					case i < 0 && marked:
						c.bad(name, at.Line+offset, at.Column, "no want comment on this line speaks of the violation %q%s", v.Message, of(v.Path))
					case i >= 0:
						want[at.Line] = slices.Delete(slices.Clone(texts), i, i+1)
					}
				}
			}
		}
	}
	for line, texts := range want {
		for _, text := range texts {
			c.bad(name, line+offset, 0, "no violation on this line says %q", text)
		}
	}
	switch {
	case good && counts[engine.Pass] == 0:
		c.bad(name, offset+1, 0, "nothing in it passes: the policy judged %d not applicable", counts[engine.NotApplicable])
	case !good && counts[engine.Fail] == 0:
		c.bad(name, offset+1, 0, "nothing in it fails")
	}
	if good {
		for _, sub := range passing {
			c.mutate(name, sub, facts, offset)
		}
	}
}

// of names the path of a violation; a rule need not give one.
func of(path string) string {
	if path == "" {
		return " of the object as a whole"
	}
	return " of " + path
}

func (c *checker) unread(name string, err error, offset int) {
	var u *engine.Unread
	if errors.As(err, &u) {
		if u.Kind == engine.NotManifest {
			return
		}
		c.bad(name, u.Line+offset, u.Column, "%w", u.Err)
		return
	}
	c.bad(name, offset+1, 0, "%w", err)
}

// mutate takes away and mistypes each required field of a subject that passes: it may not pass without it.
func (c *checker) mutate(name string, sub *engine.Subject, facts engine.FactSource, offset int) {
	for text, typ := range c.Requires {
		p, err := engine.ParsePath(text)
		if err != nil || strings.HasPrefix(text, "old.") || strings.HasPrefix(text, "user.") {
			continue
		}
		for _, m := range []struct {
			what  string
			value any
		}{{"is gone", nil}, {"is mistyped", mistyped(typ)}} {
			object, changed := p.With(sub.Object, m.value)
			if !changed {
				continue
			}
			other := *sub
			other.Object = object
			for _, d := range c.set.Judge(context.Background(), other, facts, fixtureTime) {
				if d.Verdict == engine.Pass {
					at := sub.Origin.Place(text)
					c.bad(name, at.Line+offset, at.Column, "%s passes even when the required %s %s", sub, text, m.what)
				}
			}
		}
	}
}

// mistyped is a value that is not of the type.
func mistyped(t engine.Type) any {
	if t == engine.Array || t == engine.Object {
		return "text"
	}
	return []any{"element"}
}

// readme holds the README against its form, and its examples against the policy.
func (c *checker) readme() {
	raw, err := fs.ReadFile(c.fsys, path.Join(c.Dir, "README.md"))
	if err != nil {
		c.bad("README.md", 0, 0, "%w", err)
		return
	}
	sections, order := readSections(raw)
	if !slices.Equal(order, headings) {
		c.bad("README.md", 1, 1, "the headings are %s, want %s", strings.Join(order, ", "), strings.Join(headings, ", "))
	}
	for _, name := range []string{"Bad", "Good"} {
		s := sections[name]
		if len(s.blocks) != 1 {
			c.bad("README.md", s.line, 1, "the section %s holds %d yaml blocks, want one", name, len(s.blocks))
			continue
		}
		c.fixture("README.md", s.blocks[0].text, s.blocks[0].line, name == "Good", false)
	}
}

type section struct {
	line   int
	blocks []block
}

type block struct {
	line int // the line of the fence before it
	text []byte
}

func readSections(raw []byte) (map[string]*section, []string) {
	sections := map[string]*section{}
	for _, h := range headings {
		sections[h] = &section{line: 1}
	}
	var order []string
	var current *section
	var open *block
	for i, line := range strings.Split(string(raw), "\n") {
		fence := strings.HasPrefix(line, "```")
		switch {
		case open != nil && fence:
			current.blocks = append(current.blocks, *open)
			open = nil
		case open != nil:
			open.text = append(append(open.text, line...), '\n')
		case fence && current != nil && strings.TrimSpace(line) == "```yaml":
			open = &block{line: i + 1}
		case strings.HasPrefix(line, "## "):
			name := strings.TrimSpace(line[3:])
			order = append(order, name)
			if current = sections[name]; current == nil {
				current = &section{}
			}
			current.line = i + 1
		}
	}
	return sections, order
}
