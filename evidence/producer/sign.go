package producer

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"proviso.dev/proviso/evidence"
)

// signCheckpoint makes the signed head of a tree, and checks that it verifies: a signer that errs is not published.
func signCheckpoint(ctx context.Context, signer Signer, key *evidence.Key, origin string, tree *evidence.Tree) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, signWithin)
	defer cancel()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, tree.Size(), tree.Root())
	raw, err := note.Sign(&note.Note{Text: text}, &noteSigner{key.Checkpoints(origin), ctx, signer})
	if err != nil {
		return nil, fmt.Errorf("sign checkpoint: %w", err)
	}
	if _, err := evidence.OpenCheckpoint(raw, key, origin); err != nil {
		return nil, fmt.Errorf("sign checkpoint: what the signer gave does not verify: %w", err)
	}
	return raw, nil
}

// noteSigner signs notes by a Signer.
type noteSigner struct {
	note.Verifier
	ctx    context.Context
	signer Signer
}

// Sign is part of note.Signer.
func (s *noteSigner) Sign(message []byte) ([]byte, error) { return s.signer.Sign(s.ctx, message) }
