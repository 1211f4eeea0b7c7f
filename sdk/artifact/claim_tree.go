package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

// maxHeld bounds the files of a tree that are claimed in place, each of which
// keeps a descriptor open: the largest ones. The others are copied.
const maxHeld = 512

// TreeClaim is a claimed tree: its manifest, and each of its files.
type TreeClaim struct {
	// Manifest is a private file that holds the manifest: its digest is the
	// tree's.
	Manifest *Claim
	Tree     Tree
	// Files are in the order of Tree.Files. Several may have the same digest.
	Files []*Claim
}

// ClaimTree claims the directory at a path, which is relative to the attempt's
// directory or absolute, file by file: see ClaimFile, and BuildTree for what is
// refused.
func ClaimTree(ctx context.Context, path string, opts ClaimOptions) (*TreeClaim, error) {
	if !filepath.IsAbs(path) {
		if !filepath.IsLocal(path) {
			return nil, fmt.Errorf("claim tree: %q does not lie inside the attempt's directory", path)
		}
		path = filepath.Join(opts.Dir, path)
	}
	if info, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("claim tree: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("claim tree: %s is a %s, not a directory", path, kindOf(info.Mode()))
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("claim tree: %w", err)
	}
	defer root.Close()
	entries, err := walkTree(ctx, root)
	if err != nil {
		return nil, err
	}
	t := &TreeClaim{Files: make([]*Claim, len(entries))}
	if err := t.claimAll(ctx, root, entries, opts); err != nil {
		t.Release()
		return nil, fmt.Errorf("claim tree: %w", err)
	}
	return t, nil
}

func (t *TreeClaim) claimAll(ctx context.Context, root *os.Root, entries []treeEntry, opts ClaimOptions) error {
	mayHold := largest(entries, maxHeld)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, e := range entries {
		g.Go(func() error {
			c, err := claimEntry(gctx, root, e, opts, mayHold[i])
			t.Files[i] = c
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	t.Tree.Files = make([]TreeFile, len(entries))
	for i, e := range entries {
		t.Tree.Files[i] = TreeFile{Path: e.path, Size: t.Files[i].Size, Digest: t.Files[i].Digest, Mode: e.mode}
	}
	manifest, err := ClaimBytes(t.Tree.Marshal(), opts)
	t.Manifest = manifest
	return err
}

// claimEntry claims one file of a tree.
func claimEntry(ctx context.Context, root *os.Root, e treeEntry, opts ClaimOptions, mayHold bool) (*Claim, error) {
	rel := filepath.FromSlash(e.path)
	path := filepath.Join(root.Name(), rel)
	if !e.link {
		return claimFile(ctx, path, opts, mayHold)
	}
	f, err := openRegular(root, rel, true)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return copyToStaging(ctx, f, opts.Staging, opts.Owner)
}

// ClaimBytes claims a value that the caller has in memory: it writes a private
// file in the staging directory, which must be absolute.
func ClaimBytes(data []byte, opts ClaimOptions) (*Claim, error) {
	f, err := createPrivate(opts.Staging, opts.Owner)
	if err != nil {
		return nil, err
	}
	c := &Claim{Path: f.Name(), Digest: HashBytes(data), Size: int64(len(data)),
		Transfer: TransferMove, private: true, staging: opts.Staging, owner: opts.Owner}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	return c, nil
}

// largest marks the n largest entries.
func largest(entries []treeEntry, n int) []bool {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case entries[a].size > entries[b].size:
			return -1
		case entries[a].size < entries[b].size:
			return 1
		}
		return 0
	})
	marks := make([]bool, len(entries))
	for _, i := range order[:min(n, len(order))] {
		marks[i] = true
	}
	return marks
}

// All gives the claims of the files and, last, of the manifest.
func (t *TreeClaim) All() []*Claim {
	all := slices.Clone(t.Files)
	if t.Manifest != nil {
		all = append(all, t.Manifest)
	}
	return slices.DeleteFunc(all, func(c *Claim) bool { return c == nil })
}

// Seal seals each claim, and fails with the errors of those that could not be;
// see Claim.Seal.
func (t *TreeClaim) Seal() error {
	var errs []error
	for _, c := range t.All() {
		errs = append(errs, c.Seal())
	}
	return errors.Join(errs...)
}

// Release releases each claim.
func (t *TreeClaim) Release() {
	for _, c := range t.All() {
		c.Release()
	}
}
