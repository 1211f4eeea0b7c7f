package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fill takes the rest of a file system, and gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A home whose disk is full stops no step for good: the run pauses, or fails and
// says of what; once there is room it goes on, or is resumed, to its end.
func TestDiskFull(t *testing.T) {
	for _, what := range []string{"home", "home/artifacts"} {
		t.Run(strings.ReplaceAll(what, "/", "-"), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, bins)
			dir := filepath.Join(p.dir, what)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := mountTmpfs(dir, "8m"); errors.Is(err, os.ErrPermission) {
				t.Skip("only root may mount a small file system")
			} else if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unmount(dir) })
			s := p.inStepB()
			free := fill(t, dir)
			p.release()
			select {
			case <-s.exited:
				if s.exit(t) == 0 {
					t.Errorf("it ended well on a full disk:\n%s", s.output())
				}
			case <-time.After(soon / 6):
			}
			if out := s.output(); !strings.Contains(out, "no space left") && !strings.Contains(out, "no room left") && !strings.Contains(out, "full") {
				t.Errorf("nothing says that the disk is full:\n%s", out)
			}
			free()
			s.exit(t)
			noTrace(t, result{Stderr: s.output()})
			p.quiet()
			p.checkPromises(s.output())
			p.checkFinished(1, s.output(), p.finish())
		})
	}
}
