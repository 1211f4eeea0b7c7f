package plugin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// locate gives the root that a path lies below, open, and the path below it.
// Nothing that is done through the root leaves it, whatever links there are.
func (i *instance) locate(path string) (*os.Root, string, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, "", refused("the path %q is not absolute and in its shortest form", path)
	}
	for _, r := range i.roots {
		rel, err := filepath.Rel(r, path)
		if err != nil || rel == "." || !filepath.IsLocal(rel) {
			continue
		}
		root, err := os.OpenRoot(r)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return root, rel, err
	}
	return nil, "", refused("the path %s lies outside the directories that host and plugin exchange files in", path)
}

// pathError is an error of a root: the system's, or that a link leads out of it.
func pathError(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return err
	}
	return refused("a symbolic link on the way to %s leads out of the directory that host and plugin exchange files in", path)
}

// openSource opens a file to be stored: regular, and not by a symbolic link.
func (i *instance) openSource(path string, size int64) (*Source, error) {
	root, rel, err := i.locate(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	at, err := root.Lstat(rel)
	if err != nil {
		return nil, pathError(path, err)
	}
	if !at.Mode().IsRegular() {
		return nil, refused("%s is not a regular file", path)
	}
	// Not waiting for a pipe that took the file's place.
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	s, err := sourceOfFile(f)
	switch {
	case err != nil:
	case !os.SameFile(at, s.before):
		err = refused("%s was replaced while it was opened", path)
	case s.size() != size:
		err = &diag.PluginError{Reason: diag.ErrPreconditionFailed, Retry: diag.RetryNever, Fault: diag.FaultUser,
			Summary: fmt.Sprintf("%s has %d bytes, not the %d that were announced", path, s.size(), size)}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// target is a file that is being fetched: it takes its name at the end.
type target struct {
	root *os.Root
	temp string
	rel  string
	file *os.File
}

// newTarget makes a file beside a path that must not exist yet.
func (i *instance) newTarget(path string) (*target, error) {
	root, rel, err := i.locate(path)
	if err != nil {
		return nil, err
	}
	if _, err := root.Lstat(rel); err == nil {
		root.Close()
		return nil, &diag.PluginError{Reason: diag.ErrAlreadyExists, Retry: diag.RetryNever, Fault: diag.FaultUser,
			Summary: fmt.Sprintf("%s exists already", path)}
	}
	t := &target{root: root, rel: rel, temp: filepath.Join(filepath.Dir(rel), ".cairn-get-"+rand.Text())}
	t.file, err = root.OpenFile(t.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		root.Close()
		return nil, pathError(path, err)
	}
	return t, nil
}

// commit gives the file its name, unless that exists by now.
func (t *target) commit(size int64) error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != size {
		return &diag.PluginError{Reason: diag.ErrCorrupt, Retry: diag.RetryNever, Fault: diag.FaultBackend,
			Summary: fmt.Sprintf("the object has %d bytes, not the %d that are expected", info.Size(), size)}
	}
	return t.root.Link(t.temp, t.rel)
}

// close removes what has no name of its own.
func (t *target) close() {
	t.file.Close()
	// The temporary name only; a committed file has another.
	_ = t.root.Remove(t.temp)
	t.root.Close()
}
