package artifact_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/cairn-stack/cairn/sdk/artifact"
)

// attempt is an attempt's directory and a staging directory beside it.
func attempt(t *testing.T) artifact.ClaimOptions {
	t.Helper()
	base := t.TempDir()
	opts := artifact.ClaimOptions{Dir: filepath.Join(base, "attempt"), Staging: filepath.Join(base, "staging")}
	for _, d := range []string{opts.Dir, opts.Staging} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return opts
}

// put does what a store does with a moved file.
func put(t *testing.T, c *artifact.Claim) string {
	t.Helper()
	stored := filepath.Join(t.TempDir(), "stored")
	if c.Transfer == artifact.TransferMove {
		if err := os.Rename(c.Path, stored); err != nil {
			t.Fatal(err)
		}
		return stored
	}
	data, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stored, data, 0o444); err != nil {
		t.Fatal(err)
	}
	return stored
}

func digestAt(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return artifact.HashBytes(data)
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%s still holds %v", dir, left)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestClaimMovesWhatNobodyElseHolds(t *testing.T) {
	t.Parallel()
	opts := attempt(t)
	src := filepath.Join(opts.Dir, "sub", "out")
	write(t, src, "content", 0o644)
	ino := inode(t, src)
	c, err := artifact.ClaimFile(t.Context(), "sub/out", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if c.Digest != artifact.HashBytes([]byte("content")) || c.Size != 7 || c.Transfer != artifact.TransferMove {
		t.Errorf("claim is %+v", c)
	}
	stored := put(t, c)
	if runtime.GOOS == "linux" && inode(t, stored) != ino {
		t.Error("the file was copied; leases should have spared that")
	}
	if err := c.Intact(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(src); err != nil && runtime.GOOS == "linux" {
		t.Errorf("before Seal the attempt's own name is gone: %v", err)
	}
	if err := c.Seal(); err != nil {
		t.Error(err)
	}
	c.Release()
	c.Release()
	isEmpty(t, opts.Staging)
	if got := digestAt(t, stored); got != c.Digest {
		t.Errorf("stored bytes have digest %s, want %s", got, c.Digest)
	}
}

// The ways in which a program can hold on to an output before it is claimed.
var grips = map[string]func(t *testing.T, path string) (write func()){
	"open for writing": func(t *testing.T, path string) func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return func() { f.WriteAt([]byte("X"), 0) }
	},
	"open, truncated later": func(t *testing.T, path string) func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return func() { f.Truncate(0) }
	},
	"mapped writable": func(t *testing.T, path string) func() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := syscall.Mmap(int(f.Fd()), 0, 7, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Munmap(m) })
		return func() { m[0] = 'X' }
	},
	"hard link": func(t *testing.T, path string) func() {
		other := path + ".link"
		if err := os.Link(path, other); err != nil {
			t.Fatal(err)
		}
		return func() { os.WriteFile(other, []byte("Xontent"), 0) }
	},
	"written again by name": func(_ *testing.T, path string) func() {
		return func() { os.WriteFile(path, []byte("Xontent"), 0o600) }
	},
	"truncated by name": func(_ *testing.T, path string) func() {
		return func() { os.Truncate(path, 0) }
	},
}

func TestWhatIsWrittenAfterwardsNeverReachesTheStoredBytes(t *testing.T) {
	t.Parallel()
	for name, grip := range grips {
		for _, noMove := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				opts := attempt(t)
				opts.NoMove = noMove
				src := filepath.Join(opts.Dir, "out")
				write(t, src, "content", 0o600)
				writeAfter := grip(t, src)
				c, err := artifact.ClaimFile(t.Context(), src, opts)
				if err != nil {
					t.Fatal(err)
				}
				stored := put(t, c)
				if err := c.Seal(); err != nil {
					t.Fatal(err)
				}
				c.Release()
				writeAfter()
				if got := digestAt(t, stored); got != c.Digest {
					t.Errorf("stored bytes have digest %s, want %s", got, c.Digest)
				}
				isEmpty(t, opts.Staging)
			})
		}
	}
}

// A name that appears, or a writer that comes, between claim and put is seen,
// and Copy mends it.
func TestClaimSeesAndMendsALateGrip(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("claims are copies without leases")
	}
	wait := make(chan error, 1)
	late := map[string]func(path string){
		"link":   func(path string) { os.Link(path, path+".link") },
		"rename": func(path string) { os.Link(path, path+".link"); os.Remove(path) },
		"writer": func(path string) {
			go func() {
				f, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for the lease
				if err == nil {
					_, err = f.WriteAt([]byte("X"), 0)
					f.Close()
				}
				wait <- err
			}()
		},
		"writer that does not wait": func(path string) {
			if _, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); !errors.Is(err, syscall.EWOULDBLOCK) {
				t.Errorf("open beside the lease = %v, want EWOULDBLOCK", err)
			}
		},
	}
	for name, grip := range late {
		t.Run(name, func(t *testing.T) {
			opts := attempt(t)
			src := filepath.Join(opts.Dir, "out")
			write(t, src, "content", 0o600)
			c, err := artifact.ClaimFile(t.Context(), src, opts)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Release()
			stored := put(t, c)
			grip(src)
			eventually(t, func() bool { return errors.Is(c.Intact(), artifact.ErrTouched) || name == "rename" })
			if err := c.Seal(); !errors.Is(err, artifact.ErrTouched) {
				t.Fatalf("Seal = %v, want ErrTouched", err)
			}
			if err := os.Remove(stored); err != nil {
				t.Fatal(err)
			}
			cp, err := c.Copy(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer cp.Release()
			stored = put(t, cp)
			c.Release()
			if name == "writer" {
				if err := <-wait; err != nil {
					t.Errorf("the writer that waited: %v", err)
				}
			}
			if got := digestAt(t, stored); got != c.Digest {
				t.Errorf("stored bytes have digest %s, want %s", got, c.Digest)
			}
		})
	}
}

func TestClaimedFileIsTheOneThatWasHashed(t *testing.T) {
	t.Parallel()
	opts := attempt(t)
	src := filepath.Join(opts.Dir, "out")
	write(t, src, "content", 0o600)
	c, err := artifact.ClaimFile(t.Context(), src, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	// A program that writes a new version beside it and renames.
	write(t, src+".new", "Xontent", 0o600)
	if err := os.Rename(src+".new", src); err != nil {
		t.Fatal(err)
	}
	stored := put(t, c)
	if err := c.Seal(); err != nil {
		t.Fatal(err)
	}
	if got := digestAt(t, stored); got != c.Digest {
		t.Errorf("stored bytes have digest %s, want %s", got, c.Digest)
	}
}

func TestClaimOfAPathElsewhereIsACopy(t *testing.T) {
	t.Parallel()
	opts := attempt(t)
	src := filepath.Join(t.TempDir(), "data")
	write(t, src, "content", 0o600)
	c, err := artifact.ClaimFile(t.Context(), src, opts)
	if err != nil {
		t.Fatal(err)
	}
	stored := put(t, c)
	if err := c.Seal(); err != nil {
		t.Fatal(err)
	}
	c.Release()
	if inode(t, src) == inode(t, stored) {
		t.Error("data elsewhere was moved or linked")
	}
}

func TestClaimRefuses(t *testing.T) {
	t.Parallel()
	opts := attempt(t)
	write(t, filepath.Join(opts.Dir, "file"), "x", 0o600)
	for name, target := range map[string]string{"in": "file", "out": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(opts.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc", filepath.Join(opts.Dir, "etc")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(opts.Dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"in", "out", "etc/passwd", "pipe", ".", "missing", "../staging", filepath.Join(opts.Dir, "in")} {
		if c, err := artifact.ClaimFile(t.Context(), path, opts); err == nil {
			t.Errorf("ClaimFile(%s) = %+v", path, c)
		}
	}
	if _, err := artifact.ClaimTree(t.Context(), ".", opts); err == nil {
		t.Error("a tree with links out was claimed")
	}
	isEmpty(t, opts.Staging)
}

func TestClaimTree(t *testing.T) {
	t.Parallel()
	opts := attempt(t)
	tree := filepath.Join(opts.Dir, "tree")
	write(t, filepath.Join(tree, "a"), "one", 0o644)
	write(t, filepath.Join(tree, "b", "c"), "two", 0o755)
	if err := os.Symlink("b/c", filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	want, err := artifact.BuildTree(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	c, err := artifact.ClaimTree(t.Context(), "tree", opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if c.Manifest.Digest != artifact.HashBytes(want.Marshal()) {
		t.Errorf("the claimed tree is %v, want %v", c.Tree, want)
	}
	var stored []string
	for _, f := range c.All() {
		stored = append(stored, put(t, f))
	}
	if err := c.Seal(); err != nil {
		t.Fatal(err)
	}
	c.Release()
	for i, f := range c.All() {
		if got := digestAt(t, stored[i]); got != f.Digest {
			t.Errorf("file %d has digest %s, want %s", i, got, f.Digest)
		}
	}
	isEmpty(t, opts.Staging)
	if !slices.IsSortedFunc(c.Tree.Files, func(a, b artifact.TreeFile) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	}) {
		t.Errorf("not sorted: %v", c.Tree)
	}
}
