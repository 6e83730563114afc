//go:build linux || darwin

package velero

import "syscall"

// pages answers n zero bytes from outside the heap, and how to give them back. The collector's headroom is a share of
// the heap: what is kept of millions of objects would be had several times over.
func pages(n int) ([]byte, func(), error) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, err
	}
	return b, func() { _ = syscall.Munmap(b) }, nil
}
