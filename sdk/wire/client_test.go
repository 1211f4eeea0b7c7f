package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	commonv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/common/v1"
	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

var digest = "sha256t:" + strings.Repeat("a", 64)

// fakePlugin answers as its functions say; nil is unimplemented.
type fakePlugin struct {
	commonv1.UnimplementedPluginServiceServer
	artifactstorev1.UnimplementedArtifactStoreServiceServer
	orchestratorv1.UnimplementedOrchestratorServiceServer

	configure func(*commonv1.ConfigureRequest) *commonv1.ConfigureResponse
	open      func() *commonv1.OpenResponse
	check     func(context.Context) (*commonv1.CheckResponse, error)
	canRun    func() *orchestratorv1.CanRunResponse
	put       func(*artifactstorev1.PutFilesRequest, func(*artifactstorev1.PutFilesResponse) error, context.Context) error
	get       func(*artifactstorev1.GetFilesRequest) *artifactstorev1.GetFilesResult
	stat      func(*artifactstorev1.StatRequest) *artifactstorev1.StatResponse
	list      func(*artifactstorev1.ListRequest) *artifactstorev1.ListResponse
	read      func(func(string) error) error
}

func (f *fakePlugin) Configure(_ context.Context, r *commonv1.ConfigureRequest) (*commonv1.ConfigureResponse, error) {
	return f.configure(r), nil
}

func (f *fakePlugin) Open(context.Context, *commonv1.OpenRequest) (*commonv1.OpenResponse, error) {
	return f.open(), nil
}

func (f *fakePlugin) Check(ctx context.Context, _ *commonv1.CheckRequest) (*commonv1.CheckResponse, error) {
	return f.check(ctx)
}

func (f *fakePlugin) CanRun(context.Context, *orchestratorv1.CanRunRequest) (*orchestratorv1.CanRunResponse, error) {
	return f.canRun(), nil
}

func (f *fakePlugin) PutFiles(r *artifactstorev1.PutFilesRequest, s grpc.ServerStreamingServer[artifactstorev1.PutFilesResponse]) error {
	return f.put(r, s.Send, s.Context())
}

func (f *fakePlugin) GetFiles(r *artifactstorev1.GetFilesRequest, s grpc.ServerStreamingServer[artifactstorev1.GetFilesResponse]) error {
	return s.Send(&artifactstorev1.GetFilesResponse{Event: &artifactstorev1.GetFilesResponse_Result{Result: f.get(r)}})
}

func (f *fakePlugin) Stat(_ context.Context, r *artifactstorev1.StatRequest) (*artifactstorev1.StatResponse, error) {
	return f.stat(r), nil
}

func (f *fakePlugin) List(_ context.Context, r *artifactstorev1.ListRequest) (*artifactstorev1.ListResponse, error) {
	return f.list(r), nil
}

func (f *fakePlugin) ReadRange(_ *artifactstorev1.ReadRangeRequest, s grpc.ServerStreamingServer[artifactstorev1.ReadRangeResponse]) error {
	return f.read(func(data string) error { return s.Send(&artifactstorev1.ReadRangeResponse{Data: []byte(data)}) })
}

func connect(t *testing.T, f *fakePlugin) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	s := grpc.NewServer(ServerOptions()...)
	commonv1.RegisterPluginServiceServer(s, f)
	artifactstorev1.RegisterArtifactStoreServiceServer(s, f)
	orchestratorv1.RegisterOrchestratorServiceServer(s, f)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	conn, err := grpc.NewClient("passthrough:fake", append(DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }),
	)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func store(t *testing.T, f *fakePlugin) *ArtifactStoreClient {
	return NewArtifactStoreClient(connect(t, f), "i")
}

// wantBroken: the answer breaks the contract, and is said to.
func wantBroken(t *testing.T, err error, part string) {
	t.Helper()
	var pe *diag.PluginError
	if !errors.As(err, &pe) || pe.Reason != diag.ErrInternal || pe.Fault != diag.FaultPlugin || !strings.Contains(pe.Summary, part) {
		t.Errorf("got %v, want %q", err, part)
	}
}

func TestUnaryDeadline(t *testing.T) {
	t.Parallel()
	f := &fakePlugin{check: func(ctx context.Context) (*commonv1.CheckResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	c := NewClient(connect(t, f))
	c.t.check = 20 * time.Millisecond
	_, err := c.Check(t.Context(), "i", DepthReachable)
	if !errors.Is(err, diag.ErrTimeout) || !strings.Contains(err.Error(), "did not answer Check for 20ms") {
		t.Errorf("got %v", err)
	}
	c.t.check = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := c.Check(ctx, "i", DepthReachable); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnaryAnswersAreChecked(t *testing.T) {
	t.Parallel()
	f := &fakePlugin{
		configure: func(*commonv1.ConfigureRequest) *commonv1.ConfigureResponse {
			return &commonv1.ConfigureResponse{Facts: make([]byte, MaxFacts+1)}
		},
		open:  func() *commonv1.OpenResponse { return &commonv1.OpenResponse{Identity: "a\x1bb"} },
		check: func(context.Context) (*commonv1.CheckResponse, error) { return &commonv1.CheckResponse{State: 77}, nil },
		canRun: func() *orchestratorv1.CanRunResponse {
			return &orchestratorv1.CanRunResponse{Diagnostics: []*orchestratorv1.StepDiagnostic{{Step: "none"}}}
		},
	}
	conn := connect(t, f)
	c := NewClient(conn)
	_, err := c.Configure(t.Context(), ConfigureRequest{})
	wantBroken(t, err, "the facts have")
	_, err = c.Open(t.Context(), OpenRequest{})
	wantBroken(t, err, "identity")
	_, err = c.Check(t.Context(), "i", DepthRoundTrip)
	wantBroken(t, err, "state 77")
	_, err = NewOrchestratorClient(conn, "i").CanRun(t.Context(), []PlannedStep{{Name: "s"}})
	wantBroken(t, err, "not in the plan")
	if err := c.SetLogLevel(t.Context(), "debug"); !errors.Is(err, diag.ErrUnsupported) {
		t.Errorf("an unimplemented method: %v", err)
	}
}

// results makes good results for keys of size 1.
func results(keys ...string) []*artifactstorev1.ItemResult {
	var out []*artifactstorev1.ItemResult
	for _, k := range keys {
		out = append(out, ItemResultToProto(ItemResult{Object: Object{Key: k, Size: 1}}))
	}
	return out
}

func TestPutFiles(t *testing.T) {
	t.Parallel()
	item := PutItem{Key: "k", Path: "/f", Size: 1, Digest: digest, Transfer: TransferMove}
	progress := func(n int64) *artifactstorev1.PutFilesResponse {
		return &artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Progress{Progress: &commonv1.Progress{Done: n}}}
	}
	result := func(items ...*artifactstorev1.ItemResult) *artifactstorev1.PutFilesResponse {
		return &artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Result{Result: &artifactstorev1.PutFilesResult{Items: items}}}
	}
	tests := map[string]struct {
		answer []*artifactstorev1.PutFilesResponse
		broken string
	}{
		"good":            {answer: []*artifactstorev1.PutFilesResponse{progress(1), progress(2), result(results("k")...)}},
		"no result":       {[]*artifactstorev1.PutFilesResponse{progress(1)}, "without a result"},
		"after result":    {[]*artifactstorev1.PutFilesResponse{result(results("k")...), progress(1)}, "did not end with its result"},
		"too many":        {[]*artifactstorev1.PutFilesResponse{result(results("k", "l")...)}, "2 results for 1 items"},
		"too few":         {[]*artifactstorev1.PutFilesResponse{result()}, "0 results for 1 items"},
		"other key":       {[]*artifactstorev1.PutFilesResponse{result(results("l")...)}, `an answer about "l"`},
		"other size":      {[]*artifactstorev1.PutFilesResponse{result(ItemResultToProto(ItemResult{Object: Object{Key: "k", Size: 2}}))}, "the size 2"},
		"other digest":    {[]*artifactstorev1.PutFilesResponse{result(ItemResultToProto(ItemResult{Object: Object{Key: "k", Size: 1, Digest: "sha256t:" + strings.Repeat("b", 64)}}))}, "another digest"},
		"no digest":       {[]*artifactstorev1.PutFilesResponse{result(ItemResultToProto(ItemResult{Object: Object{Key: "k", Size: 1, Digest: "x"}}))}, "a digest that is none"},
		"an empty result": {[]*artifactstorev1.PutFilesResponse{result(&artifactstorev1.ItemResult{})}, "an answer about"},
		"nothing at all":  {[]*artifactstorev1.PutFilesResponse{{}}, "0 results for 1 items"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := store(t, &fakePlugin{put: func(_ *artifactstorev1.PutFilesRequest, send func(*artifactstorev1.PutFilesResponse) error, _ context.Context) error {
				for _, m := range tt.answer {
					if err := send(m); err != nil {
						return err
					}
				}
				return nil
			}})
			var seen int64
			got, err := c.PutFiles(t.Context(), []PutItem{item}, func(p Progress) { seen = p.Done })
			if tt.broken != "" {
				wantBroken(t, err, tt.broken)
				return
			}
			if err != nil || len(got) != 1 || got[0].Err != nil || seen != 2 {
				t.Errorf("got %+v, %v, progress %d", got, err, seen)
			}
		})
	}
}

func TestLongCallSilence(t *testing.T) {
	t.Parallel()
	item := PutItem{Key: "k", Path: "/f", Size: 1, Digest: digest}
	ended := make(chan struct{})
	c := store(t, &fakePlugin{put: func(_ *artifactstorev1.PutFilesRequest, send func(*artifactstorev1.PutFilesResponse) error, ctx context.Context) error {
		defer close(ended)
		for range 5 {
			if err := send(&artifactstorev1.PutFilesResponse{Event: &artifactstorev1.PutFilesResponse_Progress{Progress: &commonv1.Progress{}}}); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}})
	c.t.silence = time.Second
	signs := 0
	begin := time.Now()
	_, err := c.PutFiles(t.Context(), []PutItem{item}, func(Progress) {
		// The caller's own time is not silence.
		signs++
		<-time.After(400 * time.Millisecond)
	})
	if !errors.Is(err, diag.ErrTimeout) || !strings.Contains(err.Error(), "did not answer PutFiles for 1s") {
		t.Errorf("got %v", err)
	}
	if signs != 5 || time.Since(begin) < 2*time.Second {
		t.Errorf("%d signs of life in %s", signs, time.Since(begin))
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the plugin's call was not cancelled")
	}
}

func TestGetFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		transfer Transfer
		path     string
		broken   bool
	}{
		"copy":          {TransferCopy, "/asked", false},
		"copy moved":    {TransferCopy, "/other", true},
		"view":          {TransferView, "/store/objects/k", false},
		"view relative": {TransferView, "store", true},
		"view unclean":  {TransferView, "/store/../etc", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := store(t, &fakePlugin{get: func(*artifactstorev1.GetFilesRequest) *artifactstorev1.GetFilesResult {
				return &artifactstorev1.GetFilesResult{Items: []*artifactstorev1.ItemResult{
					ItemResultToProto(ItemResult{Object: Object{Key: "k", Size: 1}, Path: tt.path}),
				}}
			}})
			got, err := c.GetFiles(t.Context(), []GetItem{{Key: "k", Path: "/asked", Size: 1, Transfer: tt.transfer}}, nil)
			if tt.broken {
				wantBroken(t, err, "another path")
			} else if err != nil || got[0].Path != tt.path {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	calls := 0
	c := store(t, &fakePlugin{stat: func(r *artifactstorev1.StatRequest) *artifactstorev1.StatResponse {
		calls++
		return &artifactstorev1.StatResponse{Items: results(r.GetKeys()...)}
	}})
	var keys []string
	for i := range 2*MaxBatch + 1 {
		keys = append(keys, fmt.Sprintf("k%d", i))
	}
	got, err := c.Stat(t.Context(), keys)
	if err != nil || len(got) != len(keys) || calls != 3 {
		t.Fatalf("%d results of %d calls, %v", len(got), calls, err)
	}
	for i, r := range got {
		if r.Object.Key != keys[i] {
			t.Fatalf("result %d is of %s", i, r.Object.Key)
		}
	}
	if got, err := c.Stat(t.Context(), nil); err != nil || len(got) != 0 || calls != 3 {
		t.Errorf("an empty batch: %v, %v", got, err)
	}
	if _, err := c.Stat(t.Context(), []string{"../x"}); !errors.Is(err, diag.ErrPreconditionFailed) {
		t.Errorf("got %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	objects := func(keys ...string) []*artifactstorev1.Object {
		var out []*artifactstorev1.Object
		for _, k := range keys {
			out = append(out, &artifactstorev1.Object{Key: k, Size: 1})
		}
		return out
	}
	for name, tt := range map[string]struct {
		answer *artifactstorev1.ListResponse
		broken string
	}{
		"good":           {&artifactstorev1.ListResponse{Objects: objects("p/b", "p/c"), More: true}, ""},
		"not after":      {&artifactstorev1.ListResponse{Objects: objects("p/a")}, "out of order"},
		"out of order":   {&artifactstorev1.ListResponse{Objects: objects("p/c", "p/b")}, "out of order"},
		"outside":        {&artifactstorev1.ListResponse{Objects: objects("q")}, "outside the prefix"},
		"too many":       {&artifactstorev1.ListResponse{Objects: objects("p/b", "p/c", "p/d")}, "a page of 3 keys"},
		"endless":        {&artifactstorev1.ListResponse{More: true}, "a page of 0 keys"},
		"not a key":      {&artifactstorev1.ListResponse{Objects: objects("p/../x")}, "p/../x"},
		"negative sizes": {&artifactstorev1.ListResponse{Objects: []*artifactstorev1.Object{{Key: "p/b", Size: -1}}}, "the size -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := store(t, &fakePlugin{list: func(*artifactstorev1.ListRequest) *artifactstorev1.ListResponse { return tt.answer }})
			page, err := c.List(t.Context(), "p/", "p/a", 2)
			if tt.broken != "" {
				wantBroken(t, err, tt.broken)
			} else if err != nil || len(page.Objects) != 2 || !page.More {
				t.Errorf("got %+v, %v", page, err)
			}
		})
	}
}

func TestReadRange(t *testing.T) {
	t.Parallel()
	send := func(parts ...string) *fakePlugin {
		return &fakePlugin{read: func(send func(string) error) error {
			for _, p := range parts {
				if err := send(p); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	var out bytes.Buffer
	if n, err := store(t, send("ab", "cd")).ReadRange(t.Context(), "k", 0, 4, &out); err != nil || n != 4 || out.String() != "abcd" {
		t.Errorf("got %q, %d, %v", out.String(), n, err)
	}
	_, err := store(t, send("ab", "cde")).ReadRange(t.Context(), "k", 0, 4, &out)
	wantBroken(t, err, "more bytes")
	_, err = store(t, send(strings.Repeat("x", MaxChunk+1))).ReadRange(t.Context(), "k", 0, 0, &out)
	wantBroken(t, err, "more bytes")
}
