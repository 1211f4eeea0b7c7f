//go:build !linux

package launch

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketPair makes two connected stream sockets, closed on exec.
func socketPair() (host, plugin *os.File, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	return os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "channel"), nil
}

// waitExited waits until a child has ended, and leaves it to be reaped: a
// kqueue reports the exit before the process is waited for.
func waitExited(pid int) {
	kq, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(kq)
	change := []unix.Kevent_t{{Ident: uint64(pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD, Fflags: unix.NOTE_EXIT}}
	events := make([]unix.Kevent_t, 1)
	for {
		if _, err := unix.Kevent(kq, change, events, nil); err != unix.EINTR {
			return
		}
	}
}

func signalName(s syscall.Signal) string { return unix.SignalName(s) }
