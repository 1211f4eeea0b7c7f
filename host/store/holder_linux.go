package store

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// walWriteLock is the byte of the -shm file that SQLite locks to write.
const walWriteLock = "120"

// lockHolder finds the process that holds the write lock of the database: the
// locks of a descriptor stand in its fdinfo. 0 where it is not to be seen.
func lockHolder(dbPath string) (pid int, name string) {
	shm, err := filepath.EvalSymlinks(dbPath + "-shm")
	if err != nil {
		return 0, ""
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || target != shm {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		info, err := os.ReadFile(filepath.Join(dir, "fdinfo", filepath.Base(fd)))
		if err != nil || !holdsWriteLock(info) {
			continue
		}
		pid, _ = strconv.Atoi(filepath.Base(dir))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		return pid, strings.TrimSpace(string(comm))
	}
	return 0, ""
}

// holdsWriteLock looks for a line such as
// "lock:	1: OFDLCK ADVISORY  WRITE -1 00:2b:1234 120 120".
func holdsWriteLock(fdinfo []byte) bool {
	for line := range bytes.Lines(fdinfo) {
		f := strings.Fields(string(line))
		if len(f) >= 9 && f[0] == "lock:" && f[4] == "WRITE" && f[7] == walWriteLock {
			return true
		}
	}
	return false
}
