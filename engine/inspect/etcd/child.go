package etcd

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/encoding/protowire"
)

// lockWait is how long a file that etcd itself still holds is waited for.
const lockWait = time.Second

// Child reads the database that args name and writes what it found to stdout as one line of JSON. Args are the path, how
// many bytes of memory it may use, and how long it may check pages. It ends the process once stdin ends. The result is the
// exit code: 0 whenever it could answer.
func Child(args []string, stdin io.Reader, stdout io.Writer) int {
	if len(args) != 3 {
		return 1
	}
	memory, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return 1
	}
	checking, err := time.ParseDuration(args[2])
	if err != nil {
		return 1
	}
	go func() {
		io.Copy(io.Discard, stdin) //nolint:errcheck // however it ends, the parent is gone
		os.Exit(1)
	}()
	debug.SetMemoryLimit(memory / 4 * 3)
	if err := limit(memory); err != nil {
		return 1
	}
	if json.NewEncoder(stdout).Encode(figure(args[0], checking)) != nil {
		return 1
	}
	return 0
}

// figure reads the database. A panic of this goroutine is an answer; one of another, or a fault, ends the process.
func figure(path string, checking time.Duration) (told figures) {
	debug.SetPanicOnFault(true)
	defer func() {
		if recover() != nil {
			told = figures{Problem: "its pages cannot be followed (the file is damaged: take the snapshot again)", Consistent: told.Consistent}
		}
	}()
	db, err := bbolt.Open(path, 0, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
	if err != nil {
		return figures{Problem: "it cannot be opened: " + reason(err)}
	}
	tx, err := db.Begin(false)
	if err != nil {
		return figures{Problem: "it cannot be opened: " + reason(err)}
	}
	no := false
	if told.Consistent, told.Unchecked = check(tx, checking); told.Consistent != nil && !*told.Consistent {
		told.Problem = "its pages do not agree (the file is damaged: take the snapshot again)"
		return told
	}
	if err := told.count(tx); err != nil {
		told.Consistent, told.Problem = &no, err.Error()
	}
	return told
}

// reason is an error of bbolt in words that hold nothing of the file.
func reason(err error) string {
	for _, known := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum, berrors.ErrTimeout} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "it is no bbolt database"
}

// check tells whether the pages agree, as far as that can be told in the time given.
func check(tx *bbolt.Tx, within time.Duration) (consistent *bool, unchecked string) {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case err, open := <-tx.Check():
		// What the error says may hold keys.
		agree := err == nil && !open
		return &agree, ""
	case <-late.C:
		return nil, fmt.Sprintf("its pages could not be checked within %v", within)
	}
}

const (
	// revisionLength is that of a key of the database: a revision, "_" and the place in it, 8 bytes each.
	revisionLength = 17
	tombstone      = 't'
)

var errRecord = errors.New("it holds records that etcd does not write (the file is damaged, or of another program)")

// count goes through the revisions from the newest to the oldest; the first record of a key that is met counts.
func (t *figures) count(tx *bbolt.Tx) error {
	bucket := tx.Bucket([]byte("key"))
	if bucket == nil {
		return errors.New("it has no bucket named key, so it is not etcd's")
	}
	seen := map[uint64]struct{}{}
	seed := maphash.MakeSeed()
	found := secrets{Providers: map[string]int64{}}
	kubernetes := false
	cursor := bucket.Cursor()
	for k, v := cursor.Last(); k != nil; k, v = cursor.Prev() {
		deleted := len(k) == revisionLength+1 && k[revisionLength] == tombstone
		if !deleted && len(k) != revisionLength || k[8] != '_' {
			return errRecord
		}
		revision := int64(binary.BigEndian.Uint64(k))
		if revision < 0 {
			return errRecord
		}
		t.Revision = max(t.Revision, revision)
		key, value, ok := record(v, revision, deleted)
		if !ok {
			return errRecord
		}
		// Values are never kept, and of keys only a hash, since there may be millions.
		hash := maphash.Bytes(seed, key)
		if _, old := seen[hash]; old {
			continue
		}
		seen[hash] = struct{}{}
		if deleted {
			continue
		}
		t.Keys++
		switch resource, parts := place(key); {
		case resource == "namespaces" && parts == 3:
			kubernetes = true
		case resource == "secrets" && parts == 4:
			kubernetes = true
			found.add(value)
		}
	}
	if kubernetes {
		t.Secrets = &found
	}
	return nil
}

// place is what an API server keeps under a key: /registry/secrets/default/token is secrets, in 4 parts. The first part is
// whatever the server was told to use.
func place(key []byte) (resource string, parts int) {
	text, rooted := strings.CutPrefix(string(key), "/")
	all := strings.Split(text, "/")
	if !rooted || len(all) < 2 {
		return "", 0
	}
	return all[1], len(all)
}

// add counts a Secret by how its value begins.
func (s *secrets) add(value []byte) {
	s.Total++
	const mark, longest = "k8s:enc:", 64
	rest, encrypted := strings.CutPrefix(string(value[:min(len(value), longest)]), mark)
	name, _, named := strings.Cut(rest, ":")
	if encrypted && named && provider.MatchString(name) {
		s.Encrypted++
		s.Providers[name]++
	}
}

// The fields of etcd's mvccpb.KeyValue.
const (
	fieldKey         = 1
	fieldModRevision = 3
	fieldValue       = 5
)

// record reads a mvccpb.KeyValue without copying it. A record that says it is of another revision than it is filed under
// is not ok; that of a deletion says only its key.
func record(b []byte, revision int64, deleted bool) (key, value []byte, ok bool) {
	var modified uint64
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, nil, false
		}
		b = b[n:]
		switch {
		case field == fieldKey && kind == protowire.BytesType:
			key, n = protowire.ConsumeBytes(b)
		case field == fieldValue && kind == protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		case field == fieldModRevision && kind == protowire.VarintType:
			modified, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return nil, nil, false
		}
		b = b[n:]
	}
	return key, value, len(key) > 0 && (deleted || modified == uint64(revision))
}
