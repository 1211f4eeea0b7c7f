package main

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
)

// errStop ends a walk when the caller has enough.
var errStop = errors.New("enough")

// List walks the files in the order of their keys.
func (s *store) List(ctx context.Context, req plugin.ListRequest) iter.Seq2[plugin.Object, error] {
	return func(yield func(plugin.Object, error) bool) {
		err := s.walk(ctx, "", req, yield)
		if err != nil && !errors.Is(err, errStop) {
			yield(plugin.Object{}, err)
		}
	}
}

// walk lists what lies below a directory, whose keys begin with under.
func (s *store) walk(ctx context.Context, under string, req plugin.ListRequest, yield func(plugin.Object, error) bool) error {
	entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(under)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case under == "" && e.Name() == ownDir:
		case e.IsDir():
			// With the slash that its keys have, so that "a-b" stands before "a/c".
			names = append(names, e.Name()+"/")
		case e.Type().IsRegular():
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		key := under + name
		if strings.HasSuffix(key, "/") {
			if below(key, req) {
				if err := s.walk(ctx, key, req, yield); err != nil {
					return err
				}
			}
			continue
		}
		if !strings.HasPrefix(key, req.Prefix) || key <= req.After {
			continue
		}
		o, err := s.Stat(ctx, plugin.StatRequest{Key: key})
		if errors.Is(err, diag.ErrNotFound) {
			// Deleted while the walk went on.
			continue
		}
		if err != nil {
			return err
		}
		if !yield(o, nil) {
			return errStop
		}
	}
	return nil
}

// below reports whether keys that begin with dir can be asked for.
func below(dir string, req plugin.ListRequest) bool {
	if !strings.HasPrefix(dir, req.Prefix) && !strings.HasPrefix(req.Prefix, dir) {
		return false
	}
	return dir > req.After || strings.HasPrefix(req.After, dir)
}
