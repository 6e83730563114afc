// Package manifest turns files of Kubernetes manifests, YAML or JSON, into subjects, and answers facts from them. It
// reads folders, files and a standard input, in a fixed order, one document at a time, and reports what it cannot read
// instead of passing it by; it never writes, renders or fetches anything.
//
// Start at [Files] and [NewFacts].
package manifest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/decode"
)

// Files inspects manifests. It implements [engine.Inspector]: what it yields comes in the order of Paths, then of names,
// then of the documents in a file. It may be inspected more than once.
type Files struct {
	// Paths are files, folders, and "-" for Stdin. A folder stands for the .yaml, .yml and .json files in it, however deep,
	// hidden folders and files left out; a file that is named is read whatever its name.
	Paths []string
	// Stdin is what "-" stands for; see [ReadStdin]. StdinName is how places name it, "stdin" where empty.
	Stdin     []byte
	StdinName string
	// Held is what paths held that can be read only once, such as pipes; see [Hold].
	Held map[string][]byte
	// Operation is what each subject carries: engine.Create for what is about to be deployed, "" for what exists.
	Operation string
	// Namespace is that of objects which name none, as kubectl apply --namespace puts them there; empty leaves them without.
	// Kubernetes' own cluster-scoped kinds get none.
	Namespace string
	// Misspelt finds keys that differ only in case from those policies read; such a document is reported as broken, not
	// judged. It may be nil.
	Misspelt func(*engine.Subject) []engine.Misspelling
	// Limits bound what one document may cost; the zero value stands for decode's defaults.
	Limits decode.Limits
}

// MaxStdin is how many bytes [ReadStdin] takes.
const MaxStdin = 256 << 20

// ReadStdin reads r to its end, because its text is wanted twice: for subjects and for facts. What is longer than
// [MaxStdin] is an error.
func ReadStdin(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxStdin+1))
	if err != nil {
		return nil, fmt.Errorf("read stdin: %w", err)
	}
	if len(data) > MaxStdin {
		return nil, fmt.Errorf("read stdin: it is longer than %d MiB (write it to a file, and name the file)", MaxStdin>>20)
	}
	return data, nil
}

// Hold reads the paths that can be read only once, pipes and devices, so that inspecting and answering facts can both
// have them. Paths that are files or folders, or not there, are left alone.
func Hold(paths ...string) (map[string][]byte, error) {
	held := map[string][]byte{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if path == "-" || err != nil || info.Mode().IsRegular() || info.IsDir() || held[path] != nil {
			continue
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, reason(err))
		}
		data, err := ReadStdin(file)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		held[path] = data
	}
	return held, nil
}

// Inspect yields a subject for each object, and an *[engine.Unread] for each document, file or folder that is none:
// broken, not a manifest, or a chart template.
func (f *Files) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		// Decoding ahead on several CPUs was measured, and does not pay: engine's Run judges while the next document is
		// decoded, and a document takes less to decode than to hand over and judge.
		for p := range f.texts() {
			for _, o := range f.subjects(p) {
				if err := context.Cause(ctx); err != nil {
					// A stopped inspection is not a complete one.
					yield(nil, &engine.Unread{Source: p.source, Kind: engine.Hole, Err: err})
					return
				}
				if !yield(o.subject, o.err) {
					return
				}
			}
		}
	}
}

// outcome is a subject, or why there is none.
type outcome struct {
	subject *engine.Subject
	err     error
}

// piece is one document's text, or what kept one from being read, on its way to becoming subjects.
type piece struct {
	source string
	text   decode.Text
	err    error
	// template marks a file in the templates folder of a chart.
	template bool
	// other is what a file is, going by its name, if it is no manifest.
	other string
}

// texts walks the paths and cuts their files into documents.
func (f *Files) texts() iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for _, path := range f.Paths {
			for file, err := range f.walk(path) {
				if err != nil {
					if !yield(piece{source: path, err: err}) {
						return
					}
					continue
				}
				if !f.cut(path, file, yield) {
					return
				}
			}
		}
	}
}

func (f *Files) stdinName() string {
	if f.StdinName != "" {
		return f.StdinName
	}
	return "stdin"
}

// cut yields the documents of one file.
func (f *Files) cut(path, file string, yield func(piece) bool) bool {
	p := piece{source: path}
	var r io.Reader = bytes.NewReader(f.Stdin)
	name := file
	if file == "-" {
		name = f.stdinName()
	} else {
		p.template, p.other = inChart(file), otherFile(file)
		if p.template { // once for the file: its documents are not documents yet
			p.text = decode.Text{File: name, Line: 1}
			return yield(p)
		}
		if held, once := f.Held[file]; once {
			r = bytes.NewReader(held)
		} else {
			opened, err := os.Open(file)
			if err != nil {
				p.err = broken(path, file, reason(err))
				return yield(p)
			}
			defer opened.Close()
			r = opened
		}
	}
	for text, err := range decode.Texts(r, name, f.Limits) {
		p.text, p.err = text, err
		if !yield(p) {
			return false
		}
	}
	return true
}

// walk yields the files that path stands for, sorted.
func (f *Files) walk(path string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if path == "-" {
			yield(path, nil)
			return
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			yield("", broken(path, path, reason(err)))
			return
		case info.Mode().IsRegular(), !info.IsDir() && info.Mode()&(fs.ModeNamedPipe|fs.ModeCharDevice) != 0:
			yield(path, nil)
			return
		case !info.IsDir():
			yield("", broken(path, path, errors.New("it is neither a file nor a folder")))
			return
		}
		found, stopped := false, false
		walkFolder(path, path, &found, func(file string, err error) bool {
			stopped = !yield(file, err)
			return !stopped
		})
		if !found && !stopped {
			yield("", &engine.Unread{Source: path, Position: engine.Position{File: path}, Kind: engine.Hole,
				Err: errors.New("read folder: it holds no .yaml, .yml or .json file (name another, or name the files)")})
		}
	}
}

// walkFolder yields the files below folder. Links to files are followed; links to folders are not, so that no folder is
// read twice or for ever: they are reported, because what they lead to goes unseen.
func walkFolder(source, folder string, found *bool, yield func(string, error) bool) bool {
	entries, err := os.ReadDir(folder)
	if err != nil {
		*found = true
		if !yield("", broken(source, folder, reason(err))) {
			return false
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(folder, e.Name())
		isDir, regular := e.IsDir(), e.Type().IsRegular()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(path)
			switch {
			case err == nil && info.IsDir():
				*found = true
				if !yield("", &engine.Unread{Source: source, Position: engine.Position{File: path}, Kind: engine.Hole,
					Err: errors.New("read folder: it is a link, and links to folders are not followed (name the folder it leads to)")}) {
					return false
				}
				continue
			case err != nil && manifestName(path):
				*found = true
				if !yield("", broken(source, path, reason(err))) {
					return false
				}
				continue
			}
			regular = err == nil && info.Mode().IsRegular()
		}
		switch {
		case isDir:
			if !walkFolder(source, path, found, yield) {
				return false
			}
		case !manifestName(path):
		case regular:
			*found = true
			if !yield(path, nil) {
				return false
			}
		default:
			*found = true
			if !yield("", &engine.Unread{Source: source, Position: engine.Position{File: path}, Kind: engine.Hole,
				Err: errors.New("read folder: it is no regular file, and such are read only when they are named")}) {
				return false
			}
		}
	}
	return true
}

func manifestName(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path)))
}

// otherFile names what a file is that other tools read, going by its name; "" for all others.
func otherFile(path string) string {
	switch filepath.Base(path) {
	case "Chart.yaml", "Chart.yml":
		return "a Helm chart's description"
	case "values.yaml", "values.yml", "values.schema.json":
		return "a Helm chart's values"
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return "a kustomization"
	}
	return ""
}

// inChart reports whether a file lies in the templates folder of a Helm chart.
func inChart(path string) bool {
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if filepath.Base(folder) == "templates" {
			if _, err := os.Stat(filepath.Join(filepath.Dir(folder), "Chart.yaml")); err == nil {
				return true
			}
		}
		if folder == filepath.Dir(folder) {
			return false
		}
	}
}

// reason is what went wrong without the path, which the place says already.
func reason(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read: %w (check the path)", err)
	}
	return fmt.Errorf("read: %w", err)
}

func broken(source, file string, err error) *engine.Unread {
	return &engine.Unread{Source: source, Position: engine.Position{File: file}, Err: err}
}
