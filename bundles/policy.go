package bundles

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v5"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/cel"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/host"
	"proviso.dev/proviso/engine/region"
	"proviso.dev/proviso/engine/rego"
)

// Domains are the first parts a policy's id may have.
var Domains = []string{"access", "completeness", "encryption", "governance", "immutability", "recoverability", "residency", "retention"}

// policyFile is policy.yaml.
type policyFile struct {
	Title    string                 `json:"title"`
	Ref      string                 `json:"ref"`
	Severity string                 `json:"severity"`
	Match    []matchRow             `json:"match"`
	When     string                 `json:"when"`
	Requires map[string]engine.Type `json:"requires"`
	Optional map[string]engine.Type `json:"optional"`
	Facts    map[string]factQuery   `json:"facts"`
	Params   map[string]any         `json:"params"`
	// StrictUpdate is as in [engine.Policy].
	StrictUpdate bool             `json:"strictUpdate"`
	Controls     []engine.Control `json:"controls"`
	Fix          string           `json:"fix"`
}

type matchRow struct {
	Group      string   `json:"group"`
	Versions   []string `json:"versions"`
	Kinds      []string `json:"kinds"`
	Operations []string `json:"operations"`
}

type factQuery struct {
	Group     string            `json:"group"`
	Kind      string            `json:"kind"`
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	All       bool              `json:"all"`
	Wildcard  bool              `json:"wildcard"`
	Optional  bool              `json:"optional"`
}

// rule is what both languages compile to.
type rule interface {
	engine.Rule
	Reads() []engine.Read
	Lint() []engine.Problem
}

// A Folder is one policy as it lies in its folder, compiled, with the defaults of its parameters.
type Folder struct {
	engine.Policy
	// Source is the catalogue the folder is part of, Dir its path there. Language is rego or cel.
	Source   string
	Dir      string
	Language string
	// Properties are the parameters' JSON Schemas by name.
	Properties map[string]any

	fsys     fs.FS
	regions  *region.Table
	doc      *decode.Document
	ruleFile string
	// raw and source are policy.yaml and the rule as they were read.
	raw, source []byte
	// The three are compiled once, when they are first asked for.
	rule   func() (rule, error)
	when   func() (condition, error)
	schema func() (*jsonschema.Schema, error)
}

type condition struct {
	holds engine.Condition
	reads []engine.Read
}

// lazyRule is the folder's rule for the engine.
type lazyRule struct{ compile func() (rule, error) }

// Eval is part of engine.Rule.
func (l lazyRule) Eval(ctx context.Context, in engine.Input) ([]engine.Violation, error) {
	r, err := l.compile()
	if err != nil {
		return nil, err
	}
	return r.Eval(ctx, in)
}

// compilers turn rule source into rules, with one table of regions.
type compilers struct {
	rego    *rego.Compiler
	cel     *cel.Compiler
	regions *region.Table
}

func newCompilers(regions *region.Table) compilers {
	functions := host.Functions(regions)
	return compilers{&rego.Compiler{Functions: functions}, &cel.Compiler{Functions: functions}, regions}
}

// readFolder reads and compiles one folder. It returns what it could make of it together with every problem.
func (c compilers) readFolder(src Source, dir string) (*Folder, error) {
	f := &Folder{Source: src.Name, Dir: dir, fsys: src.FS, regions: c.regions}
	f.ID = dir
	file := path.Join(dir, "policy.yaml")
	raw, err := fs.ReadFile(src.FS, file)
	if err != nil {
		return nil, problem(src.at(file), 0, 0, err)
	}
	f.raw = raw
	var spec policyFile
	if f.doc, err = decodeOne(raw, src.at(file), &spec); err != nil {
		return nil, err
	}
	var errs []error
	bad := func(at, message string, args ...any) {
		errs = append(errs, f.problem(at, fmt.Sprintf(message, args...)))
	}
	if parts := strings.Split(dir, "/"); len(parts) != 2 || !slices.Contains(Domains, parts[0]) {
		bad("", "the folder %s is no policy id: want DOMAIN/NAME with a domain of %s", dir, strings.Join(Domains, ", "))
	}
	for _, field := range []struct{ name, text string }{{"title", spec.Title}, {"severity", spec.Severity}, {"fix", spec.Fix}} {
		if strings.TrimSpace(field.text) == "" {
			bad("", "%s is missing", field.name)
		}
	}
	f.Title, f.Ref, f.Fix, f.Controls = spec.Title, spec.Ref, strings.TrimSpace(spec.Fix), spec.Controls
	if sev, ok := engine.ParseSeverity(spec.Severity); ok {
		f.Severity = sev
	} else if spec.Severity != "" {
		bad("severity", "unknown severity %q: want critical, high, medium or low", spec.Severity)
	}
	for _, m := range spec.Match {
		f.Match = append(f.Match, engine.MatchRow(m))
	}
	f.Requires, f.Optional, f.StrictUpdate = spec.Requires, spec.Optional, spec.StrictUpdate
	f.Facts = map[string]engine.FactQuery{}
	for name, q := range spec.Facts {
		f.Facts[name] = engine.FactQuery{Group: q.Group, Kind: q.Kind, Namespace: q.Namespace, Name: q.Name, Labels: q.Labels, All: q.All, Wildcard: q.Wildcard, Optional: q.Optional}
	}
	for i, control := range f.Controls {
		if !slices.Contains([]string{"satisfies", "supports", "evidence-for"}, control.Relation) {
			bad(fmt.Sprintf("controls[%d].relation", i), "unknown relation %q: want satisfies, supports or evidence-for", control.Relation)
		}
		if why := unknownControl(control, src.Lazy); why != "" {
			bad(fmt.Sprintf("controls[%d].id", i), "%s", why)
		}
	}
	errs = append(errs, f.readParams(spec.Params, src.Lazy)...)
	if strings.TrimSpace(spec.When) != "" {
		f.when = sync.OnceValues(func() (condition, error) {
			holds, reads, err := c.cel.Condition(src.at(file), []byte(spec.When))
			if err != nil {
				err = f.moved("when", err)
			}
			return condition{holds, reads}, err
		})
		f.When = func(ctx context.Context, in engine.Input) (bool, error) {
			w, err := f.when()
			if err != nil {
				return false, err
			}
			return w.holds(ctx, in)
		}
		if !src.Lazy {
			if _, err := f.when(); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := c.readRule(src, f); err != nil {
		errs = append(errs, err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s%s\n%s", len(raw), raw, f.Language, f.source)
	f.Digest = engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	if len(errs) == 0 {
		// What only the engine knows to be wrong, such as a path that cannot be parsed.
		if _, err := engine.NewSet([]engine.Policy{f.Policy}); err != nil {
			errs = append(errs, f.problem("", err.Error()))
		}
	}
	return f, errors.Join(errs...)
}

// readRule compiles the one rule file of the folder.
func (c compilers) readRule(src Source, f *Folder) error {
	var found []string
	for _, name := range []string{"policy.rego", "policy.cel"} {
		if _, err := fs.Stat(src.FS, path.Join(f.Dir, name)); err == nil {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return f.problem("", fmt.Sprintf("the folder holds %d of policy.rego and policy.cel, want exactly one", len(found)))
	}
	f.ruleFile, f.Language = found[0], strings.TrimPrefix(path.Ext(found[0]), ".")
	file := path.Join(f.Dir, f.ruleFile)
	var err error
	if f.source, err = fs.ReadFile(src.FS, file); err != nil {
		return problem(src.at(file), 0, 0, err)
	}
	f.rule = sync.OnceValues(func() (rule, error) { return c.compileRule(src.at(file), f) })
	f.Policy.Rule = lazyRule{f.rule}
	if !src.Lazy {
		_, err = f.rule()
	}
	return err
}

func (c compilers) compileRule(file string, f *Folder) (rule, error) {
	if f.Language == "cel" {
		return c.cel.Compile(file, f.source)
	}
	r, err := c.rego.Compile(file, f.source)
	if err != nil {
		return nil, err
	}
	if want := strings.NewReplacer("/", ".", "-", "_").Replace(f.ID); r.Package() != want {
		return nil, problem(file, 1, 1, fmt.Errorf("the package is %s, want %s after the folder", r.Package(), want))
	}
	return r, nil
}

// readParams takes the parameters' schema and their defaults.
func (f *Folder) readParams(schema map[string]any, lazy bool) []error {
	f.Params, f.Properties = map[string]any{}, map[string]any{}
	if schema == nil {
		schema = map[string]any{"type": "object"}
	}
	f.Properties, _ = schema["properties"].(map[string]any)
	if _, ok := schema["additionalProperties"]; !ok {
		schema = maps.Clone(schema)
		schema["additionalProperties"] = false
	}
	f.schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat = true
		compiler.Formats["jurisdiction"] = func(v any) bool { return f.unknownSet(v) == nil }
		compiler.LoadURL = func(url string) (io.ReadCloser, error) {
			return nil, fmt.Errorf("load %s: a schema refers to nothing outside itself", url)
		}
		if err := compiler.AddResource("params", bytes.NewReader(jsonOf(schema))); err != nil {
			return nil, err
		}
		return compiler.Compile("params")
	})
	for name, property := range f.Properties {
		p, _ := property.(map[string]any)
		if value, ok := p["default"]; ok {
			f.Params[name] = value
		}
	}
	if lazy {
		return nil
	}
	if _, err := f.schema(); err != nil {
		return []error{f.problem("params", fmt.Sprintf("params is no JSON Schema: %s", schemaMessage(err)))}
	}
	var errs []error
	for _, bad := range f.checkParams(f.Params) {
		errs = append(errs, f.problem("params.properties"+bad.at, "the default "+bad.message))
	}
	return errs
}

type badParam struct{ at, message string }

// checkParams holds values against the schema.
func (f *Folder) checkParams(values map[string]any) []badParam {
	schema, err := f.schema()
	if err == nil {
		err = schema.Validate(values)
	}
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []badParam{{"", err.Error()}}
	}
	var bad []badParam
	for _, leaf := range leaves(invalid) {
		at := ""
		for _, part := range strings.Split(strings.TrimPrefix(leaf.InstanceLocation, "/"), "/") {
			if n, err := strconv.Atoi(part); err == nil {
				at += engine.Path{{Index: n, Kind: engine.IndexStep}}.String()
			} else if part != "" {
				at += engine.Path{{Key: "x"}, {Key: strings.NewReplacer("~1", "/", "~0", "~").Replace(part)}}.String()[1:]
			}
		}
		message := leaf.Message
		if path, err := engine.ParsePath(strings.TrimPrefix(at, ".")); err == nil && strings.HasSuffix(leaf.KeywordLocation, "/format") {
			path.Walk(values, func(_ engine.Path, v any, _ bool) {
				if err := f.unknownSet(v); err != nil {
					message = err.Error()
				}
			})
		}
		bad = append(bad, badParam{at, message})
	}
	return bad
}

// unknownSet says what keeps a value from naming a set of countries; texts that are none are the type's affair.
func (f *Folder) unknownSet(v any) error {
	name, ok := v.(string)
	if !ok {
		return nil
	}
	_, err := f.regions.Within(region.Place{Countries: []string{"DE"}}, []string{name})
	return err
}

// schemaMessage is what is wrong with a schema, without the library's account of where it looked.
func schemaMessage(err error) string {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	var all []string
	for _, leaf := range leaves(invalid) {
		all = append(all, strings.TrimPrefix(leaf.InstanceLocation+": "+leaf.Message, ": "))
	}
	return strings.Join(all, "; ")
}

func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, c := range e.Causes {
		all = append(all, leaves(c)...)
	}
	return all
}
