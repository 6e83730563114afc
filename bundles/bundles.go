// Package bundles turns folders of policies and a profile into a checked, compiled, digested *engine.Set. It finds all
// problems at once, each with its place. It never talks to a cluster and never judges anything but the policies' own
// fixtures. Start at [Read], [Load] and [Check].
package bundles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
	"proviso.dev/proviso/engine/region"
)

// Source is a tree of policy folders, DOMAIN/NAME/policy.yaml.
type Source struct {
	// Name stands before file names in messages; empty for the built-in policies.
	Name string
	FS   fs.FS
	// Only restricts it to the policies with these ids; none is all.
	Only []string
	// Lazy leaves rules and schemas to be compiled when they are first asked, so that a run costs what it needs. It is for
	// policies that were compiled before, the built-in ones by tests and those of a pack by who made it: what is wrong with
	// another's is to be told before the run.
	Lazy bool
}

func (s Source) at(file string) string {
	if s.Name == "" || s.Name == "." {
		return file
	}
	return path.Join(s.Name, file)
}

// Catalogue is policies read and compiled, sorted by id.
type Catalogue struct{ Folders []*Folder }

// Read reads and compiles all policies of the sources. The error joins every problem; the catalogue holds the policies
// that have none. A nil table is the built-in regions.
func Read(regions *region.Table, sources ...Source) (*Catalogue, error) {
	if regions == nil {
		regions = region.Builtin()
	}
	c := newCompilers(regions)
	type task struct {
		src    Source
		dir    string
		folder *Folder
		err    error
	}
	var tasks []*task
	var errs []error
	for _, src := range sources {
		dirs, err := policyDirs(src)
		if err != nil {
			errs = append(errs, err)
		}
		for _, dir := range dirs {
			tasks = append(tasks, &task{src: src, dir: dir})
		}
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, t := range tasks {
		turn <- struct{}{}
		wg.Go(func() {
			t.folder, t.err = c.readFolder(t.src, t.dir)
			<-turn
		})
	}
	wg.Wait()
	cat := &Catalogue{}
	seen := map[string]*Folder{}
	for _, t := range tasks {
		if t.err != nil {
			errs = append(errs, t.err)
			continue
		}
		if first := seen[t.folder.ID]; first != nil {
			errs = append(errs, t.folder.problem("", fmt.Sprintf("the policy is there twice, also in %s: rename one folder", orBuiltin(first.Source))))
			continue
		}
		seen[t.folder.ID] = t.folder
		cat.Folders = append(cat.Folders, t.folder)
	}
	slices.SortFunc(cat.Folders, func(a, b *Folder) int { return strings.Compare(a.ID, b.ID) })
	return cat, errors.Join(errs...)
}

func orBuiltin(name string) string {
	if name == "" {
		return "the built-in policies"
	}
	return name
}

func policyDirs(src Source) ([]string, error) {
	var dirs []string
	err := fs.WalkDir(src.FS, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return problem(src.at(file), 0, 0, err)
		}
		if d.Name() == "policy.yaml" && !d.IsDir() {
			if dir := path.Dir(file); len(src.Only) == 0 || slices.Contains(src.Only, dir) {
				dirs = append(dirs, dir)
			}
		}
		return nil
	})
	if err == nil && len(dirs) == 0 {
		err = problem(orBuiltin(src.Name), 0, 0, errors.New("holds no policy: want folders DOMAIN/NAME with a policy.yaml"))
	}
	return dirs, err
}

// Folder finds a policy by id or ref.
func (c *Catalogue) Folder(name string) (*Folder, error) {
	for _, f := range c.Folders {
		if f.ID == name || f.Ref != "" && strings.EqualFold(f.Ref, name) {
			return f, nil
		}
	}
	return nil, c.noPolicy(name)
}

// noPolicy says that there is no policy of that name, and which may be meant: by number, by the last part of the id, or by
// a slip of the pen.
func (c *Catalogue) noPolicy(name string) error {
	bare := func(ref string) string {
		digits := strings.TrimLeft(ref, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_ ")
		return strings.ToLower(strings.Trim(strings.TrimSuffix(ref, digits), "-_ ")) + strings.TrimLeft(digits, "0")
	}
	var ids []string
	for _, f := range c.Folders {
		if f.Ref != "" && bare(f.Ref) == bare(name) {
			return fmt.Errorf("there is no policy %q (did you mean %s, %s?)", name, f.ID, f.Ref)
		}
		ids = append(ids, f.ID)
	}
	hint := didYouMean(name, ids)
	if hint == "" {
		hint = ": proviso policy list shows them"
	}
	return fmt.Errorf("there is no policy %q%s", name, hint)
}

// didYouMean is a hint at the candidate that word was probably meant to be, or nothing where none is near. The last part
// of an id will do for the id.
func didYouMean(word string, candidates []string) string {
	best := decode.Nearest(word, candidates)
	for _, c := range candidates {
		if path.Base(c) == path.Base(word) {
			best = c
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// decodeOne reads the one document of a file of our own into out.
func decodeOne(raw []byte, file string, out any) (*decode.Document, error) {
	doc, err := decode.One(bytes.NewReader(raw), file, decode.Limits{})
	if err != nil {
		return nil, err
	}
	return doc, doc.Into(out)
}

func problem(file string, line, column int, err error) error {
	return &decode.Error{File: file, Line: line, Column: column, Err: err}
}

// placed is a problem at a path of a document.
func placed(doc *decode.Document, file, at string, message string) error {
	var steps []any
	if p, err := engine.ParsePath(at); err == nil {
		steps = p.Steps()
	}
	where := doc.Position(steps...)
	return problem(file, where.Line, where.Column, errors.New(message))
}

// problem is a problem at a path of the folder's policy.yaml.
func (f *Folder) problem(at, message string) error {
	file := Source{Name: f.Source}.at(path.Join(f.Dir, "policy.yaml"))
	if f.doc == nil {
		return problem(file, 0, 0, errors.New(message))
	}
	return placed(f.doc, file, at, message)
}

// moved gives the compile errors of source that stands inside policy.yaml their places there.
func (f *Folder) moved(key string, err error) error {
	start := f.doc.Position(key)
	var errs []error
	for _, e := range unjoin(err) {
		var ce *engine.CompileError
		if errors.As(e, &ce) {
			at := *ce
			lines := f.doc.Lines(start.Line, start.Line)
			if len(lines) == 1 && strings.Contains(lines[0], strings.TrimRight(ce.Source, " ")) {
				at.Column += strings.Index(lines[0], strings.TrimRight(ce.Source, " "))
				at.Source = lines[0]
			}
			at.Line += start.Line - 1
			if at.Source == ce.Source && start.Line > 0 {
				at.Line++ // a block scalar starts on the line after its key
			}
			e = &at
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	return []error{err}
}

func jsonOf(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // decoded values always marshal
	}
	return b
}
