package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

func itoa(n int) string { return strconv.Itoa(n) }

// harness is a store behind the wire, with a directory to exchange files in.
type harness struct {
	client   *wire.ArtifactStoreClient
	root     string
	exchange string
	staging  string
	id       string
}

func openStoreOn(t testing.TB, conn grpc.ClientConnInterface, base string) *harness {
	t.Helper()
	h := &harness{root: filepath.Join(base, "store"), exchange: filepath.Join(base, "exchange")}
	if err := os.MkdirAll(h.exchange, 0o700); err != nil {
		t.Fatal(err)
	}
	facts, err := wire.StoreFactsFromJSON(configure(t, conn, "s", plugin.ArtifactStoreType, fmt.Sprintf(`{"path":%q}`, h.root), h.exchange))
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Move || !facts.LocalView {
		t.Errorf("facts are %+v", facts)
	}
	h.staging = facts.StagingDir
	probe := filepath.Join(h.exchange, "probe-"+rand.Text())
	if err := os.WriteFile(probe, []byte("nonce"), 0o600); err != nil {
		t.Fatal(err)
	}
	opened, err := wire.NewClient(conn).Open(t.Context(), wire.OpenRequest{Instance: "s", ProbePath: probe})
	if err != nil {
		t.Fatal(err)
	}
	if opened.Identity == "" || string(opened.Probe) != "nonce" {
		t.Errorf("Open = %+v", opened)
	}
	h.id, h.client = opened.Identity, wire.NewArtifactStoreClient(conn, "s")
	return h
}

func newHarness(t testing.TB) *harness { return openStoreOn(t, inProcess(t), t.TempDir()) }

// write makes a file to put.
func (h *harness) write(t testing.TB, key, data string, transfer wire.Transfer) wire.PutItem {
	t.Helper()
	f, err := os.CreateTemp(h.staging, "out-*")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(data); err != nil {
		t.Fatal(err)
	}
	return wire.PutItem{Key: key, Path: f.Name(), Size: int64(len(data)), Digest: artifact.HashBytes([]byte(data)), Transfer: transfer}
}

func (h *harness) put(t testing.TB, item wire.PutItem) wire.ItemResult {
	t.Helper()
	r, err := h.client.PutFiles(t.Context(), []wire.PutItem{item}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r[0]
}

func (h *harness) stored(t testing.TB, key string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.root, key))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestPutGetStatDelete(t *testing.T) {
	t.Parallel()
	for _, transfer := range []wire.Transfer{wire.TransferMove, wire.TransferCopy} {
		t.Run(string(transfer), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			key := "h/home/c/x." + string(transfer)
			item := h.write(t, key, "content", transfer)
			r := h.put(t, item)
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			if _, err := os.Stat(item.Path); (err == nil) != (transfer == wire.TransferCopy) {
				t.Errorf("after %s the source: %v", transfer, err)
			}
			info, err := os.Stat(filepath.Join(h.root, key))
			if err != nil || info.Mode() != 0o444 {
				t.Errorf("the stored file is %v, %v; want read-only", info, err)
			}
			want := wire.Object{Key: key, Size: 7, Digest: item.Digest, Modified: r.Object.Modified}
			stats, err := h.client.Stat(t.Context(), []string{key, "h/home/c/none"})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, stats[0].Object); diff != "" || !errors.Is(stats[1].Err, diag.ErrNotFound) {
				t.Errorf("Stat = %+v\n%s", stats, diff)
			}
			h.get(t, key)
			deleted, err := h.client.Delete(t.Context(), []string{key, key})
			if err != nil || deleted[0].Err != nil || deleted[1].Err != nil {
				t.Errorf("Delete = %v, %v", deleted, err)
			}
			if _, err := os.Stat(filepath.Join(h.root, key)); err == nil {
				t.Error("the object is still there")
			}
			left, err := os.ReadDir(filepath.Join(h.root, ownDir, "tmp"))
			if err != nil || len(left) > 0 {
				t.Errorf("temporary files are left: %v, %v", left, err)
			}
		})
	}
}

// get fetches "content" in each way.
func (h *harness) get(t *testing.T, key string) {
	t.Helper()
	view := wire.GetItem{Key: key, Path: filepath.Join(h.exchange, "unused"), Size: 7, Transfer: wire.TransferView}
	private := wire.GetItem{Key: key, Path: filepath.Join(h.exchange, "copy."+filepath.Base(key)), Size: 7, Transfer: wire.TransferCopy}
	got, err := h.client.GetFiles(t.Context(), []wire.GetItem{view, private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if data, err := os.ReadFile(r.Path); err != nil || string(data) != "content" {
			t.Errorf("way %d gives %q, %v", i, data, err)
		}
	}
	if got[0].Path != filepath.Join(h.root, key) || got[1].Path != private.Path {
		t.Errorf("the paths are %s and %s", got[0].Path, got[1].Path)
	}
	again, err := h.client.GetFiles(t.Context(), []wire.GetItem{private}, nil)
	if err != nil || !errors.Is(again[0].Err, diag.ErrAlreadyExists) {
		t.Errorf("onto a file that exists: %v, %v", again, err)
	}
	wrong := wire.GetItem{Key: key, Path: filepath.Join(h.exchange, "wrong"), Size: 8}
	bad, err := h.client.GetFiles(t.Context(), []wire.GetItem{wrong}, nil)
	if err != nil || !errors.Is(bad[0].Err, diag.ErrCorrupt) {
		t.Errorf("of another size: %v, %v", bad, err)
	}
	for _, tt := range []struct {
		offset, length int64
		want           string
	}{{0, 0, "content"}, {3, 2, "te"}, {5, 100, "nt"}, {7, 0, ""}, {100, 5, ""}} {
		var b bytes.Buffer
		if _, err := h.client.ReadRange(t.Context(), key, tt.offset, tt.length, &b); err != nil || b.String() != tt.want {
			t.Errorf("ReadRange(%d, %d) = %q, %v; want %q", tt.offset, tt.length, b.String(), err, tt.want)
		}
	}
	var b bytes.Buffer
	if _, err := h.client.ReadRange(t.Context(), "h/none", 0, 0, &b); !errors.Is(err, diag.ErrNotFound) {
		t.Errorf("ReadRange of nothing = %v", err)
	}
}

func TestPutOnAKeyThatExists(t *testing.T) {
	t.Parallel()
	for _, transfer := range []wire.Transfer{wire.TransferMove, wire.TransferCopy} {
		for _, attributes := range []bool{true, false} {
			h := newHarness(t)
			if r := h.put(t, h.write(t, "k", "one", transfer)); r.Err != nil {
				t.Fatal(r.Err)
			}
			if !attributes {
				if err := unix.Removexattr(filepath.Join(h.root, "k"), digestAttr); err != nil {
					t.Fatal(err)
				}
			}
			if r := h.put(t, h.write(t, "k", "one", transfer)); r.Err != nil {
				t.Errorf("%s of the same content: %v", transfer, r.Err)
			}
			if r := h.put(t, h.write(t, "k", "two", transfer)); !errors.Is(r.Err, diag.ErrAlreadyExists) {
				t.Errorf("%s of another content: %v", transfer, r.Err)
			}
			if got := h.stored(t, "k"); got != "one" {
				t.Errorf("stored is %q", got)
			}
		}
	}
}

func TestManyPutTheSameKey(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var wg sync.WaitGroup
	for range 8 {
		item := h.write(t, "h/x/c/same", "content", wire.TransferMove)
		wg.Go(func() {
			if r := h.put(t, item); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
	wg.Wait()
	if got := h.stored(t, "h/x/c/same"); got != "content" {
		t.Errorf("stored is %q", got)
	}
}

func TestPutRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	outside := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(outside, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(h.exchange, "link")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(h.exchange, "dir")); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(h.exchange, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	good := h.write(t, "k", "content", wire.TransferMove)
	tests := map[string]func(i *wire.PutItem){
		"outside":         func(i *wire.PutItem) { i.Path = outside },
		"a link":          func(i *wire.PutItem) { i.Path = link },
		"through a link":  func(i *wire.PutItem) { i.Path = filepath.Join(h.exchange, "dir", "out") },
		"a pipe":          func(i *wire.PutItem) { i.Path = pipe },
		"a directory":     func(i *wire.PutItem) { i.Path = h.exchange },
		"nothing":         func(i *wire.PutItem) { i.Path = filepath.Join(h.exchange, "none") },
		"another size":    func(i *wire.PutItem) { i.Size = 8 },
		"its own":         func(i *wire.PutItem) { i.Key = ".cairn/store-id" },
		"a key below one": func(i *wire.PutItem) { i.Key = "file/below" },
	}
	if r := h.put(t, h.write(t, "file", "x", wire.TransferMove)); r.Err != nil {
		t.Fatal(r.Err)
	}
	for name, change := range tests {
		for _, transfer := range []wire.Transfer{wire.TransferMove, wire.TransferCopy} {
			item := good
			item.Transfer = transfer
			change(&item)
			if r := h.put(t, item); r.Err == nil {
				t.Errorf("%s, %s: accepted", name, transfer)
			} else if r.Err.Reason == diag.ErrInternal {
				t.Errorf("%s, %s: %v is blamed on the plugin", name, transfer, r.Err)
			}
		}
	}
	page, err := h.client.List(t.Context(), "", "", 0)
	if err != nil || len(page.Objects) != 1 {
		t.Errorf("the store holds %v, %v", page, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	keys := []string{"a-b", "a/b", "a/c/d", "a/c.e", "a0", "b"}
	for _, k := range keys {
		if _, err := h.client.PutBytes(t.Context(), k, []byte(k), artifact.HashBytes([]byte(k))); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a-b", "a/b", "a/c.e", "a/c/d", "a0", "b"}
	for limit := 1; limit <= 7; limit++ {
		var got []string
		for page, after := (wire.ListPage{More: true}), ""; page.More; {
			var err error
			if page, err = h.client.List(t.Context(), "", after, limit); err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Objects {
				got, after = append(got, o.Key), o.Key
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("limit %d:\n%s", limit, diff)
		}
	}
	page, err := h.client.List(t.Context(), "a/c", "a/c.e", 0)
	if err != nil || len(page.Objects) != 1 || page.Objects[0].Key != "a/c/d" {
		t.Errorf("List(a/c) = %v, %v", page, err)
	}
}

func TestMarkerStaysAndIsOne(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	ids := make(chan string, 8)
	var wg sync.WaitGroup
	for range cap(ids) {
		wg.Go(func() { ids <- openStoreOn(t, inProcess(t), base).id })
	}
	wg.Wait()
	close(ids)
	first := <-ids
	for id := range ids {
		if id != first {
			t.Errorf("the store has the ids %s and %s", first, id)
		}
	}
	marker := filepath.Join(base, "store", ownDir, "store-id")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &store{root: filepath.Join(base, "store"), log: hclog.NewNullLogger()}
	if _, err := s.Open(t.Context(), plugin.OpenRequest{}); !errors.Is(err, diag.ErrCorrupt) {
		t.Errorf("Open with an empty marker = %v", err)
	}
}

func TestOpenSaysWhatIsWrongWithThePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "below")} {
		s := &store{root: root, log: hclog.NewNullLogger()}
		_, err := s.Open(t.Context(), plugin.OpenRequest{})
		var pe *diag.PluginError
		if !errors.As(err, &pe) || pe.Path != "path" || !strings.Contains(pe.Summary, "is a file") || pe.Hint == "" {
			t.Errorf("Open(%s) = %v", root, err)
		}
	}
	s := &store{root: dir}
	for _, cause := range []error{syscall.EROFS, syscall.EACCES} {
		err := s.openError(&os.PathError{Op: "mkdir", Path: dir, Err: cause})
		if !errors.Is(err, diag.ErrPermissionDenied) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%v gives %v", cause, err)
		}
	}
}

func TestSweepRemovesOnlyOldTemporaryFiles(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s := &store{root: h.root, log: hclog.NewNullLogger()}
	attempt := filepath.Join(h.staging, "attempt")
	if err := os.MkdirAll(attempt, 0o700); err != nil {
		t.Fatal(err)
	}
	old := h.write(t, "k", "content", wire.TransferMove).Path
	s.sweep(time.Now().Add(-time.Hour))
	if _, err := os.Stat(old); err != nil {
		t.Errorf("a young file was swept: %v", err)
	}
	s.sweep(time.Now().Add(time.Hour))
	if _, err := os.Stat(old); err == nil {
		t.Error("an old file stays")
	}
	if _, err := os.Stat(attempt); err != nil {
		t.Errorf("an attempt's directory was swept: %v", err)
	}
}

// The promise: whatever is done to the source afterwards, also by root, the
// stored bytes are those of the digest.
func TestWhatIsWrittenAfterAPutNeverReachesTheStore(t *testing.T) {
	t.Parallel()
	grips := map[string]func(t *testing.T, path string) func(){
		"kept descriptor": func(t *testing.T, path string) func() {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return func() { f.WriteAt([]byte("X"), 0); f.Truncate(3); f.Sync() }
		},
		"writable map": func(t *testing.T, path string) func() {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			m, err := syscall.Mmap(int(f.Fd()), 0, 7, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { syscall.Munmap(m) })
			return func() { m[0] = 'X' }
		},
		"hard link": func(t *testing.T, path string) func() {
			if err := os.Link(path, path+".link"); err != nil {
				t.Fatal(err)
			}
			return func() { os.Chmod(path+".link", 0o600); os.WriteFile(path+".link", []byte("X"), 0) }
		},
		"its name":  func(_ *testing.T, path string) func() { return func() { os.WriteFile(path, []byte("X"), 0o600) } },
		"truncated": func(_ *testing.T, path string) func() { return func() { os.Truncate(path, 1) } },
	}
	for name, grip := range grips {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			attempt := filepath.Join(h.staging, "attempt")
			if err := os.Mkdir(attempt, 0o700); err != nil {
				t.Fatal(err)
			}
			src := filepath.Join(attempt, "out")
			if err := os.WriteFile(src, []byte("content"), 0o600); err != nil {
				t.Fatal(err)
			}
			writeAfter := grip(t, src)
			c, err := artifact.ClaimFile(t.Context(), "out", artifact.ClaimOptions{Dir: attempt, Staging: h.staging})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Release()
			if r := h.put(t, wire.PutItem{Key: "k", Path: c.Path, Size: c.Size, Digest: c.Digest, Transfer: wire.Transfer(c.Transfer)}); r.Err != nil {
				t.Fatal(r.Err)
			}
			if err := errors.Join(c.Intact(), c.Seal()); err != nil {
				t.Fatal(err)
			}
			c.Release()
			writeAfter()
			if got := h.stored(t, "k"); artifact.HashBytes([]byte(got)) != c.Digest {
				t.Errorf("stored is %q, which is not its digest's content", got)
			}
		})
	}
}

// A put from another file system than the store's is a copy.
func TestMoveFromAnotherFileSystem(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("/dev/shm is Linux's")
	}
	shm, err := os.MkdirTemp("/dev/shm", "cairn-test-*")
	if err != nil {
		t.Skipf("no second file system: %v", err)
	}
	defer os.RemoveAll(shm)
	base := t.TempDir()
	conn := inProcess(t)
	h := openStoreOn(t, conn, base)
	configure(t, conn, "s", plugin.ArtifactStoreType, fmt.Sprintf(`{"path":%q}`, h.root), shm)
	src := filepath.Join(shm, "out")
	if err := os.WriteFile(src, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := h.put(t, wire.PutItem{Key: "k", Path: src, Size: 7, Digest: artifact.HashBytes([]byte("content")), Transfer: wire.TransferMove})
	if r.Err != nil || h.stored(t, "k") != "content" {
		t.Errorf("Move from another file system: %v", r.Err)
	}
}

func BenchmarkPutOneSmallFile(b *testing.B) {
	h := newHarness(b)
	i := 0
	for b.Loop() {
		i++
		data := itoa(i)
		if r := h.put(b, h.write(b, "h/x/c/"+data, data, wire.TransferMove)); r.Err != nil {
			b.Fatal(r.Err)
		}
	}
}

// The floor: what a durable put costs without cairn.
func BenchmarkFloorOfAPut(b *testing.B) {
	dir := b.TempDir()
	i := 0
	for b.Loop() {
		i++
		f, err := os.Create(filepath.Join(dir, "tmp"))
		if err != nil {
			b.Fatal(err)
		}
		f.WriteString(itoa(i))
		f.Sync()
		f.Close()
		if err := os.Rename(f.Name(), filepath.Join(dir, itoa(i))); err != nil {
			b.Fatal(err)
		}
		if err := syncDir(dir); err != nil {
			b.Fatal(err)
		}
	}
}
