package etcd

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
)

// entry is one write to an etcd: a nil value deletes.
type entry struct {
	key   string
	value []byte
}

func kv(e entry, revision uint64) []byte {
	b := protowire.AppendTag(nil, fieldKey, protowire.BytesType)
	b = protowire.AppendString(b, e.key)
	if e.value == nil {
		return b
	}
	for _, field := range []protowire.Number{2, fieldModRevision, 4} {
		b = protowire.AppendTag(b, field, protowire.VarintType)
		b = protowire.AppendVarint(b, revision)
	}
	b = protowire.AppendTag(b, fieldValue, protowire.BytesType)
	return protowire.AppendBytes(b, e.value)
}

func revisionKey(revision uint64, deleted bool) []byte {
	k := binary.BigEndian.AppendUint64(nil, revision)
	k = append(k, '_')
	k = binary.BigEndian.AppendUint64(k, 0)
	if deleted {
		k = append(k, tombstone)
	}
	return k
}

// save writes a snapshot that holds the entries as revisions 2 and up, with or without its hash.
func save(t testing.TB, entries []entry, hash bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "snapshot.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	const batch = 20000
	for from := 0; from == 0 || from < len(entries); from += batch {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range []string{"key", "meta", "lease"} {
				if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
					return err
				}
			}
			b := tx.Bucket([]byte("key"))
			b.FillPercent = 0.9
			for i, e := range entries[from:min(len(entries), from+batch)] {
				revision := uint64(from + i + 2)
				if err := b.Put(revisionKey(revision, e.value == nil), kv(e, revision)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if hash {
		sign(t, path)
	}
	return path
}

// sign appends the hash to a database.
func sign(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(h.Sum(nil)); err != nil {
		t.Fatal(err)
	}
}
