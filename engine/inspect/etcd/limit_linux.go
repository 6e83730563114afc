package etcd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// limit bounds the memory the process may write to, and keeps it from leaving a core file, which would hold Secrets. The
// bound is on data, not on address space: the mapped file, however large, is only read.
func limit(memory int64) error {
	for which, most := range map[int]uint64{unix.RLIMIT_DATA: uint64(memory), unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(which, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit memory: %w", err)
		}
	}
	return nil
}
