package evidence

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a Merkle tree (RFC 6962, section 2.1) to which leaves are added. The zero value is empty.
type Tree struct {
	size uint64
	// edge are the roots of the full subtrees, largest first: one for each bit of size.
	edge []tlog.Hash
}

// Add appends a leaf.
func (t *Tree) Add(leaf []byte) { t.addHash(tlog.RecordHash(leaf)) }

func (t *Tree) addHash(h tlog.Hash) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		h, t.edge = tlog.NodeHash(t.edge[last], h), t.edge[:last]
	}
	t.edge = append(t.edge, h)
	t.size++
}

// Size is how many leaves there are.
func (t *Tree) Size() uint64 { return t.size }

// Root is the root in base64, as checkpoints write it.
func (t *Tree) Root() string {
	if t.size == 0 {
		return base64.StdEncoding.EncodeToString(emptyRoot)
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return base64.StdEncoding.EncodeToString(h[:])
}

// emptyRoot is SHA-256 of nothing.
var emptyRoot = []byte("\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55")

// Checkpoint is the head of a log (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	// Root is in base64.
	Root string `json:"root"`
}

// maxCheckpoint is how many bytes of a signed note are read.
const maxCheckpoint = 64 << 10

// OpenCheckpoint checks a signed checkpoint of the log with an origin.
func OpenCheckpoint(raw []byte, key *Key, origin string) (Checkpoint, error) {
	var c Checkpoint
	if len(raw) > maxCheckpoint {
		return c, fmt.Errorf("open checkpoint: it is larger than %d bytes", maxCheckpoint)
	}
	n, err := note.Open(raw, note.VerifierList(key.Checkpoints(origin)))
	if err != nil {
		if _, unsigned := errors.AsType[*note.UnverifiedNoteError](err); unsigned {
			err = errors.New("no signature of it is of this key and this log")
		}
		return c, fmt.Errorf("open checkpoint: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 {
		return c, errors.New("open checkpoint: want one signature and no other")
	}
	// The note reader is not strict about the bits that base64 leaves unused.
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil || string(raw) != n.Text+"\n— "+origin+" "+n.Sigs[0].Base64+"\n" {
		return c, errors.New("open checkpoint: it is not as it is written: something was altered or added")
	}
	c, err = parseCheckpoint(n.Text)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("open checkpoint: it is of the log %s, not of %s", c.Origin, origin)
	}
	return c, err
}

func parseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, errors.New("open checkpoint: want three lines, origin, size and root")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("open checkpoint: the size %q is no number", lines[1])
	}
	if root, err := base64.StdEncoding.Strict().DecodeString(lines[2]); err != nil || len(root) != tlog.HashSize {
		return Checkpoint{}, errors.New("open checkpoint: the root is no hash")
	}
	return Checkpoint{lines[0], size, lines[2]}, nil
}
