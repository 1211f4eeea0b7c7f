package pluginhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire/launch"
)

// buildLocal builds the plugin that ships with cairn into dir/bin.
func buildLocal(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "bin", "cairn-plugin-local")
	build := exec.Command("go", "build", "-o", path, "github.com/cairn-stack/cairn/plugins/local")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func localStack(dir string) []ResolvedComponent {
	config, _ := json.Marshal(map[string]string{"path": filepath.Join(dir, "store")})
	return []ResolvedComponent{
		{Component: model.Component{ID: "o", Type: model.Orchestrator, Name: "o", Flavor: "local", Revision: 1, SchemaVersion: 1}, Config: json.RawMessage(`{}`)},
		{Component: model.Component{ID: "a", Type: model.ArtifactStore, Name: "a", Flavor: "local", Revision: 1, SchemaVersion: 1}, Config: config},
	}
}

// TestLocalPlugin is a real plugin made with the SDK: put, look up, read and
// delete an object, and a clean end.
func TestLocalPlugin(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	buildLocal(t, dir)
	m := newManager(t, hostOptions(dir))
	s, err := m.OpenStack(t.Context(), localStack(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	store := s.ArtifactStore()
	if store.ID() == "" || store.Facts().StagingDir == "" || !s.Orchestrator().Facts().Attached {
		t.Errorf("identity %q, facts %+v, %+v", store.ID(), store.Facts(), s.Orchestrator().Facts())
	}
	content := []byte("seven stones")
	source := filepath.Join(store.Facts().StagingDir, "out")
	if err := os.WriteFile(source, content, 0o600); err != nil {
		t.Fatal(err)
	}
	// A store names its objects by the digest that it is given.
	item := model.PutItem{Key: "h/home/c/x", Path: source, Size: int64(len(content)), Digest: "sha256t:" + strings.Repeat("ab", 32), Transfer: model.TransferMove}
	put, err := store.PutFiles(t.Context(), []model.PutItem{item})
	if err != nil || put[0].Err != nil {
		t.Fatalf("got %+v, %v", put, err)
	}
	var got bytes.Buffer
	if n, err := store.ReadRange(t.Context(), item.Key, 6, 3, &got); err != nil || n != 3 || got.String() != "sto" {
		t.Errorf("read %q, %d, %v", got.String(), n, err)
	}
	view, err := store.GetFiles(t.Context(), []model.GetItem{{
		Key: item.Key, Path: filepath.Join(store.Facts().StagingDir, "in"), Size: item.Size, Transfer: model.TransferView,
	}})
	if err != nil || view[0].Err != nil {
		t.Fatalf("got %+v, %v", view, err)
	}
	if b, err := os.ReadFile(view[0].Path); err != nil || !bytes.Equal(b, content) {
		t.Errorf("got %q, %v", b, err)
	}
	if res, err := store.Delete(t.Context(), []string{item.Key}); err != nil || res[0].Err != nil {
		t.Errorf("got %+v, %v", res, err)
	}
	if res, err := store.Stat(t.Context(), []string{item.Key}); err != nil || !errors.Is(res[0].Err, diag.ErrNotFound) {
		t.Errorf("got %+v, %v", res, err)
	}
	for _, c := range m.Check(t.Context(), localStack(dir), true) {
		if c.Err != nil || c.State != "ok" {
			t.Errorf("got %+v", c)
		}
	}
	begin := time.Now()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > launch.DefaultGrace {
		t.Errorf("a plugin made with the SDK took %s to stop", d)
	}
}

// BenchmarkOpenStack is from nothing to an open stack of the local plugin, and
// its close.
func BenchmarkOpenStack(b *testing.B) {
	dir := shortDir(b)
	path := buildLocal(b, dir)
	o := hostOptions(dir)
	warm, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := warm.Approve(b.Context(), path, "", false); err != nil {
		b.Fatal(err)
	}
	warm.Close()
	var open, closing time.Duration
	for b.Loop() {
		begin := time.Now()
		m, err := New(o)
		if err != nil {
			b.Fatal(err)
		}
		s, err := m.OpenStack(b.Context(), localStack(dir))
		if err != nil {
			b.Fatal(err)
		}
		opened := time.Now()
		s.Close()
		if err := m.Close(); err != nil {
			b.Fatal(err)
		}
		open += opened.Sub(begin)
		closing += time.Since(opened)
	}
	b.ReportMetric(float64(open.Microseconds())/float64(b.N)/1000, "open-ms")
	b.ReportMetric(float64(closing.Microseconds())/float64(b.N)/1000, "close-ms")
}
