package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// candidate is a file that has the name of a plugin.
type candidate struct {
	name    string
	path    string
	builtIn bool
	// shadowedBy is the path of the one that is used instead.
	shadowedBy string
}

// find looks for plugins: beside the executable, in each directory of the path,
// then in HOME/plugins/NAME. The first of a name wins. It reads directories and
// opens no file. Directories that cannot be read are logged and passed over.
func (m *Manager) find() []candidate {
	var found []candidate
	first := map[string]string{}
	paths := map[string]bool{}
	add := func(path string, builtIn bool) {
		name := strings.TrimPrefix(filepath.Base(path), wire.BinaryPrefix)
		if !model.ValidName(name) || paths[path] {
			return
		}
		paths[path] = true
		c := candidate{name: name, path: path, builtIn: builtIn, shadowedBy: first[name]}
		if c.shadowedBy == "" {
			first[name] = path
		}
		found = append(found, c)
	}
	exeDir := m.executableDir()
	for _, path := range m.scan(exeDir) {
		add(path, true)
	}
	for _, dir := range m.o.Path {
		for _, path := range m.scan(dir) {
			add(path, filepath.Dir(path) == exeDir)
		}
	}
	for _, dir := range m.subdirectories(m.o.HomePlugins) {
		for _, path := range m.scan(dir) {
			if filepath.Base(path) == wire.BinaryPrefix+filepath.Base(dir) {
				add(path, false)
			}
		}
	}
	return found
}

// executableDir is where the cairn binary really stands.
func (m *Manager) executableDir() string {
	if real, err := filepath.EvalSymlinks(m.o.Executable); err == nil {
		return filepath.Dir(real)
	}
	return filepath.Dir(m.o.Executable)
}

// scan gives the files of a directory that have a plugin's name, in order.
func (m *Manager) scan(dir string) []string {
	var paths []string
	for _, e := range m.readDir(dir) {
		if strings.HasPrefix(e.Name(), wire.BinaryPrefix) && !e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

func (m *Manager) subdirectories(dir string) []string {
	var dirs []string
	for _, e := range m.readDir(dir) {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(dir, e.Name()))
		}
	}
	return dirs
}

func (m *Manager) readDir(dir string) []fs.DirEntry {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("a directory of plugins cannot be read", "dir", dir, "error", err)
	}
	return entries
}

// digestFile is "sha256:" and the hex digits, as sha256sum prints them.
func digestFile(f io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// sameFile checks that an opened file is the one whose digest p holds.
func sameFile(f *os.File, p model.Plugin) error {
	id, err := identityOf(f)
	if err != nil {
		return err
	}
	if id == p.File {
		return nil
	}
	digest, err := digestFile(f)
	if err != nil {
		return err
	}
	if digest != p.Digest {
		return changedError(p.Name, p.Path, p.Digest, digest)
	}
	return nil
}

func changedError(name, path, old, now string) *diag.Error {
	return diag.Errorf(diag.Plugin, "plugin %s has changed since it was approved", name).
		WithDetail("%s had the digest %s and now has %s", path, old, now).
		WithHint("if you trust what it is now, run 'cairn plugin approve %s'", path)
}
