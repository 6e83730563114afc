//go:build !linux && !darwin

package velero

// pages answers n zero bytes, from the heap.
func pages(n int) ([]byte, func(), error) { return make([]byte, n), func() {}, nil }
