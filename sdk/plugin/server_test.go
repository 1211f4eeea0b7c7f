package plugin_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
)

// oddConfig scripts what an odd store does when Stat is called.
type oddConfig struct {
	Do    string        `json:"do" enum:"panic,hang,stubborn,nospace,wrap,other,spawn" default:"wrap"`
	Token config.Secret `json:"token"`
}

// ValidateConfig has a rule that no tag can say.
func (c *oddConfig) ValidateConfig() diag.List {
	if c.Do == "other" && !c.Token.IsSet() {
		return diag.List{{Severity: diag.SeverityError, Path: "token", Summary: "other needs a token"}}
	}
	return nil
}

// odd is a vault that misbehaves.
type odd struct {
	vault
	do     string
	began  chan struct{}
	closed chan struct{}
}

func (o *odd) Stat(ctx context.Context, req plugin.StatRequest) (plugin.Object, error) {
	select {
	case o.began <- struct{}{}:
	default:
	}
	switch o.do {
	case "panic":
		panic("no stone left")
	case "hang":
		<-ctx.Done()
		return plugin.Object{}, ctx.Err()
	case "stubborn":
		<-o.closed
	case "nospace":
		return plugin.Object{}, &os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}
	case "other":
		return plugin.Object{}, errors.New("something")
	case "spawn":
		return plugin.Object{}, spawn(req.Key)
	}
	return o.vault.Stat(ctx, req)
}

func (o *odd) Close() error {
	close(o.closed)
	return nil
}

// newOdd is a flavor whose stores are also given to the test.
func newOdd(made chan<- *odd) plugin.Flavor {
	return plugin.ArtifactStoreFlavor("odd", "An odd store.", func(_ context.Context, cfg oddConfig, _ plugin.Instance) (*odd, error) {
		o := &odd{vault: vault{limit: 1 << 20, objects: map[string]entry{}}, do: cfg.Do, began: make(chan struct{}, 1), closed: make(chan struct{})}
		if made != nil {
			made <- o
		}
		return o, nil
	})
}

func serveOdd(t *testing.T, do string) (*grpc.ClientConn, *odd) {
	t.Helper()
	made := make(chan *odd, 1)
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "odd", Version: "1"}, newOdd(made))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	configureOdd(t, conn, do)
	return conn, <-made
}

func configureOdd(t *testing.T, conn grpc.ClientConnInterface, do string, roots ...string) {
	t.Helper()
	res, err := wire.NewClient(conn).Configure(t.Context(), wire.ConfigureRequest{
		Instance: "i", Type: plugin.ArtifactStoreType, Flavor: "odd", Config: json.RawMessage(`{"do":"` + do + `","token":"{{a.b}}"}`),
		Secrets: map[string]string{"a.b": "hunter2"}, ExchangeRoots: roots,
	})
	if err != nil || res.Diagnostics.HasError() {
		t.Fatal(err, res.Diagnostics)
	}
}

func TestErrorsArriveWithTheirReason(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		reason diag.Reason
		fault  diag.Fault
	}{
		"panic":   {diag.ErrInternal, diag.FaultPlugin},
		"nospace": {diag.ErrExhausted, diag.FaultBackend},
		"wrap":    {diag.ErrNotFound, ""},
		"other":   {diag.ErrInternal, diag.FaultPlugin},
	}
	for do, want := range tests {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			conn, _ := serveOdd(t, do)
			got, err := wire.NewArtifactStoreClient(conn, "i").Stat(t.Context(), []string{"k"})
			if err != nil {
				t.Fatal(err)
			}
			e := got[0].Err
			if e == nil || e.Reason != want.reason || e.Fault != want.fault {
				t.Errorf("%s gives %+v, want %+v", do, e, want)
			}
			if strings.Contains(e.Error(), "goroutine") {
				t.Errorf("%v has a stack", e)
			}
		})
	}
}

func TestCallsEndWhenCancelled(t *testing.T) {
	t.Parallel()
	for _, do := range []string{"hang", "stubborn"} {
		t.Run(do, func(t *testing.T) {
			t.Parallel()
			conn, o := serveOdd(t, do)
			// The plugin's own end of the call is what counts, so it is asked without
			// the client's shortcut: Release waits for the calls.
			called := make(chan error, 1)
			go func() {
				got, err := wire.NewArtifactStoreClient(conn, "i").Stat(context.Background(), []string{"k"})
				if err == nil && got[0].Err != nil {
					err = got[0].Err
				}
				called <- err
			}()
			<-o.began
			start := time.Now()
			if err := wire.NewClient(conn).Release(t.Context(), "i"); err != nil {
				t.Fatal(err)
			}
			if err := <-called; !errors.Is(err, diag.ErrCanceled) {
				t.Errorf("the call ends with %v, want canceled", err)
			}
			if d := time.Since(start); d > wire.CancelGrace {
				t.Errorf("the call ended after %s", d)
			}
			select {
			case <-o.closed:
			default:
				t.Error("the store was not closed")
			}
			_, err := wire.NewArtifactStoreClient(conn, "i").Stat(t.Context(), []string{"k"})
			if !errors.Is(err, diag.ErrNotConfigured) {
				t.Errorf("after the release Stat = %v", err)
			}
			if err := wire.NewClient(conn).Release(t.Context(), "i"); err != nil {
				t.Errorf("a second Release = %v", err)
			}
		})
	}
}

func TestALongPutShowsThatItLives(t *testing.T) {
	t.Parallel()
	made := make(chan *slow, 1)
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "slow", Version: "1"}, plugin.ArtifactStoreFlavor("odd", "A slow store.",
		func(_ context.Context, _ oddConfig, _ plugin.Instance) (*slow, error) {
			s := &slow{vault: vault{limit: 1 << 20, objects: map[string]entry{}}, goOn: make(chan struct{})}
			made <- s
			return s, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	dir := t.TempDir()
	configureOdd(t, conn, "wrap", dir)
	s := <-made
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var beats int
	start := time.Now()
	got, err := wire.NewArtifactStoreClient(conn, "i").PutFiles(t.Context(), []wire.PutItem{
		{Key: "k", Path: path, Size: 1, Digest: artifact.HashBytes([]byte("x"))},
	}, func(p wire.Progress) {
		if beats++; beats == 1 {
			close(s.goOn)
		}
		if p.Total != 1 || p.Unit != "bytes" {
			t.Errorf("progress is %+v", p)
		}
	})
	if err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	if d := time.Since(start); beats == 0 || d > wire.ProgressInterval {
		t.Errorf("%d signs of life in %s", beats, d)
	}
}

// slow puts when it is told to.
type slow struct {
	vault
	goOn chan struct{}
}

func (s *slow) Put(ctx context.Context, req plugin.PutRequest) (plugin.Object, error) {
	select {
	case <-s.goOn:
	case <-ctx.Done():
		return plugin.Object{}, ctx.Err()
	}
	return s.vault.Put(ctx, req)
}

func TestAPutOfAFileThatChangesFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "odd", Version: "1"}, plugin.ArtifactStoreFlavor("odd", "",
		func(context.Context, oddConfig, plugin.Instance) (*meddler, error) {
			return &meddler{vault{limit: 1 << 20, objects: map[string]entry{}}, path}, nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	configureOdd(t, conn, "wrap", dir)
	store := wire.NewArtifactStoreClient(conn, "i")
	got, err := store.PutFiles(t.Context(), []wire.PutItem{{Key: "k", Path: path, Size: 7, Digest: artifact.HashBytes([]byte("content"))}}, nil)
	if err != nil || !errors.Is(got[0].Err, diag.ErrPreconditionFailed) {
		t.Errorf("PutFiles = %v, %v", got, err)
	}
	stat, err := store.Stat(t.Context(), []string{"k"})
	if err != nil || !errors.Is(stat[0].Err, diag.ErrNotFound) {
		t.Errorf("the object is there: %v, %v", stat, err)
	}
}

// meddler writes to the source while it is put, as a step might.
type meddler struct {
	vault
	path string
}

func (m *meddler) Put(ctx context.Context, req plugin.PutRequest) (plugin.Object, error) {
	if err := os.WriteFile(m.path, []byte("another"), 0o600); err != nil {
		return plugin.Object{}, err
	}
	if err := os.Chtimes(m.path, time.Time{}, time.Unix(1, 0)); err != nil {
		return plugin.Object{}, err
	}
	return m.vault.Put(ctx, req)
}

func TestStoreWithoutOptionalMethods(t *testing.T) {
	t.Parallel()
	conn, _ := serveOdd(t, "wrap")
	client := wire.NewClient(conn)
	first, err := client.Open(t.Context(), wire.OpenRequest{Instance: "i"})
	if err != nil || first.Identity == "" {
		t.Fatalf("Open = %+v, %v", first, err)
	}
	again, err := client.Open(t.Context(), wire.OpenRequest{Instance: "i"})
	if err != nil || again.Identity != first.Identity {
		t.Errorf("Open again = %+v, %v; want %s", again, err, first.Identity)
	}
	for _, depth := range []wire.CheckDepth{wire.DepthReachable, wire.DepthRoundTrip} {
		if res, err := client.Check(t.Context(), "i", depth); err != nil || res.State != wire.CheckOK {
			t.Errorf("Check(%s) = %+v, %v", depth, res, err)
		}
	}
	page, err := wire.NewArtifactStoreClient(conn, "i").List(t.Context(), "", "", 0)
	if err != nil || len(page.Objects) != 1 {
		t.Errorf("after the checks the store holds %v, %v", page, err)
	}
	broken, _ := serveOdd(t, "nospace")
	if res, err := wire.NewClient(broken).Check(t.Context(), "i", wire.DepthReachable); err != nil || res.State != wire.CheckFailed || !res.Diagnostics.HasError() {
		t.Errorf("Check of a full store = %+v, %v", res, err)
	}
}

func TestValidateConfig(t *testing.T) {
	t.Parallel()
	conn, _ := serveOdd(t, "wrap")
	tests := map[string][]string{
		`{"do":"other"}`:       {"token: other needs a token"},
		`{"do":"othr"}`:        {"do: has to be one of panic, hang, stubborn, nospace, wrap, other, spawn, not 'othr'; did you mean 'other'?"},
		`{"token":"hunter2"}`:  {"token: a secret stands here in plain text"},
		`{"token":"{{a.b}}"}`:  nil,
		`{"unknown":"{{a.b}"}`: {"unknown: no attribute 'unknown'"},
	}
	for cfg, want := range tests {
		found, err := wire.NewClient(conn).ValidateConfig(t.Context(), plugin.ArtifactStoreType, "odd", json.RawMessage(cfg))
		if err != nil {
			t.Errorf("%s: %v", cfg, err)
		}
		var got []string
		for _, d := range found {
			got = append(got, d.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", cfg, diff)
		}
	}
}

func TestMissingSecretNamesTheAttribute(t *testing.T) {
	t.Parallel()
	conn, _ := serveOdd(t, "wrap")
	res, err := wire.NewClient(conn).Configure(t.Context(), wire.ConfigureRequest{
		Instance: "j", Type: plugin.ArtifactStoreType, Flavor: "odd", Config: json.RawMessage(`{"token":"{{a.b}}"}`),
	})
	if err != nil || len(res.Diagnostics) != 1 || !strings.Contains(res.Diagnostics[0].Summary, "token: there is no value for {{a.b}}") {
		t.Errorf("Configure = %+v, %v", res, err)
	}
}

func TestDescribeNamesAnAuthorsMistake(t *testing.T) {
	t.Parallel()
	type bad struct {
		Slots int `json:"slots" default:"0" min:"1"`
	}
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "bad", Version: "1"}, plugin.OrchestratorFlavor("bad", "",
		func(context.Context, bad, plugin.Instance) (*queue, error) { return &queue{}, nil }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if _, err := wire.NewClient(conn).Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "slots") {
		t.Errorf("Describe = %v, want the attribute named", err)
	}
}
