// Package home is the directory that cairn keeps its state in: where it is,
// what stands where, who may use it, and which hosts live on it. Start with
// Resolve.
package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// Home is a home directory and the runtime directory that goes with it, both
// absolute. A value of it touches no file.
type Home struct {
	// Dir holds what lasts.
	Dir string
	// RuntimeDir holds sockets and whatever else dies with its process.
	RuntimeDir string
}

// Resolve finds the home of this process: CAIRN_HOME, else $XDG_DATA_HOME/cairn,
// else ~/.local/share/cairn; and the runtime directory: $XDG_RUNTIME_DIR/cairn,
// else /tmp/cairn-UID. Nothing is made.
func Resolve() (Home, error) {
	return resolve(os.Getenv, os.UserHomeDir, os.Getuid())
}

func resolve(getenv func(string) string, userHome func() (string, error), uid int) (Home, error) {
	var h Home
	switch {
	case getenv("CAIRN_HOME") != "":
		h.Dir = getenv("CAIRN_HOME")
	case filepath.IsAbs(getenv("XDG_DATA_HOME")):
		h.Dir = filepath.Join(getenv("XDG_DATA_HOME"), "cairn")
	default:
		dir, err := userHome()
		if err != nil || !filepath.IsAbs(dir) {
			return h, diag.Errorf(diag.Invalid, "there is no place for cairn's home: neither CAIRN_HOME nor HOME is set").
				WithHint("say where: export CAIRN_HOME=DIR")
		}
		h.Dir = filepath.Join(dir, ".local", "share", "cairn")
	}
	if runtime := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		h.RuntimeDir = filepath.Join(runtime, "cairn")
	} else {
		h.RuntimeDir = filepath.Join("/tmp", "cairn-"+strconv.Itoa(uid))
	}
	dir, err := filepath.Abs(h.Dir)
	if err != nil {
		return h, fmt.Errorf("resolve the home: %w", err)
	}
	h.Dir = dir
	return h, nil
}

// DB is the database.
func (h Home) DB() string { return filepath.Join(h.Dir, "cairn.db") }

// Artifacts is the default artifact store.
func (h Home) Artifacts() string { return filepath.Join(h.Dir, "artifacts") }

// Logs holds the logs of hosts and runs.
func (h Home) Logs() string { return filepath.Join(h.Dir, "logs") }

// HostLog is the log of the hosts of this home.
func (h Home) HostLog() string { return filepath.Join(h.Logs(), "host.log") }

// RunLogs holds the logs of one run.
func (h Home) RunLogs(runID string) string { return filepath.Join(h.Logs(), "runs", runID) }

// RunLog is a run's own log: what its program printed.
func (h Home) RunLog(runID string) string { return filepath.Join(h.RunLogs(runID), "run.log") }

// AttemptLog is the log of an attempt at a step.
func (h Home) AttemptLog(runID, attemptID string) string {
	return filepath.Join(h.RunLogs(runID), attemptID+".log")
}

// Plugins holds the plugins that the user installed.
func (h Home) Plugins() string { return filepath.Join(h.Dir, "plugins") }

// Identity is the age identity that secrets are encrypted for, unless
// CAIRN_IDENTITY_FILE names another.
func (h Home) Identity() string { return filepath.Join(h.Dir, "identity") }

// Hosts holds the locks of hosts.
func (h Home) Hosts() string { return filepath.Join(h.Dir, "hosts") }

// RuntimeDirOf is a host's own runtime directory. Its path is short, since it
// holds sockets.
func (h Home) RuntimeDirOf(hostID string) string {
	return filepath.Join(h.RuntimeDir, hostID[max(0, len(hostID)-10):])
}

// schemaLock is the lock on the database's schema.
func (h Home) schemaLock() string { return filepath.Join(h.Dir, "schema.lock") }

// Exists reports whether the home has a database.
func (h Home) Exists() bool {
	st, err := os.Stat(h.DB())
	return err == nil && st.Mode().IsRegular() && st.Size() > 0
}

// The environment variables that move the home and the runtime directory.
const (
	homeVariable    = "CAIRN_HOME"
	runtimeVariable = "XDG_RUNTIME_DIR"
)

// Ensure makes home and runtime directory where they are missing, for this user
// alone whatever the umask, and refuses, with a *diag.Error, what cannot serve:
// a file, a directory of somebody else's, one without write permission, one on
// a network file system.
func (h Home) Ensure() error {
	if err := ensurePrivate(h.Dir, homeVariable, h.populated); err != nil {
		return err
	}
	if name := networkFileSystem(h.Dir); name != "" {
		return onNetwork(h.Dir, name)
	}
	for _, dir := range []string{h.Hosts(), h.Logs()} {
		if err := ensureDir(dir); err != nil {
			return unusable(dir, homeVariable, err)
		}
	}
	return h.EnsureRuntimeDir()
}

// EnsureRuntimeDir makes the runtime directory where it is missing, and refuses
// one that others could have prepared.
func (h Home) EnsureRuntimeDir() error {
	if st, err := os.Lstat(h.RuntimeDir); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		return diag.Errorf(diag.Refused, "the runtime directory %s is a symbolic link, which anybody could have made", h.RuntimeDir).
			WithHint("remove it: rm %s", h.RuntimeDir)
	}
	return ensurePrivate(h.RuntimeDir, runtimeVariable, func() bool { return false })
}

// Check refuses what Ensure refuses of a home that exists, and changes nothing.
// It serves those who only read.
func (h Home) Check() error {
	st, err := os.Stat(h.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return unusable(h.Dir, homeVariable, err)
	case !st.IsDir():
		return notADirectory(h.Dir, homeVariable)
	}
	if name := networkFileSystem(h.Dir); name != "" {
		return onNetwork(h.Dir, name)
	}
	return nil
}

// RemoveRunLogs removes the logs of a run; none is no error.
func (h Home) RemoveRunLogs(runID string) error {
	if !plainName(runID) {
		return fmt.Errorf("%q is no run id", runID)
	}
	return os.RemoveAll(h.RunLogs(runID))
}

// plainName reports whether an id can be a file's name, and leads nowhere else.
func plainName(id string) bool {
	return id != "" && id != "." && id != ".." && filepath.Base(id) == id
}

// populated reports whether the home is one of cairn's, or empty: then its mode
// is cairn's to set.
func (h Home) populated() bool {
	entries, err := os.ReadDir(h.Dir)
	if err != nil {
		return false
	}
	if len(entries) == 0 {
		return true
	}
	_, err = os.Stat(h.DB())
	return err == nil
}

// ensurePrivate makes a directory that only this user can enter. One that is
// there with a wider mode is narrowed where mayNarrow says that it is ours to
// change.
func ensurePrivate(dir, variable string, mayNarrow func() bool) error {
	if err := ensureDir(dir); err != nil {
		if st, statErr := os.Stat(dir); statErr == nil && !st.IsDir() {
			return notADirectory(dir, variable)
		}
		return unusable(dir, variable, err)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return unusable(dir, variable, err)
	}
	if !st.IsDir() {
		return notADirectory(dir, variable)
	}
	if owner := ownerOf(st); owner != os.Geteuid() {
		return diag.Errorf(diag.Refused, "%s belongs to another user (uid %d)", dir, owner).
			WithHint("choose a directory of your own: export %s=DIR", variable)
	}
	if st.Mode().Perm()&0o077 != 0 {
		if !mayNarrow() {
			return diag.Errorf(diag.Refused, "%s can be read or written by others (mode %04o)", dir, st.Mode().Perm()).
				WithHint("if it is to be cairn's alone: chmod 700 %s; else choose another directory: export %s=DIR", dir, variable)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return unusable(dir, variable, err)
		}
	}
	if err := writable(dir); err != nil {
		return diag.Errorf(diag.Refused, "no permission to write to %s", dir).
			WithDetail("%v", err).WithHint("chmod 700 %s; or choose another directory: export %s=DIR", dir, variable)
	}
	return nil
}

// ensureDir makes a directory with mode 0700; parents get the usual mode.
func ensureDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			if st, statErr := os.Stat(dir); statErr == nil && st.IsDir() {
				return nil
			}
		}
		return err
	}
	return os.Chmod(dir, 0o700)
}

func notADirectory(dir, variable string) error {
	return diag.Errorf(diag.Refused, "%s is a file, and a directory is needed there", dir).
		WithHint("move the file away, or choose another place: export %s=DIR", variable)
}

func unusable(dir, variable string, err error) error {
	e := diag.Errorf(diag.Refused, "cannot use %s", dir)
	e.Err = err
	return e.WithDetail("%v", err).WithHint("choose a directory that you can write to: export %s=DIR", variable)
}

func onNetwork(dir, name string) error {
	local := fmt.Sprintf("/var/tmp/cairn-%d", os.Getuid())
	return diag.Errorf(diag.Refused, "the home %s is on a network file system (%s)", dir, name).
		WithDetail("a database shared over one is not safe: locks and shared memory do not reach other machines").
		WithHint("keep it on a local disk:\n  mkdir -p -m 700 %s\n  export CAIRN_HOME=%s", local, local)
}
