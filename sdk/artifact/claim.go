package artifact

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrTouched says that somebody reached, or waits to reach, the bytes of a
// claim: what was stored from it is suspect.
var ErrTouched = errors.New("the file was opened for writing or linked while it was claimed")

// Transfer says how a claimed file may change hands.
type Transfer string

// The transfers.
const (
	TransferMove Transfer = "move"
	TransferCopy Transfer = "copy"
)

// ClaimOptions say where claims are made.
type ClaimOptions struct {
	// Dir is the attempt's own directory, absolute. A file below it may be moved
	// into the store; what lies elsewhere is copied and stays.
	Dir string
	// Staging is a directory of the caller's, absolute, best on the store's own
	// file system: moved files get their new names there, and copies are made
	// there.
	Staging string
	// Owner is in the names of the files that are made in Staging (OwnerOf), so
	// that those of a caller that died can be told and removed. May be empty.
	Owner string
	// NoMove: the store does not take files by rename. A file of the attempt is
	// then put from where it is.
	NoMove bool
}

// Claim is a file whose bytes are those of Digest, and stay so until Release.
// Not safe for concurrent use.
//
// A file of the attempt's own with one link is claimed in place: under a read
// lease, which Linux grants only while nobody can write, the very file that is
// open is hashed and given a second name in the staging directory, to be moved
// from there. All else becomes a private copy in the staging directory.
//
// The caller puts Path with Transfer, then asks Intact, commits, and calls Seal
// and Release. Up to Seal the attempt's directory is whole, so that a host that
// dies between put and commit finds the output again. When Intact or Seal says
// ErrTouched, the caller deletes the object, puts the claim that Copy gives, and
// is safe: who wants to write waits for the lease until Release (up to Linux's
// lease-break-time, 45 s), and Copy checks the digest.
//
// What nobody can prevent is a process that reopens a descriptor of the file
// through /proc, or the stored file by its name.
type Claim struct {
	Path     string
	Digest   string
	Size     int64
	Transfer Transfer

	held     *os.File // nil for a private copy
	original string   // the attempt's name for a held file
	private  bool     // Path is a name of ours in staging
	staging  string
	owner    string
}

// ClaimFile claims the file at a path, which is relative to the attempt's
// directory or absolute. A symbolic link at its end, or one that leaves the
// directory, is refused, as is what is not a regular file.
func ClaimFile(ctx context.Context, path string, opts ClaimOptions) (*Claim, error) {
	return claimFile(ctx, path, opts, true)
}

// claimFile claims a file; in place only if it may, since each such claim keeps
// a descriptor.
func claimFile(ctx context.Context, path string, opts ClaimOptions, mayHold bool) (*Claim, error) {
	f, own, err := openOutput(path, opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("claim output: %w", err)
	}
	if own && mayHold {
		c, err := hold(ctx, f, opts)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("claim output: %w", err)
		}
		if c != nil {
			return c, nil
		}
	}
	defer f.Close()
	c, err := copyToStaging(ctx, f, opts.Staging, opts.Owner)
	if err != nil {
		return nil, fmt.Errorf("copy output %s: %w", path, err)
	}
	return c, nil
}

// openOutput opens an output and reports whether it lies below dir.
func openOutput(path, dir string) (f *os.File, own bool, err error) {
	if filepath.IsAbs(path) {
		rel, err := filepath.Rel(dir, path)
		if err != nil || !filepath.IsLocal(rel) {
			f, err := OpenRegular(path)
			return f, false, err
		}
		path = rel
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	f, err = openRegular(root, path, false)
	return f, true, err
}

// hold claims an open file where it is; nil where that cannot be proved safe.
func hold(ctx context.Context, f *os.File, opts ClaimOptions) (*Claim, error) {
	if links(f) != 1 || !takeLease(f) {
		return nil, nil
	}
	c := &Claim{Path: f.Name(), Transfer: TransferCopy, held: f, original: f.Name(), staging: opts.Staging, owner: opts.Owner}
	if !opts.NoMove {
		if err := c.linkIntoStaging(); err != nil {
			// Another file system, or one without links: a copy does.
			endLease(f)
			return nil, nil
		}
	}
	var err error
	if c.Digest, c.Size, err = HashFile(ctx, f); err != nil {
		c.Release()
		return nil, err
	}
	if c.Intact() == nil {
		return c, nil
	}
	c.dropName()
	endLease(f)
	return nil, nil
}

// linkIntoStaging gives the open file, whatever its path leads to by now, a
// name of ours.
func (c *Claim) linkIntoStaging() error {
	name, err := privateName(c.staging, c.owner)
	if err != nil {
		return err
	}
	if err := linkOpen(c.held, name); err != nil {
		return err
	}
	c.Path, c.Transfer, c.private = name, TransferMove, true
	return nil
}

// copyToStaging makes a private copy of an open file and hashes the copy, so
// that whatever happens to the source, bytes and digest belong together.
func copyToStaging(ctx context.Context, src *os.File, staging, owner string) (*Claim, error) {
	dst, err := createPrivate(staging, owner)
	if err != nil {
		return nil, err
	}
	defer dst.Close()
	c := &Claim{Path: dst.Name(), Transfer: TransferMove, private: true, staging: staging, owner: owner}
	if _, err = CopyFile(ctx, dst, src); err == nil {
		c.Digest, c.Size, err = HashFile(ctx, dst)
	}
	if err != nil {
		c.dropName()
		return nil, err
	}
	return c, nil
}

// Intact fails with ErrTouched where the claim's bytes may have changed, or
// somebody waits to change them. A private copy is always intact.
func (c *Claim) Intact() error {
	if c.held == nil {
		return nil
	}
	names := uint64(1)
	if c.private {
		names = 2 // the attempt's and ours, which a put renames
	}
	if links(c.held) > names || !leaseHeld(c.held) {
		return ErrTouched
	}
	return nil
}

// Seal ends the attempt's way to a moved file: it removes the attempt's name for
// it, and fails with ErrTouched where that was not the only other way. Where the
// store did not take the file, because it had the content already, there is
// nothing to prove.
func (c *Claim) Seal() error {
	if c.held == nil || !c.private {
		return c.Intact()
	}
	if c.isHeld(c.Path) {
		return nil
	}
	if c.isHeld(c.original) {
		if err := os.Remove(c.original); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the attempt's name of an output: %w", err)
		}
	}
	if links(c.held) > 1 || !leaseHeld(c.held) {
		return ErrTouched
	}
	return nil
}

// Copy makes a private copy of the claimed bytes, even when Path is gone. It
// fails with ErrMismatch where they have changed. The claim itself is still to
// be released.
func (c *Claim) Copy(ctx context.Context) (*Claim, error) {
	src := c.held
	if src == nil {
		f, err := OpenRegular(c.Path)
		if err != nil {
			return nil, fmt.Errorf("copy claim: %w", err)
		}
		defer f.Close()
		src = f
	}
	cp, err := copyToStaging(ctx, src, c.staging, c.owner)
	if err != nil {
		return nil, fmt.Errorf("copy claim: %w", err)
	}
	if err := compare(cp.Digest, cp.Size, c.Digest, c.Size); err != nil {
		cp.Release()
		return nil, fmt.Errorf("copy claim: %w", err)
	}
	return cp, nil
}

// Release gives the file back: who waits to write may go on, and what is left
// of the claim in the staging directory is removed. It may be called again.
func (c *Claim) Release() {
	c.dropName()
	if c.held != nil {
		c.held.Close()
		c.held = nil
	}
}

// dropName removes our name of the file, where a put did not take it.
func (c *Claim) dropName() {
	if c.private {
		os.Remove(c.Path)
		c.private = false
	}
}

// isHeld reports whether a path leads to the held file.
func (c *Claim) isHeld(path string) bool {
	at, err := os.Lstat(path)
	if err != nil {
		return false
	}
	open, err := c.held.Stat()
	return err == nil && os.SameFile(at, open)
}

// links is how many names an open file has; many where that is not known.
func links(f *os.File) uint64 {
	info, err := f.Stat()
	if err != nil {
		return 1 << 30
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1 << 30
	}
	return uint64(st.Nlink)
}

// privateName gives an unused name in dir.
func privateName(dir, owner string) (string, error) {
	dir, err := absDir("staging directory", dir)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, claimPrefix+owner+"-"+rand.Text()), nil
}
