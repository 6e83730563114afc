package engine

import "context"

// Signer signs messages. The signature is over the message itself, which the signer hashes as its key wants it; where it
// cannot be made before ctx ends, there is an error and no signature.
type Signer interface {
	Sign(ctx context.Context, message []byte) ([]byte, error)
}
