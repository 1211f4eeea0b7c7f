package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errNotRegular says that a path is not a regular file.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a regular file below root for reading. A path whose last
// segment is a symbolic link is refused, unless follow; links that leave root
// are always refused.
func openRegular(root *os.Root, rel string, follow bool) (*os.File, error) {
	if !follow {
		info, err := root.Lstat(rel)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is a %s: %w", rel, kindOf(info.Mode()), errNotRegular)
		}
	}
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return onlyRegular(f)
}

// OpenRegular opens the regular file at a path for reading, without following a
// symbolic link at its end and without waiting for a pipe's other end.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: %w", path, errNotRegular)
	}
	if err != nil {
		return nil, err
	}
	return onlyRegular(f)
}

func onlyRegular(f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is a %s: %w", f.Name(), kindOf(info.Mode()), errNotRegular)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// CopyFile fills dst, an empty file, with all of src: sharing the blocks where
// the file system can, else by copying. Both offsets are left undefined. dst is
// not synced.
func CopyFile(ctx context.Context, dst, src *os.File) (int64, error) {
	if cloneFile(dst, src) {
		info, err := dst.Stat()
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	// In pieces, so that a cancelled copy of a big file ends soon; each piece is
	// copied inside the kernel where it can be.
	const piece = 64 << 20
	var total int64
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		n, err := io.CopyN(dst, src, piece)
		total += n
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// claimPrefix begins the name of each file of ours in a staging directory; the
// owner and something random follow.
const claimPrefix = ".claim-"

// createPrivate makes a new file of ours in dir.
func createPrivate(dir, owner string) (*os.File, error) {
	return os.CreateTemp(dir, claimPrefix+owner+"-*")
}

// OwnerOf gives the owner of a claim's file in a staging directory, by the
// file's name; empty where it is no such file, or has no owner.
func OwnerOf(name string) string {
	rest, ok := strings.CutPrefix(name, claimPrefix)
	if !ok {
		return ""
	}
	owner, _, _ := strings.Cut(rest, "-")
	return owner
}

// absDir resolves a directory to an absolute path.
func absDir(what, dir string) (string, error) {
	if dir == "" {
		return "", fmt.Errorf("%s is empty", what)
	}
	return filepath.Abs(dir)
}
