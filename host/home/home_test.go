package home

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env     map[string]string
		dir     string
		runtime string
	}{
		"nothing set": {nil, "/u/.local/share/cairn", "/tmp/cairn-7"},
		"xdg":         {map[string]string{"XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/r"}, "/d/cairn", "/r/cairn"},
		"cairn home":  {map[string]string{"CAIRN_HOME": "/c", "XDG_DATA_HOME": "/d"}, "/c", "/tmp/cairn-7"},
		// The XDG specification has relative paths ignored.
		"relative xdg": {map[string]string{"XDG_DATA_HOME": "d", "XDG_RUNTIME_DIR": "r"}, "/u/.local/share/cairn", "/tmp/cairn-7"},
	} {
		h, err := resolve(func(k string) string { return c.env[k] }, func() (string, error) { return "/u", nil }, 7)
		if err != nil || h.Dir != c.dir || h.RuntimeDir != c.runtime {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	h, err := resolve(func(k string) string { return map[string]string{"CAIRN_HOME": "rel"}[k] }, os.UserHomeDir, 7)
	if err != nil || h.Dir != filepath.Join(wd, "rel") {
		t.Errorf("a relative home is %+v, %v", h, err)
	}
	_, err = resolve(func(string) string { return "" }, func() (string, error) { return "", errors.New("no HOME") }, 7)
	if diag.CodeOf(err) != diag.Invalid {
		t.Errorf("without any home: %v", err)
	}
}

func fresh(t testing.TB) Home {
	t.Helper()
	dir := t.TempDir()
	return Home{Dir: filepath.Join(dir, "deep", "home"), RuntimeDir: filepath.Join(dir, "run", "cairn")}
}

func mode(t testing.TB, path string) os.FileMode {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Mode().Perm()
}

// TestEnsure is not parallel: the umask is the process's.
func TestEnsure(t *testing.T) {
	old := syscall.Umask(0o277)
	h := fresh(t)
	os.MkdirAll(filepath.Dir(h.Dir), 0o700)
	os.Chmod(filepath.Dir(h.Dir), 0o700)
	os.MkdirAll(filepath.Dir(h.RuntimeDir), 0o700)
	os.Chmod(filepath.Dir(h.RuntimeDir), 0o700)
	err := h.Ensure()
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{h.Dir, h.RuntimeDir, h.Hosts(), h.Logs()} {
		if m := mode(t, dir); m != 0o700 {
			t.Errorf("%s has mode %04o", dir, m)
		}
	}
	if err := h.Ensure(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if h.Exists() {
		t.Error("a home without a database exists")
	}
	// A home of ours that somebody opened up is closed again.
	if err := os.WriteFile(h.DB(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(h.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Ensure(); err != nil || mode(t, h.Dir) != 0o700 {
		t.Errorf("mode is %04o, %v", mode(t, h.Dir), err)
	}
	if !h.Exists() {
		t.Error("a home with a database does not exist")
	}
}

func TestEnsureRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(t *testing.T, h Home) error
		says    string
	}{
		"a file": {func(_ *testing.T, h Home) error {
			return errors.Join(os.MkdirAll(filepath.Dir(h.Dir), 0o700), os.WriteFile(h.Dir, nil, 0o600))
		}, "is a file"},
		"a file on the way": {func(_ *testing.T, h Home) error {
			return os.WriteFile(filepath.Dir(h.Dir), nil, 0o600)
		}, "cannot use"},
		"somebody's open directory": {func(_ *testing.T, h Home) error {
			return errors.Join(os.MkdirAll(h.Dir, 0o755), os.Chmod(h.Dir, 0o755), os.WriteFile(filepath.Join(h.Dir, "thesis.tex"), nil, 0o600))
		}, "by others"},
		"an open runtime directory": {func(_ *testing.T, h Home) error {
			return errors.Join(os.MkdirAll(h.RuntimeDir, 0o777), os.Chmod(h.RuntimeDir, 0o777))
		}, "by others"},
		"a linked runtime directory": {func(t *testing.T, h Home) error {
			return errors.Join(os.MkdirAll(filepath.Dir(h.RuntimeDir), 0o700), os.Symlink(t.TempDir(), h.RuntimeDir))
		}, "symbolic link"},
		"another user's": {func(t *testing.T, h Home) error {
			if os.Getuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			return errors.Join(os.MkdirAll(h.Dir, 0o700), os.Chown(h.Dir, 12345, -1))
		}, "another user"},
		"no permission": {func(t *testing.T, h Home) error {
			if os.Getuid() == 0 {
				t.Skip("root may write everywhere")
			}
			return errors.Join(os.MkdirAll(h.Dir, 0o700), os.Chmod(h.Dir, 0o500))
		}, "no permission"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := fresh(t)
			if err := c.prepare(t, h); err != nil {
				t.Fatal(err)
			}
			err := h.Ensure()
			var d *diag.Error
			if !errors.As(err, &d) || d.Code != diag.Refused || d.Hint == "" || !strings.Contains(d.Summary, c.says) {
				t.Errorf("it gives %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestCheckChangesNothing(t *testing.T) {
	t.Parallel()
	h := fresh(t)
	if err := h.Check(); err != nil {
		t.Errorf("a home that is not there yet: %v", err)
	}
	if _, err := os.Stat(h.Dir); err == nil {
		t.Error("it was made")
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(h.Dir), 0o700), os.WriteFile(h.Dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(); diag.CodeOf(err) != diag.Refused {
		t.Errorf("a file gives %v", err)
	}
}

func TestRunLogs(t *testing.T) {
	t.Parallel()
	h := fresh(t)
	if err := errors.Join(os.MkdirAll(h.RunLogs("R"), 0o700), os.WriteFile(h.AttemptLog("R", "A"), nil, 0o600),
		os.MkdirAll(h.RunLogs("S"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveRunLogs("R"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.RunLogs("R")); err == nil {
		t.Error("the logs are still there")
	}
	for _, id := range []string{"", ".", "..", "../runs/S"} {
		if err := h.RemoveRunLogs(id); err == nil {
			t.Errorf("%q was taken for a run", id)
		}
	}
	if _, err := os.Stat(h.RunLogs("S")); err != nil {
		t.Errorf("another run's logs: %v", err)
	}
}
