//go:build unix && !linux

package real

import "syscall"

func withParent() *syscall.SysProcAttr { return nil }
