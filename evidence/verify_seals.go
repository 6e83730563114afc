package evidence

import (
	"bytes"
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

	"proviso.dev/proviso/engine"
)

// maxList is how many bytes of a seal's list of files are read.
const maxList = 256 << 20

// sealed is one seal as it was read.
type sealed struct {
	dir        string
	seal       Seal
	head       Checkpoint
	population *Checkpoint
	files      FileList
}

// readSeals reads every seal and checks its signature, and settles at which size the log's root must be known for Tessera's
// state. What is left of a seal counts as one.
func (v *verification) readSeals() error {
	v.stateWanted()
	there := map[int]bool{}
	for name := range v.files {
		if n, ok := sealOf(path.Dir(name)); ok {
			there[n] = true
		}
	}
	v.Seals = len(there)
	last := 0
	for _, n := range slices.Sorted(maps.Keys(there)) {
		if n != last+1 {
			v.problem(FileMissing, SealDir(last+1)+"/"+SealStatement, "it is not there, and %s is", SealDir(n))
		}
		last = n
		if s := v.readSeal(n); s != nil {
			v.seals = append(v.seals, s)
		}
	}
	return nil
}

// sealOf is the number of the seal that has a folder.
func sealOf(dir string) (n int, ok bool) {
	n, err := strconv.Atoi(path.Base(dir))
	return n, err == nil && n > 0 && dir == SealDir(n)
}

func (v *verification) readSeal(n int) *sealed {
	s := &sealed{dir: SealDir(n)}
	at := func(file string) string { return s.dir + "/" + file }
	raw, ok := v.read(at(SealStatement), maxBundle)
	if !ok {
		return nil
	}
	subject, err := openStatement(raw, v.key, SealType, &s.seal)
	if err != nil {
		v.problem(statementCode(err), at(SealStatement), "%v", err)
		return nil
	}
	switch {
	case s.seal.Producer != v.Producer.ID || s.seal.Origin != v.Producer.Origin:
		v.problem(OtherLog, at(SealStatement), "it seals the log %s", s.seal.Origin)
	case s.seal.Number != n:
		v.problem(OrderBroken, at(SealStatement), "it is seal %d, not %d", s.seal.Number, n)
	}
	list, ok := v.read(at(SealFiles), maxList)
	if !ok {
		return nil
	}
	if want := "sha256:" + subject.Digest["sha256"]; subject.Name != SealFiles || len(subject.Digest) != 1 || string(DigestOf(list)) != want {
		v.problem(FileAltered, at(SealFiles), "it is not the list that was signed")
		return nil
	}
	if err := Decode(bytes.TrimSuffix(list, []byte("\n")), &s.files); err != nil {
		v.problem(FileAltered, at(SealFiles), "%v", err)
		return nil
	}
	if c := v.sealedHead(at(SealCheckpoint)); c != nil {
		s.head = *c
		if c.Size != s.seal.Size || c.Root != s.seal.Root {
			v.problem(OtherLog, at(SealCheckpoint), "it is not the head that was sealed")
		}
	}
	switch {
	case s.seal.Population != nil:
		s.population = v.sealedHead(at(SealPopulation))
	case v.files[at(SealPopulation)] != nil:
		v.problem(FileUnlisted, at(SealPopulation), "the seal speaks of no population")
	}
	return s
}

// statementCode tells a signature that does not hold from a statement that says something else.
func statementCode(err error) string {
	if strings.HasPrefix(err.Error(), "open statement") {
		return WrongStatement
	}
	return SignatureInvalid
}

func (v *verification) sealedHead(name string) *Checkpoint {
	raw, ok := v.read(name, maxCheckpoint)
	if !ok {
		return nil
	}
	c, err := OpenCheckpoint(raw, v.key, v.Producer.Origin)
	if err != nil {
		v.problem(SignatureInvalid, name, "%v", err)
		return nil
	}
	v.roots[c.Size] = ""
	return &c
}

// checkSeals holds the seals against the log and the newest against the files, and Tessera's state against the log, of which
// seals say nothing once it has grown.
func (v *verification) checkSeals() error {
	v.checkState()
	last := &sealed{}
	for _, s := range v.seals {
		if s.head.Origin != "" {
			v.compare(s.dir+"/"+SealCheckpoint, s.head, RootDiffers)
		}
		if s.population != nil {
			v.compare(s.dir+"/"+SealPopulation, *s.population, RootDiffers)
		}
		place := s.dir + "/" + SealStatement
		if s.seal.Size > v.Head.Size {
			v.problem(Rollback, place, "it speaks of %d records, and the head of the log of %d: an old head was put in its place", s.seal.Size, v.Head.Size)
		}
		if s.seal.Size < last.seal.Size || s.seal.First < last.seal.First {
			v.problem(OrderBroken, place, "it speaks of what was before the seal before it")
		}
		last = s
		v.told(s, place)
	}
	if len(v.seals) == 0 {
		if v.Seals == 0 {
			v.hole(Unsealed, SealsDir, "the folder has no seal: nothing says that no file was added or taken away")
		}
		return nil
	}
	return v.compareFiles(v.seals[len(v.seals)-1])
}

// told holds what a seal says of its run against the records.
func (v *verification) told(s *sealed, place string) {
	at := slices.IndexFunc(v.Runs, func(r Run) bool { return r.First == s.seal.First })
	if at < 0 || v.Runs[at].ID != s.seal.Run || v.Runs[at].Kind != s.seal.Kind {
		if v.LeftOut == 0 {
			v.problem(WrongStatement, place, "the log has no %s %s that begins at record %d", s.seal.Kind, s.seal.Run, s.seal.First)
		}
		return
	}
	run, c := &v.Runs[at], &v.run.courses[at]
	if v.LeftOut > 0 {
		return
	}
	ended := run.Closed && run.Last < s.seal.Size
	if a := c.Activation; s.seal.PolicySet != "" && (a == nil || a.PolicySet != s.seal.PolicySet || a.Pack != s.seal.Pack) {
		v.problem(WrongStatement, place, "it speaks of the policies %s, which were not in force last", s.seal.PolicySet)
	}
	if ended && s.seal.Complete && (run.Reason != "done" || run.Counts.Holes > 0) {
		v.problem(WrongStatement, place, "it speaks of a complete run, and the records do not")
	}
	switch p := s.seal.Population; {
	case p == nil && c.Population == nil:
	case p == nil || c.Population == nil || *p != *c.Population:
		v.problem(PopulationWrong, place, "it speaks of another population than the records")
	case s.population != nil && (s.population.Size <= c.listed || c.judged > 0 && s.population.Size > c.judged):
		v.problem(PopulationWrong, s.dir+"/"+SealPopulation, "it was signed at %d, and record %d lists the population and record %d is the first to judge it", s.population.Size, c.listed, c.judged)
	}
}

// compareFiles holds the folder against the newest seal's list.
func (v *verification) compareFiles(s *sealed) error {
	grown := v.tiles.Size() > s.seal.Size
	if grown {
		v.hole(Unsealed, s.dir, "%s after the newest seal", plural(v.tiles.Size()-s.seal.Size, "record came", "records came"))
	}
	running := v.run.this != nil && !v.run.this.Closed
	// What a log that grew has written since is checked by its records. What a record will speak of is written before it, and
	// some of a record before all of it.
	grows := func(name string) bool {
		switch dir, _, _ := strings.Cut(name, "/"); dir {
		case LogDir:
			return grown
		case "inputs", ObjectsDir:
			return grown || running
		case "records":
			return grown || name == v.torn
		}
		return false
	}
	if v.exported != nil {
		v.exported.compareSealed(v, s)
		return nil
	}
	listed := map[string]bool{}
	last := ""
	for _, f := range s.files.Files {
		if f.Path <= last {
			v.problem(FileAltered, s.dir+"/"+SealFiles, "%s is not in its order", f.Path)
		}
		last = f.Path
		listed[f.Path] = true
		if _, state := stateFiles[f.Path]; state {
			continue // it was held against the records
		}
		info := v.files[f.Path]
		switch {
		case info == nil && grows(f.Path) && strings.HasPrefix(f.Path, LogDir+"/"):
		case info == nil:
			v.problem(FileMissing, f.Path, "the newest seal lists it, and it is not there")
		case grows(f.Path) && strings.HasPrefix(f.Path, LogDir+"/"):
		case info.Size() < f.Size || info.Size() > f.Size && !grows(f.Path):
			v.problem(FileAltered, f.Path, "it has %d bytes, and had %d when it was sealed", info.Size(), f.Size)
		default:
			d, err := v.digest(f.Path, f.Size)
			if f.Path == SaltFile && errors.Is(err, fs.ErrPermission) {
				v.saltKept = true // its owner's alone, and nothing is checked by it
			} else if err != nil {
				v.problem(FileAltered, f.Path, "read: %v", err)
			} else if d != f.Digest {
				v.problem(FileAltered, f.Path, "it is not what it was when it was sealed")
			}
		}
	}
	for name := range v.files {
		if !listed[name] && !strings.HasPrefix(name, s.dir+"/") && !grows(name) {
			v.problem(FileUnlisted, name, "the newest seal does not list it")
		}
	}
	return nil
}

// digest is that of the first bytes of a file.
func (v *verification) digest(name string, size int64) (engine.Digest, error) {
	return digestFile(v.fsys, name, size)
}

func digestFile(fsys fs.FS, name string, size int64) (engine.Digest, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if n, err := io.CopyN(h, f, size); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("after %d bytes: %w", n, err)
	}
	return engine.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))), nil
}

// readObjects checks that every object is what its name says.
func (v *verification) readObjects() error {
	for name, info := range v.files {
		digest, ok := strings.CutPrefix(name, ObjectsDir+"/")
		if !ok {
			continue
		}
		d, err := v.digest(name, info.Size())
		if err != nil {
			v.problem(ObjectAltered, name, "read: %v", err)
		} else if string(d) != "sha256:"+digest {
			v.problem(ObjectAltered, name, "it is not what its name says")
		}
		v.objects[engine.Digest("sha256:"+digest)] = true
	}
	return nil
}
