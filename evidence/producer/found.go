package producer

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/transparency-dev/tessera/api/layout"

	"proviso.dev/proviso/evidence"
)

const (
	tileWidth = layout.TileWidth
	saltBytes = 32
	// stateFile is where Tessera keeps what it has integrated.
	stateFile = ".state/treeState"
)

// tilePath is the file of a full tile; level -1 is that of the bundles of entries.
func tilePath(level int, index uint64) string {
	if level < 0 {
		return layout.EntriesPath(index, 0)
	}
	return layout.TilePath(uint64(level), index, 0)
}

// treeState is what Tessera has integrated.
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

func (s *treeState) root() string { return base64.StdEncoding.EncodeToString(s.Root) }

func readState(dir string) (*treeState, error) {
	raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(stateFile)))
	if err != nil {
		return nil, fmt.Errorf("read the log's state: %w", err)
	}
	s := &treeState{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read the log's state: %w", err)
	}
	return s, nil
}

// entries reads the bundle of the log's entries at an index, as many as there are.
func entries(log string, index uint64) []byte {
	path := filepath.Join(log, tilePath(-1, index))
	if raw, err := os.ReadFile(path); err == nil {
		return raw
	}
	var widest []byte
	partial, _ := os.ReadDir(path + ".p") // none is as bad as one that cannot be read
	for _, p := range partial {
		if raw, err := os.ReadFile(filepath.Join(path+".p", p.Name())); err == nil && len(raw) > len(widest) {
			widest = raw
		}
	}
	return widest
}

// entryBytes is how long an entry of a bundle is: its length in two bytes, and the leaf.
const entryBytes = 2 + 32

// holds reports whether the log's bundle of entries has a leaf at seq.
func holds(bundle []byte, seq uint64, leaf []byte) bool {
	at := int(seq%tileWidth) * entryBytes
	return len(bundle) <= tileWidth*entryBytes && at+entryBytes <= len(bundle) && bundle[at] == 0 && bundle[at+1] == 32 && bytes.Equal(bundle[at+2:at+entryBytes], leaf)
}

// found reads whose folder it is, or makes it one.
func (w *Writer) found(ctx context.Context) error {
	raw, err := os.ReadFile(w.path(evidence.ProducerFile))
	if errors.Is(err, fs.ErrNotExist) {
		if err := unused(w.dir); err != nil {
			return err
		}
		return w.make(ctx)
	}
	if err != nil {
		return err
	}
	if err := evidence.Decode(bytes.TrimSuffix(raw, []byte("\n")), &w.producer); err != nil {
		return fmt.Errorf("read %s: %w", evidence.ProducerFile, err)
	}
	if w.producer.Format != 1 {
		return fmt.Errorf("read %s: format %d: this version writes format 1", evidence.ProducerFile, w.producer.Format)
	}
	text, err := os.ReadFile(w.path(evidence.KeyFile))
	if err != nil {
		return err
	}
	old, err := evidence.ParseKey(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", evidence.KeyFile, err)
	}
	if old.Fingerprint() != w.key.Fingerprint() {
		return fmt.Errorf("it is signed by the key sha256:%s, and you sign with sha256:%s: sign with the first, or start a new folder for the new key", old.Fingerprint(), w.key.Fingerprint())
	}
	if want := w.key.VerifierKey(w.producer.Origin); w.producer.Key != want {
		return fmt.Errorf("read %s: the verifier key is not that of %s: somebody altered it", evidence.ProducerFile, evidence.KeyFile)
	}
	if w.salt, err = os.ReadFile(w.path(evidence.SaltFile)); err == nil && len(w.salt) != saltBytes {
		err = fmt.Errorf("read %s: it has %d bytes: want %d", evidence.SaltFile, len(w.salt), saltBytes)
	}
	return err
}

// unused checks that nothing is in the folder but what a founding that was cut off left.
func unused(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch name := strings.TrimSuffix(filepath.ToSlash(name), unfinished); {
		case name == evidence.LockFile, name == evidence.SaltFile, name == evidence.KeyFile, name == evidence.TrustedRootFile, name == evidence.ProducerFile, name == "reserve":
		case name == evidence.CheckpointFile, strings.HasPrefix(name, evidence.LogDir+"/.state/"):
		default:
			return fmt.Errorf("it has no %s, and %s is in it: name a folder that is new or empty", evidence.ProducerFile, name)
		}
		return nil
	})
}

// make founds the folder. What says whose it is comes last: what is cut off before is made anew.
func (w *Writer) make(ctx context.Context) error {
	id := make([]byte, 16)
	w.salt = make([]byte, saltBytes)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	if _, err := rand.Read(w.salt); err != nil {
		return err
	}
	p := &w.producer
	*p = evidence.Producer{Format: 1, ID: hex.EncodeToString(id), Made: w.now()}
	p.Origin = "proviso.dev/evidence/" + p.ID
	p.Key = w.key.VerifierKey(p.Origin)
	for _, dir := range []string{evidence.ObjectsDir, evidence.SealsDir, evidence.LogDir, evidence.LogDir + "/.state"} {
		if err := os.MkdirAll(w.path(dir), 0o755); err != nil {
			return err
		}
	}
	// What was judged is for nobody else to read, though the folder may have been there before and be open to all.
	for _, dir := range []string{"records", "inputs"} {
		if err := errors.Join(os.MkdirAll(w.path(dir), 0o700), os.Chmod(w.path(dir), 0o700)); err != nil {
			return err
		}
	}
	var empty evidence.Tree
	checkpoint, err := signCheckpoint(ctx, w.o.Signer, w.key, p.Origin, &empty)
	if err != nil {
		return err
	}
	root, err := base64.StdEncoding.DecodeString(empty.Root())
	if err != nil {
		return err
	}
	state, err := json.Marshal(treeState{0, root})
	if err != nil {
		return err
	}
	producer, err := evidence.Encode(p)
	if err != nil {
		return err
	}
	// An empty log as Tessera begins one, whole at once: it would talk of a log that is new, and would want to sign it. Its
	// locks are there from the start, so that the files of a folder at rest are always the same.
	for _, f := range []struct {
		name string
		text []byte
		mode fs.FileMode
	}{
		{evidence.SaltFile, w.salt, 0o600},
		{evidence.KeyFile, w.key.PEM(), 0o644},
		{evidence.TrustedRootFile, []byte(evidence.TrustedRoot), 0o644},
		{"log/.state/version", []byte("1"), 0o644},
		{"log/.state/treeState.lock", nil, 0o644},
		{"log/.state/publish.lock", nil, 0o644},
		{"log/" + stateFile, state, 0o644},
		{evidence.CheckpointFile, checkpoint, 0o644},
		{evidence.ProducerFile, append(producer, '\n'), 0o644},
	} {
		if err := writeFile(w.path(f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(filepath.Clean(w.dir)))
}

var logFile = regexp.MustCompile(`^(checkpoint|\.state/(version|treeState|treeState\.lock|publish\.lock)|tile/(entries|[0-7])/(x\d{3}/)*\d{3}(\.p/([1-9]\d{0,2}))?)$`)

// clean removes what a run that was cut off left half made, and counts the bytes of what stays.
func (w *Writer) clean() error {
	w.disk.bytes.Store(0)
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != w.dir && strings.HasSuffix(path, unfinished) {
			if err := os.RemoveAll(path); err != nil || !d.IsDir() {
				return err
			}
			return fs.SkipDir
		}
		if d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		w.disk.bytes.Add(info.Size())
		return nil
	})
	if err != nil {
		return err
	}
	return cleanLog(w.path(evidence.LogDir))
}

// cleanLog removes what Tessera left half made, in which case it leaves its temporary files behind.
func cleanLog(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && !wholeLogFile(filepath.ToSlash(name), info.Size()) {
			err = os.Remove(path)
		}
		return err
	})
}

// wholeLogFile tells the files of a log from those Tessera had not renamed yet, which end in a random number.
func wholeLogFile(name string, size int64) bool {
	m := logFile.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	if width := m[6]; width != "" {
		each := int64(32)
		if m[3] == "entries" {
			each += 2
		}
		n, err := strconv.Atoi(width)
		return err == nil && n < tileWidth && size == int64(n)*each
	}
	return true
}
