package artifact

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
)

// Limits of a tree.
const (
	// MaxTreeFiles is how many files a tree may have.
	MaxTreeFiles = 1_000_000
	// MaxTreeManifest is how long a manifest may be, in bytes.
	MaxTreeManifest = 256 << 20
	maxTreePath     = 4096
	maxPathSegment  = 255
)

// The modes of a tree's files: all that is kept of a mode is whether the owner
// may execute the file.
const (
	ModeFile = "0644"
	ModeExec = "0755"
)

// TreeFile is one file of a tree.
type TreeFile struct {
	// Path is relative to the tree's root, with "/" between its segments.
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	// Mode is ModeFile or ModeExec.
	Mode string `json:"mode"`
}

// Perm is the mode as the file system has it.
func (f TreeFile) Perm() fs.FileMode {
	if f.Mode == ModeExec {
		return 0o755
	}
	return 0o644
}

// Tree is the manifest of a tree of files, in ascending order of the bytes of
// their paths. Only files count: an empty directory is not kept. Its bytes are
// a first line {"tree":1} and a line of JSON for each file.
type Tree struct {
	Files []TreeFile
}

const treeHeader = `{"tree":1}`

// Size is the length of all files together, in bytes.
func (t Tree) Size() int64 {
	var n int64
	for _, f := range t.Files {
		n += f.Size
	}
	return n
}

// Marshal gives the manifest's bytes: the same for the same files.
func (t Tree) Marshal() []byte {
	var b bytes.Buffer
	b.WriteString(treeHeader + "\n")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, f := range t.Files {
		// A struct of strings and an integer cannot fail to encode.
		_ = enc.Encode(f)
	}
	return b.Bytes()
}

// ParseTree reads a manifest. It is untrusted: whatever passes has valid,
// sorted, unique paths that stay below any directory they are joined to.
func ParseTree(r io.Reader) (Tree, error) {
	br := bufio.NewReader(io.LimitReader(r, MaxTreeManifest+1))
	var t Tree
	read := 0
	for n := 0; ; n++ {
		line, err := br.ReadBytes('\n')
		read += len(line)
		if read > MaxTreeManifest {
			return Tree{}, fmt.Errorf("tree manifest is longer than %d bytes", MaxTreeManifest)
		}
		if errors.Is(err, io.EOF) && len(line) == 0 && n > 0 {
			return t, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Tree{}, fmt.Errorf("read tree manifest: %w", err)
		}
		if err != nil {
			return Tree{}, errors.New("tree manifest ends in the middle of a line")
		}
		if err := t.addLine(n, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return Tree{}, fmt.Errorf("tree manifest, line %d: %w", n+1, err)
		}
	}
}

// addLine takes line n, from 0, of a manifest.
func (t *Tree) addLine(n int, line []byte) error {
	if n == 0 {
		if string(line) != treeHeader {
			return fmt.Errorf("not %s", treeHeader)
		}
		return nil
	}
	if len(t.Files) == MaxTreeFiles {
		return fmt.Errorf("more than %d files", MaxTreeFiles)
	}
	var f TreeFile
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return err
	}
	if dec.InputOffset() != int64(len(line)) {
		return errors.New("more than one value")
	}
	if err := f.check(); err != nil {
		return err
	}
	if len(t.Files) > 0 {
		prev := t.Files[len(t.Files)-1].Path
		if f.Path <= prev {
			return fmt.Errorf("path %q does not stand after %q", f.Path, prev)
		}
	}
	if i := t.fileAbove(f.Path); i >= 0 {
		return fmt.Errorf("path %q lies below the file %q", f.Path, t.Files[i].Path)
	}
	t.Files = append(t.Files, f)
	return nil
}

// fileAbove gives the index of a file whose path is a parent of path, or -1.
func (t *Tree) fileAbove(path string) int {
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		at, found := slices.BinarySearchFunc(t.Files, path[:i], func(f TreeFile, p string) int {
			return strings.Compare(f.Path, p)
		})
		if found {
			return at
		}
	}
	return -1
}

func (f TreeFile) check() error {
	if err := checkTreePath(f.Path); err != nil {
		return err
	}
	if f.Size < 0 {
		return fmt.Errorf("path %q has size %d", f.Path, f.Size)
	}
	if f.Mode != ModeFile && f.Mode != ModeExec {
		return fmt.Errorf("path %q has mode %q, not %s or %s", f.Path, clip(f.Mode), ModeFile, ModeExec)
	}
	return CheckDigest(f.Digest)
}

// checkTreePath refuses a path that could leave a directory it is joined to, or
// that some file system could not hold.
func checkTreePath(path string) error {
	if path == "" || len(path) > maxTreePath {
		return fmt.Errorf("path of %d bytes; 1 to %d are possible", len(path), maxTreePath)
	}
	if !utf8.ValidString(path) {
		return fmt.Errorf("path %q is not UTF-8", clip(path))
	}
	if strings.ContainsFunc(path, unicode.IsControl) {
		return fmt.Errorf("path %q has a control character", clip(path))
	}
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" || seg == "." || seg == ".." || len(seg) > maxPathSegment {
			return fmt.Errorf("path %q has a segment that is empty, '.', '..' or too long", clip(path))
		}
	}
	return nil
}

// BuildTree hashes the files below dir into a manifest. A symbolic link to a
// file in the tree counts as that file. Links that leave the tree or lead to a
// directory, special files and invalid names are errors that name the path.
func BuildTree(ctx context.Context, dir string) (Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Tree{}, fmt.Errorf("open tree: %w", err)
	}
	defer root.Close()
	entries, err := walkTree(ctx, root)
	if err != nil {
		return Tree{}, err
	}
	files := make([]TreeFile, len(entries))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, e := range entries {
		g.Go(func() error {
			f, err := openRegular(root, filepath.FromSlash(e.path), e.link)
			if err != nil {
				return err
			}
			defer f.Close()
			digest, size, err := HashFile(gctx, f)
			files[i] = TreeFile{Path: e.path, Size: size, Digest: digest, Mode: e.mode}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Tree{}, fmt.Errorf("hash tree: %w", err)
	}
	return Tree{Files: files}, nil
}

// treeEntry is a file found below a root.
type treeEntry struct {
	path string // with "/"
	size int64
	mode string
	link bool // a symbolic link to a file in the tree
}

// walkTree lists the files below root in the order of a manifest.
func walkTree(ctx context.Context, root *os.Root) ([]treeEntry, error) {
	var entries []treeEntry
	err := fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		e, err := newTreeEntry(root, path, d)
		if err != nil {
			return err
		}
		if len(entries) == MaxTreeFiles {
			return fmt.Errorf("more than %d files", MaxTreeFiles)
		}
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", root.Name(), err)
	}
	slices.SortFunc(entries, func(a, b treeEntry) int { return strings.Compare(a.path, b.path) })
	return entries, nil
}

func newTreeEntry(root *os.Root, path string, d fs.DirEntry) (treeEntry, error) {
	if err := checkTreePath(path); err != nil {
		return treeEntry{}, err
	}
	e := treeEntry{path: path, mode: ModeFile, link: d.Type()&fs.ModeSymlink != 0}
	info, err := root.Stat(filepath.FromSlash(path))
	switch {
	case err != nil && e.link:
		return treeEntry{}, fmt.Errorf("symbolic link %q leads nowhere or out of the tree", path)
	case err != nil:
		return treeEntry{}, err
	case e.link && info.IsDir():
		return treeEntry{}, fmt.Errorf("symbolic link %q leads to a directory", path)
	case !info.Mode().IsRegular():
		return treeEntry{}, fmt.Errorf("%q is not a regular file but a %s", path, kindOf(info.Mode()))
	}
	e.size = info.Size()
	if info.Mode()&0o100 != 0 {
		e.mode = ModeExec
	}
	return e, nil
}

// kindOf names what is not a regular file, for people.
func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}
