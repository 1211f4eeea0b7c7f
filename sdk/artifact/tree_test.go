package artifact_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, data string, perm os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), perm); err != nil {
		t.Fatal(err)
	}
}

func TestBuildTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "z"), "zz", 0o600)
	write(t, filepath.Join(dir, "a.txt"), "", 0o644)
	write(t, filepath.Join(dir, "a-b"), "run", 0o700)
	if err := os.Symlink("a/z", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	got, err := artifact.BuildTree(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	zz := artifact.HashBytes([]byte("zz"))
	want := artifact.Tree{Files: []artifact.TreeFile{
		{Path: "a-b", Size: 3, Digest: artifact.HashBytes([]byte("run")), Mode: "0755"},
		{Path: "a.txt", Digest: artifact.HashBytes(nil), Mode: "0644"},
		{Path: "a/z", Size: 2, Digest: zz, Mode: "0644"},
		{Path: "link", Size: 2, Digest: zz, Mode: "0644"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	again, err := artifact.ParseTree(bytes.NewReader(got.Marshal()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again); diff != "" {
		t.Error(diff)
	}
	if got.Size() != 7 {
		t.Errorf("Size = %d, want 7", got.Size())
	}
}

func TestBuildTreeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		make func(dir string) error
		want string
	}{
		"link out":       {func(d string) error { return os.Symlink("/etc/passwd", filepath.Join(d, "l")) }, "out of the tree"},
		"link up":        {func(d string) error { return os.Symlink("../x", filepath.Join(d, "l")) }, "out of the tree"},
		"dangling link":  {func(d string) error { return os.Symlink("nothing", filepath.Join(d, "l")) }, "leads nowhere"},
		"directory link": {func(d string) error { return os.Symlink(".", filepath.Join(d, "l")) }, "leads to a directory"},
		"pipe":           {func(d string) error { return syscall.Mkfifo(filepath.Join(d, "p"), 0o600) }, "named pipe"},
		"bad name":       {func(d string) error { return os.WriteFile(filepath.Join(d, "a\nb"), nil, 0o600) }, "control character"},
		"not UTF-8":      {func(d string) error { return os.WriteFile(filepath.Join(d, "a\xff"), nil, 0o600) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := tt.make(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := artifact.BuildTree(t.Context(), dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("BuildTree = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestParseTreeRefuses(t *testing.T) {
	t.Parallel()
	d := artifact.HashBytes(nil)
	line := func(path string) string {
		return `{"path":"` + path + `","size":0,"digest":"` + d + `","mode":"0644"}` + "\n"
	}
	head := `{"tree":1}` + "\n"
	tests := map[string]string{
		"empty":           "",
		"no header":       line("a"),
		"traversal":       head + line("../a"),
		"inner traversal": head + line("a/../../b"),
		"absolute":        head + line("/etc/passwd"),
		"dot":             head + line("./a"),
		"empty segment":   head + line("a//b"),
		"NUL":             head + line(`a\u0000b`),
		"unsorted":        head + line("b") + line("a"),
		"twice":           head + line("a") + line("a"),
		"below a file":    head + line("a") + line("a-b") + line("a/b"),
		"half a line":     head + strings.TrimSuffix(line("a"), "\n"),
		"two values":      head + strings.TrimSuffix(line("a"), "\n") + line("b"),
		"unknown key":     head + `{"path":"a","size":0,"digest":"` + d + `","mode":"0644","x":1}` + "\n",
		"negative size":   head + strings.Replace(line("a"), `"size":0`, `"size":-1`, 1),
		"bad digest":      head + strings.Replace(line("a"), "sha256t", "md5", 1),
		"bad mode":        head + strings.Replace(line("a"), "0644", "4755", 1),
	}
	for name, in := range tests {
		if tree, err := artifact.ParseTree(strings.NewReader(in)); err == nil {
			t.Errorf("%s: accepted as %v", name, tree)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	d := artifact.HashBytes(nil)
	f.Add([]byte(`{"tree":1}` + "\n" + `{"path":"a/b","size":0,"digest":"` + d + `","mode":"0644"}` + "\n"))
	f.Add([]byte(`{"tree":1}` + "\n" + `{"path":"../b","size":0,"digest":"` + d + `","mode":"0755"}` + "\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		tree, err := artifact.ParseTree(bytes.NewReader(in))
		if err != nil {
			return
		}
		for _, file := range tree.Files {
			if !filepath.IsLocal(filepath.FromSlash(file.Path)) {
				t.Errorf("path %q leaves the tree", file.Path)
			}
		}
		again, err := artifact.ParseTree(bytes.NewReader(tree.Marshal()))
		if err != nil {
			t.Fatalf("its own manifest is refused: %v", err)
		}
		if diff := cmp.Diff(tree, again); diff != "" {
			t.Error(diff)
		}
	})
}
