package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"golang.org/x/sys/unix"
)

type storeConfig struct {
	Path string `json:"path" doc:"Directory that the artifacts are kept in; made on first use." required:"true" format:"path" example:"/data/artifacts"`
}

// The store's own directory below its path: no key begins with it.
const ownDir = ".cairn"

// store keeps an object in the file that its key names below root.
//
//	ROOT/h/HOME/c/...        objects, read-only
//	ROOT/.cairn/store-id     the marker
//	ROOT/.cairn/staging/     files that will be moved in
//	ROOT/.cairn/tmp/         objects that are being written
type store struct {
	root string
	// component is the name that the store is registered by.
	component string
	log       interface{ Warn(msg string, args ...any) }
}

var (
	_ plugin.ArtifactStore = (*store)(nil)
	_ plugin.Mover         = (*store)(nil)
	_ plugin.Viewer        = (*store)(nil)
	_ plugin.RangeReader   = (*store)(nil)
	_ plugin.Stager        = (*store)(nil)
	_ plugin.Opener        = (*store)(nil)
)

func openStore(_ context.Context, cfg storeConfig, in plugin.Instance) (*store, error) {
	root := filepath.Clean(cfg.Path)
	if root == "/" {
		return nil, &diag.PluginError{Reason: diag.ErrInvalidConfig, Fault: diag.FaultConfig, Path: "path",
			Summary: "the root of the file system cannot be an artifact store", Hint: "give a directory of its own"}
	}
	return &store{root: root, component: in.Component, log: in.Logger}, nil
}

// StagingDir lies on the store's own file system, so that a put can be a rename.
func (s *store) StagingDir() string { return filepath.Join(s.root, ownDir, "staging") }

func (s *store) tmpDir() string { return filepath.Join(s.root, ownDir, "tmp") }

// file is the path of a key's object.
func (s *store) file(key string) (string, error) {
	if first, _, _ := strings.Cut(key, "/"); first == ownDir {
		return "", fmt.Errorf("the key %s lies in the store's own directory: %w", key, diag.ErrPreconditionFailed)
	}
	return filepath.Join(s.root, filepath.FromSlash(key)), nil
}

// Put copies a content: by sharing blocks where the file system can.
func (s *store) Put(ctx context.Context, req plugin.PutRequest) (plugin.Object, error) {
	path, err := s.file(req.Key)
	if err != nil {
		return plugin.Object{}, err
	}
	if o, ok, err := s.existing(ctx, path, req.Key, req.Digest, req.Size); ok || err != nil {
		return o, err
	}
	f, err := os.CreateTemp(s.tmpDir(), "put-*")
	if err != nil {
		return plugin.Object{}, err
	}
	defer f.Close()
	o, err := s.putTemp(ctx, f, path, req)
	if err != nil {
		os.Remove(f.Name())
	}
	return o, err
}

// putTemp fills a temporary file and gives it the object's name.
func (s *store) putTemp(ctx context.Context, f *os.File, path string, req plugin.PutRequest) (plugin.Object, error) {
	size, err := fill(ctx, f, req.Content)
	if err != nil {
		return plugin.Object{}, err
	}
	if size != req.Size {
		return plugin.Object{}, fmt.Errorf("the content has %d bytes, not %d: %w", size, req.Size, diag.ErrPreconditionFailed)
	}
	if err := seal(f, req.Digest); err != nil {
		return plugin.Object{}, err
	}
	err = publish(f.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		o, ok, err := s.existing(ctx, path, req.Key, req.Digest, req.Size)
		if ok {
			os.Remove(f.Name())
		}
		return o, err
	}
	if err != nil {
		return plugin.Object{}, err
	}
	return stat(f, req.Key)
}

// fill copies a content into an empty file.
func fill(ctx context.Context, f *os.File, src *plugin.Source) (int64, error) {
	if src.File() == nil {
		return io.Copy(f, src)
	}
	n, err := artifact.CopyFile(ctx, f, src.File())
	if err == nil {
		err = src.Check()
	}
	return n, err
}

// Move takes a file by renaming it. From another file system it is a copy.
func (s *store) Move(ctx context.Context, req plugin.MoveRequest) (plugin.Object, error) {
	path, err := s.file(req.Key)
	if err != nil {
		return plugin.Object{}, err
	}
	if o, ok, err := s.existing(ctx, path, req.Key, req.Digest, req.Size); ok || err != nil {
		return o, err
	}
	f := req.Content.File()
	if err := seal(f, req.Digest); err != nil {
		return plugin.Object{}, err
	}
	switch err := publish(req.Path, path); {
	case errors.Is(err, unix.EXDEV):
		return s.Put(ctx, plugin.PutRequest{Key: req.Key, Content: req.Content, Size: req.Size, Digest: req.Digest})
	case errors.Is(err, fs.ErrExist):
		o, _, err := s.existing(ctx, path, req.Key, req.Digest, req.Size)
		return o, err
	case err != nil:
		return plugin.Object{}, err
	}
	// The name led to the open file when the host asked; it must have until now.
	stored, err := os.Lstat(path)
	if err != nil {
		return plugin.Object{}, err
	}
	if open, err := f.Stat(); err != nil || !os.SameFile(stored, open) {
		os.Remove(path)
		return plugin.Object{}, fmt.Errorf("%s was replaced while it was moved: %w", req.Path, diag.ErrPreconditionFailed)
	}
	return stat(f, req.Key)
}

// existing looks whether an object is there already: ok for the same content.
func (s *store) existing(ctx context.Context, path, key, digest string, size int64) (o plugin.Object, ok bool, err error) {
	f, err := artifact.OpenRegular(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return plugin.Object{}, false, nil
	}
	if err != nil {
		return plugin.Object{}, false, err
	}
	defer f.Close()
	o, err = stat(f, key)
	if err != nil {
		return plugin.Object{}, false, err
	}
	if o.Digest == "" {
		// A file system without attributes: the bytes say it.
		if o.Digest, _, err = artifact.HashFile(ctx, f); err != nil {
			return plugin.Object{}, false, err
		}
	}
	if o.Digest != digest {
		return plugin.Object{}, false, fmt.Errorf("object %s exists with another content: %w", key, diag.ErrAlreadyExists)
	}
	if o.Size != size {
		return plugin.Object{}, false, fmt.Errorf("object %s has %d bytes, not the %d of its content: %w", key, o.Size, size, diag.ErrCorrupt)
	}
	// Whoever put it may not have synced the directory yet.
	return o, true, syncDir(filepath.Dir(path))
}

// open opens an object for reading.
func (s *store) open(key string) (*os.File, plugin.Object, error) {
	path, err := s.file(key)
	if err != nil {
		return nil, plugin.Object{}, err
	}
	f, err := artifact.OpenRegular(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, plugin.Object{}, notFound(key)
	}
	if err != nil {
		return nil, plugin.Object{}, err
	}
	o, err := stat(f, key)
	if err != nil {
		f.Close()
		return nil, plugin.Object{}, err
	}
	return f, o, nil
}

func notFound(key string) error {
	return &diag.PluginError{Reason: diag.ErrNotFound, Fault: diag.FaultBackend,
		Summary: fmt.Sprintf("there is no object %s in the store", key)}
}

// Get copies an object, sharing blocks where the file system can.
func (s *store) Get(ctx context.Context, req plugin.GetRequest) (plugin.Object, error) {
	f, o, err := s.open(req.Key)
	if err != nil {
		return plugin.Object{}, err
	}
	defer f.Close()
	_, err = artifact.CopyFile(ctx, req.Into, f)
	return o, err
}

// Stat looks an object up.
func (s *store) Stat(_ context.Context, req plugin.StatRequest) (plugin.Object, error) {
	f, o, err := s.open(req.Key)
	if err != nil {
		return plugin.Object{}, err
	}
	return o, f.Close()
}

// View hands out the stored file, which nobody has write permission for.
func (s *store) View(_ context.Context, req plugin.ViewRequest) (plugin.View, error) {
	f, o, err := s.open(req.Key)
	if err != nil {
		return plugin.View{}, err
	}
	defer f.Close()
	return plugin.View{Path: f.Name(), Object: o}, nil
}

// ReadRange reads part of an object.
func (s *store) ReadRange(_ context.Context, req plugin.RangeRequest) error {
	f, o, err := s.open(req.Key)
	if err != nil {
		return err
	}
	defer f.Close()
	length := o.Size - req.Offset
	if req.Length > 0 {
		length = min(length, req.Length)
	}
	if length <= 0 {
		return nil
	}
	_, err = io.CopyBuffer(req.Into, struct{ io.Reader }{io.NewSectionReader(f, req.Offset, length)}, make([]byte, 256<<10))
	return err
}

// Delete removes an object.
func (s *store) Delete(_ context.Context, req plugin.DeleteRequest) error {
	path, err := s.file(req.Key)
	if err != nil {
		return err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
