package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"proviso.dev/proviso/engine"
)

// Previous is what the last scan in a folder said: the newest that ended as it should and that the folder's signed head covers.
// It holds names and verdicts; what was judged is read when it is asked for. Many goroutines may use it.
type Previous struct {
	Verified *Verified
	Run      Run
	// At is the instant it judged by, which is not the clock's where it was Simulated; where it judged nothing, when it began.
	At        time.Time
	Simulated bool
	// Pack is the object with the policies it judged by.
	Pack engine.Digest
	// Unread counts what it knew to be there and did not read.
	Unread int
	// CutOff are the scans after it, which did not end as they should or are not signed to their end.
	CutOff []Run

	mu       sync.Mutex // of folder
	folder   *Folder
	policies []string
	subjects []formerSubject
	named    map[subjectKey][]int32
	sources  sourceStates
	// clusters are the uids of clusters by their sources, as far as the scan knew them.
	clusters map[string]string
}

// formerSubject is a subject with what the policies said of it.
type formerSubject struct {
	engine.Named
	input   engine.Digest
	results []formerResult
}

type formerResult struct {
	policy int32
	engine.Outcome
}

// subjectKey is by what a subject is known again. In which file it stands is no part of that; in which backup is.
type subjectKey struct{ group, kind, namespace, name, source, archive string }

func keyOf(n *engine.Named) subjectKey {
	archive, within := engine.Position{File: n.File}.Archive()
	if !within {
		archive = ""
	}
	return subjectKey{(&engine.Subject{APIVersion: n.APIVersion}).Group(), n.Kind, n.Namespace, n.Name, cleaned(n.Source), cleaned(archive)}
}

// cleaned is a source or a file as it is compared: a folder has many names, deploy and ./deploy/.
func cleaned(name string) string {
	scheme, rest, ok := strings.Cut(name, ":")
	switch {
	case name == "", ok && scheme == "cluster", strings.Contains(name, "://"):
		return name
	case ok && slices.Contains([]string{"velero", "bucket", "etcd", "cloud"}, scheme):
		return scheme + ":" + path.Clean(filepath.ToSlash(rest))
	}
	return path.Clean(filepath.ToSlash(name))
}

// sourceStates are the sources a run looked at, cleaned, and whether it read them whole. What was not read and names no source
// may belong to any.
type sourceStates map[string]bool

func (s sourceStates) read(source string) {
	if !s.looked(source) {
		s[cleaned(source)] = true
	}
}

func (s sourceStates) looked(source string) bool {
	_, known := s[cleaned(source)]
	return known
}

// asked takes what the user named to be looked at. Subjects name it with or without its scheme.
func (s sourceStates) asked(scope []string) {
	for _, source := range scope {
		s.read(source)
		if _, rest, ok := strings.Cut(source, ":"); ok {
			s.read(rest)
		}
	}
}

func (s sourceStates) unread(source string) { s[cleaned(source)] = false }

func (s sourceStates) whole(source string) bool {
	if whole, some := s[""]; some && !whole {
		return false
	}
	return s[cleaned(source)]
}

// NotVerified is the error of evidence that does not verify.
type NotVerified struct{ Problems []Problem }

func (e *NotVerified) Error() string {
	more := ""
	if n := len(e.Problems) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more problems", n)
	}
	return fmt.Sprintf("the evidence does not verify: %s%s (proviso evidence verify says all)", e.Problems[0], more)
}

// openVerified opens a folder that verifies.
func openVerified(fsys fs.FS, o Options) (*Folder, *Verified, error) {
	v, err := Verify(fsys, o)
	if err != nil {
		return nil, nil, err
	}
	if len(v.Problems) > 0 {
		return nil, v, &NotVerified{v.Problems}
	}
	f, err := OpenFolder(fsys)
	return f, v, err
}

// Scans are the runs of the log that are scans: done are those that ended as they should and are signed to their end, cutOff the
// others.
func (v *Verified) Scans() (done, cutOff []Run) {
	for i, r := range v.Runs {
		if i+1 < len(v.Runs) {
			r.Last = v.Runs[i+1].First - 1
		}
		switch {
		case r.Kind != "scan":
		case r.Closed && r.Reason == "done" && r.Last < v.Head.Size:
			done = append(done, r)
		default:
			cutOff = append(cutOff, r)
		}
	}
	return done, cutOff
}

// OpenPrevious verifies a folder, or an auditor bundle, and reads what the last scan in it said. The error is a
// [NotVerified] where it does not verify.
func OpenPrevious(fsys fs.FS, o Options) (*Previous, error) {
	folder, v, err := openVerified(fsys, o)
	if err != nil {
		return nil, fmt.Errorf("read the previous scan: %w", err)
	}
	scans, cutOff := v.Scans()
	if len(scans) == 0 {
		return nil, errors.Join(fmt.Errorf("read the previous scan: %w", noScan(v)), folder.Close())
	}
	p := &Previous{Verified: v, Run: scans[len(scans)-1], At: scans[len(scans)-1].Start, folder: folder, named: map[subjectKey][]int32{}, sources: sourceStates{}, clusters: map[string]string{}}
	p.CutOff = slices.DeleteFunc(cutOff, func(r Run) bool { return r.First < p.Run.First })
	if err := p.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the previous scan: %w", err), folder.Close())
	}
	return p, nil
}

// noScan is the error of evidence without a scan to hold another against.
func noScan(v *Verified) error {
	if v.Before != nil {
		return fmt.Errorf("there is none that ended in this log, which goes on from the log %s: name the folder of that one", v.Before.Origin)
	}
	return errors.New("there is none that ended (scan … --evidence DIR makes one)")
}

// Close closes the folder.
func (p *Previous) Close() error { return p.folder.Close() }

// Object is a whole file kept by its digest.
func (p *Previous) Object(d engine.Digest) ([]byte, error) { return p.folder.Object(d) }

// formerRecord is the part of a record that is kept of it.
type formerRecord struct {
	Seq        uint64      `json:"seq"`
	Cluster    *Cluster    `json:"cluster"`
	Open       *Open       `json:"open"`
	Activation *Activation `json:"activation"`
	Population *Population `json:"population"`
	Hole       *Hole       `json:"hole"`
	Decision   *struct {
		Subject   Subject       `json:"subject"`
		Now       time.Time     `json:"now"`
		Simulated bool          `json:"simulated"`
		Input     engine.Digest `json:"input"`
		Results   []struct {
			Policy  string `json:"policy"`
			Verdict string `json:"verdict"`
			Effect  string `json:"effect"`
		} `json:"results"`
	} `json:"decision"`
}

// read takes the run's records in, which are verified.
func (p *Previous) read() error {
	numbers, count := map[string]int32{}, uint64(0)
	take := func(raw []byte, _ int64, number int) error {
		var rec formerRecord
		if err := json.Unmarshal(raw, &rec); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if rec.Seq < p.Run.First || rec.Seq > p.Run.Last {
			return nil
		}
		count++
		switch {
		case rec.Open != nil:
			p.sources.asked(rec.Open.Scope)
			for _, source := range rec.Open.Scope {
				p.of(source, rec.Cluster)
			}
		case rec.Activation != nil:
			p.Pack = rec.Activation.Pack
		case rec.Hole != nil:
			p.unread(rec.Hole)
		case rec.Population != nil:
			return p.listed(rec.Population)
		case rec.Decision != nil:
			d := rec.Decision
			p.At, p.Simulated = d.Now, d.Simulated
			s := formerSubject{Named: engine.Named{APIVersion: d.Subject.APIVersion, Kind: d.Subject.Kind, Namespace: d.Subject.Namespace, Name: d.Subject.Name, Source: d.Subject.Source, File: d.Subject.File}, input: d.Input}
			for i := range d.Results {
				r := &d.Results[i]
				n, known := numbers[r.Policy]
				if !known {
					n = int32(len(p.policies))
					numbers[r.Policy] = n
					p.policies = append(p.policies, r.Policy)
				}
				s.results = append(s.results, formerResult{n, outcomeOf(r.Verdict, r.Effect)})
			}
			s.results = slices.Clip(s.results)
			key := keyOf(&s.Named)
			p.named[key] = append(p.named[key], int32(len(p.subjects)))
			p.subjects = append(p.subjects, s)
			p.sources.read(s.Source)
			p.of(s.Source, rec.Cluster)
		}
		return nil
	}
	for first := p.Run.First / SegmentRecords * SegmentRecords; first <= p.Run.Last; first += SegmentRecords {
		name := RecordsFile(first)
		if err := eachLine(p.folder.fsys, name, take); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if want := p.Run.Last - p.Run.First + 1; count != want {
		return fmt.Errorf("%d of the %d records of run %s were left out: give a whole folder or bundle", want-count, want, p.Run.ID)
	}
	return nil
}

// of notes of which cluster a source is.
func (p *Previous) of(source string, c *Cluster) {
	if c != nil && c.UID != "" {
		p.clusters[cleaned(source)] = c.UID
	}
}

// Cluster is the uid of the cluster that a source was; empty where the scan did not know it. Looked is whether it looked at it.
func (p *Previous) Cluster(source string) (uid string, looked bool) {
	return p.clusters[cleaned(source)], p.sources.looked(source)
}

// listed takes what the population knew to be there and was not read.
func (p *Previous) listed(population *Population) error {
	if population.Holes == 0 {
		return nil
	}
	err := eachLine(p.folder.fsys, ObjectFile(population.List), func(raw []byte, _ int64, number int) error {
		var item struct {
			Hole *Hole `json:"hole"`
		}
		if err := json.Unmarshal(raw, &item); err != nil {
			return fmt.Errorf("the list of the population: line %d: %w", number, err)
		}
		if item.Hole != nil {
			p.unread(item.Hole)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the list of what run %s was to judge was left out, which says what it did not read: give a whole folder or bundle", p.Run.ID)
	}
	return err
}

// notManifest is the kind of a hole that hides nothing: a document that is no Kubernetes object.
const notManifest = "notManifest"

func (p *Previous) unread(h *Hole) {
	if h.Kind == notManifest {
		p.sources.read(h.Source)
		return
	}
	p.Unread++
	p.sources.unread(h.Source)
}

var verdicts = map[string]engine.Verdict{engine.Pass.String(): engine.Pass, engine.Fail.String(): engine.Fail, engine.NotApplicable.String(): engine.NotApplicable}

// outcomeOf reads a verdict and an effect; what is no verdict is unknown, what is no effect the strictest.
func outcomeOf(verdict, effect string) engine.Outcome {
	mode, _ := engine.ParseMode(effect)
	return engine.Outcome{Verdict: verdicts[verdict], Effect: engine.Effect(mode)}
}

// find is the earlier subject of that name: the one of the same file, or the only one.
func (p *Previous) find(n engine.Named) (at int32, several, found bool) {
	all := p.named[keyOf(&n)]
	for _, i := range all {
		if p.sameFile(i, &n) {
			return i, false, true
		}
	}
	if len(all) == 1 {
		return all[0], false, true
	}
	return 0, len(all) > 1, false
}

func (p *Previous) sameFile(i int32, n *engine.Named) bool {
	return cleaned(p.subjects[i].File) == cleaned(n.File)
}

// Fact is part of engine.FactSource: it answers a query for a Previous by name with what the object of that name, and of
// the subject's kind, namespace and source, was in the earlier scan.
func (p *Previous) Fact(_ context.Context, q engine.FactQuery, about *engine.Subject) (any, engine.FactState, error) {
	if q.Name == "" {
		return nil, engine.FactUnknown, errors.New("what was before is asked for by one name")
	}
	n := about.Named()
	n.Name = q.Name
	at, several, found := p.find(n)
	when := p.At.UTC().Format(time.RFC3339)
	switch {
	case several:
		return nil, engine.FactUnknown, fmt.Errorf("the scan of %s found several %s: %w", when, n, engine.ErrDoubtful)
	case found:
	case !p.sources.looked(n.Source):
		return nil, engine.FactUnknown, fmt.Errorf("the scan of %s did not look at %s", when, n.Source)
	case !p.sources.whole(n.Source):
		return nil, engine.FactUnknown, fmt.Errorf("the scan of %s did not read all of %s", when, n.Source)
	default:
		return nil, engine.FactAbsent, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	input, err := p.folder.Input(p.subjects[at].input)
	switch {
	case errors.Is(err, ErrErased):
		return nil, engine.FactUnknown, fmt.Errorf("what %s was at %s: %w", n, when, err)
	case err != nil:
		return nil, engine.FactUnknown, fmt.Errorf("what %s was at %s: %w: %w", n, when, err, engine.ErrDoubtful)
	}
	meta := map[string]any{"name": n.Name}
	if n.Namespace != "" {
		meta["namespace"] = n.Namespace
	}
	return map[string]any{"apiVersion": "artifact.proviso.dev/v1alpha1", "kind": "Previous", "metadata": meta, "at": when, "object": input.Object}, engine.FactFound, nil
}
