package main

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"golang.org/x/sys/unix"
)

// digestAttr is the extended attribute that keeps an object's digest, as the 32
// bytes of its hex digits: short enough to stand in the inode itself, so that it
// costs no block. Where a file system has no attributes the digest is counted
// when it is needed, which is only when a key is put again.
const digestAttr = "user.cairn.sha256t"

// stat is what is known of an object's open file.
func stat(f *os.File, key string) (plugin.Object, error) {
	info, err := f.Stat()
	if err != nil {
		return plugin.Object{}, err
	}
	o := plugin.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}
	var sum [32]byte
	n, err := unix.Fgetxattr(int(f.Fd()), digestAttr, sum[:])
	if err == nil && n == len(sum) {
		o.Digest = artifact.DigestPrefix + hex.EncodeToString(sum[:])
	}
	return o, nil
}

// seal makes a file ready to be an object: its digest kept, read-only, synced.
func seal(f *os.File, digest string) error {
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, artifact.DigestPrefix))
	if err != nil {
		return err
	}
	err = unix.Fsetxattr(int(f.Fd()), digestAttr, sum, 0)
	if errors.Is(err, fs.ErrPermission) {
		// A file that its owner may not write has no attributes for the owner.
		if err = f.Chmod(0o600); err == nil {
			err = unix.Fsetxattr(int(f.Fd()), digestAttr, sum, 0)
		}
	}
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return &fs.PathError{Op: "set attribute", Path: f.Name(), Err: err}
	}
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	return f.Sync()
}

// publish renames a synced file to an object's name, which must not exist, and
// makes the name durable. Directories are made only where they are missing.
func publish(from, to string) error {
	err := renameNew(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDirs(filepath.Dir(to)); err == nil {
			err = renameNew(from, to)
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// makeDirs makes a directory and its parents, each durably.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDirs(filepath.Dir(dir)); err == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		if info, serr := os.Stat(dir); serr == nil && info.IsDir() {
			// Made by another put, which may not have synced it yet.
			return syncDir(filepath.Dir(dir))
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
