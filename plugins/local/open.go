package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"golang.org/x/sys/unix"
)

// staleAfter is the age at which a temporary file is nobody's any more.
const staleAfter = 24 * time.Hour

// Open makes the store's directories and its marker, or finds them, and gives
// the id in the marker.
func (s *store) Open(context.Context, plugin.OpenRequest) (plugin.Opened, error) {
	for _, dir := range []string{s.StagingDir(), s.tmpDir()} {
		if err := s.makeOwn(dir); err != nil {
			return plugin.Opened{}, s.openError(err)
		}
	}
	id, err := s.marker()
	if err != nil {
		return plugin.Opened{}, s.openError(err)
	}
	// A store that cannot be written to is better found now than by a step.
	if err := s.tryWrite(); err != nil {
		return plugin.Opened{}, s.openError(err)
	}
	s.sweep(time.Now().Add(-staleAfter))
	return plugin.Opened{Identity: id}, nil
}

// makeOwn makes a directory of the store's own, for its owner alone.
func (s *store) makeOwn(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := makeDirs(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// marker reads the store's id, or makes it: of several that try, one wins.
func (s *store) marker() (string, error) {
	path := filepath.Join(s.root, ownDir, "store-id")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.makeMarker(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(data))
	if id == "" || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &diag.PluginError{Reason: diag.ErrCorrupt, Fault: diag.FaultBackend,
			Summary: fmt.Sprintf("the marker %s does not hold a store's id", path),
			Hint:    "restore the file from a backup; the journal knows the store by it"}
	}
	return id, nil
}

func (s *store) makeMarker(path string) error {
	f, err := os.CreateTemp(s.tmpDir(), "marker-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(rand.Text() + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = publish(f.Name(), path)
	}
	return err
}

func (s *store) tryWrite() error {
	f, err := os.CreateTemp(s.tmpDir(), "try-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// openError says what is wrong with the path.
func (s *store) openError(err error) error {
	e := &diag.PluginError{Reason: diag.ErrPreconditionFailed, Fault: diag.FaultConfig, Path: "path",
		Hint: fmt.Sprintf("choose another directory: cairn artifact-store update %s --path DIR", s.component)}
	info, serr := os.Stat(s.root)
	switch {
	case serr == nil && !info.IsDir(), errors.Is(serr, unix.ENOTDIR):
		e.Summary = fmt.Sprintf("the store's path %s is a file, or lies below one; it has to be a directory", s.root)
	case errors.Is(err, unix.EROFS):
		e.Reason = diag.ErrPermissionDenied
		e.Summary = fmt.Sprintf("the store's path %s lies on a read-only file system", s.root)
	case errors.Is(err, fs.ErrPermission):
		e.Reason = diag.ErrPermissionDenied
		e.Summary = fmt.Sprintf("the store's path %s cannot be written to by the user who runs cairn: %s", s.root, err)
	case errors.Is(err, fs.ErrNotExist):
		e.Summary = fmt.Sprintf("the store's path %s cannot be made: %s", s.root, err)
	default:
		return fmt.Errorf("open the store in %s: %w", s.root, err)
	}
	return e
}

// sweep removes temporary files from before a time, which a plugin or a host
// left when it was killed. Directories in staging are attempts, and the host's.
func (s *store) sweep(before time.Time) {
	for _, dir := range []string{s.tmpDir(), s.StagingDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			s.log.Warn("sweep", "dir", dir, "error", err)
			continue
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || changed(info).After(before) {
				continue
			}
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("sweep", "file", e.Name(), "error", err)
			}
		}
	}
}
