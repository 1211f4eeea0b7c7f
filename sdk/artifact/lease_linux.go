package artifact

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// takeLease asks for a read lease on a file opened for reading. It is granted
// only while nobody has the file open for writing or mapped writable; while it
// is held, whoever opens or truncates the file waits, and the lease shows it.
func takeLease(f *os.File) bool {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	return err == nil
}

// endLease lets those who wait for the lease go on.
func endLease(f *os.File) {
	// A lease that cannot be given back ends with the file.
	_, _ = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
}

// leaseHeld reports whether the lease is held and nobody waits for its end.
func leaseHeld(f *os.File) bool {
	kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
	return err == nil && kind == unix.F_RDLCK
}

// linkOpen gives an open file, and no other, a further name.
func linkOpen(f *os.File, path string) error {
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()),
		unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

// cloneFile makes dst share the blocks of src, and reports whether it did.
func cloneFile(dst, src *os.File) bool {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil
}
