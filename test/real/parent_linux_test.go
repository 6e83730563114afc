package real

import "syscall"

// withParent has the kernel kill a server when the test process dies without ending it.
func withParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
