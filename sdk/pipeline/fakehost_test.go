package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/proto/cairn/api/v1/apiv1connect"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

// TestMain makes the test binary a cairn executable of its own: started as
// "cairn host --embedded" it is a host that keeps nothing.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "host" {
		if err := fakeHost(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == "program" {
		os.Args = os.Args[1:]
		Main(printingPipeline())
	}
	os.Exit(m.Run())
}

// scenario is what a test tells the fake host, in scenario.json of the folder
// that CAIRN_FAKE_HOST names.
type scenario struct {
	// Line replaces the host's line.
	Line string
	// Silent: end before the line, with this on standard error.
	Silent string
	Slots  uint32
	// Refuse is the problem that CreateRun answers with.
	Refuse *apiv1.Problem
	// DieAfter is the number of the published step at which the host dies.
	DieAfter int
	// DropCreate is how many answers to CreateRun get lost on the way.
	DropCreate int
	Secrets    map[string]string
}

type fake struct {
	apiv1connect.UnimplementedRunServiceHandler
	scenario
	dir string

	mu        sync.Mutex
	changed   chan struct{}
	create    *apiv1.CreateRunRequest
	creates   int
	resumed   string
	prov      *apiv1.Provenance
	steps     map[string]*fakeStep
	order     []string
	cancelled bool
	failed    bool
	published int
	sessions  int
}

type fakeStep struct {
	node     *stepv1.Node
	state    string
	attempts int
	attempt  string
	handed   bool
	result   *artifact.Result
	stopped  bool
}

func fakeHost() error {
	dir := os.Getenv("CAIRN_FAKE_HOST")
	data, err := os.ReadFile(filepath.Join(dir, "scenario.json"))
	if err != nil {
		return err
	}
	f := &fake{dir: dir, changed: make(chan struct{}), steps: map[string]*fakeStep{}}
	if err := json.Unmarshal(data, &f.scenario); err != nil {
		return err
	}
	var copies sync.WaitGroup
	if slices.Contains(os.Args, "--tee") {
		log, err := os.Create(filepath.Join(dir, "run.log"))
		if err != nil {
			return err
		}
		for from, to := range map[uintptr]uintptr{3: 5, 4: 6} {
			in, out := os.NewFile(from, "in"), io.MultiWriter(os.NewFile(to, "out"), log)
			copies.Go(func() { _, _ = io.Copy(out, in) })
		}
	}
	if f.Silent != "" {
		return errors.New(f.Silent)
	}
	socket := filepath.Join(dir, "h.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(apiv1connect.NewRunServiceHandler(f))
	go func() { _ = http.Serve(l, mux) }()
	line := f.Line
	if line == "" {
		line = fmt.Sprintf(`{"address":"unix://%s","version":"0.1.0","api_major":1}`, socket)
	}
	fmt.Println(line)
	_, err = io.Copy(io.Discard, os.Stdin)
	copies.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(err, f.save())
}

// seen is what the host saw, for the test to read.
type seen struct {
	Create     json.RawMessage
	Creates    int
	Resumed    string
	Provenance json.RawMessage
	Results    map[string]*artifact.Result
	Attempts   map[string]int
	Stopped    map[string]bool
}

func (f *fake) save() error {
	s := seen{Creates: f.creates, Resumed: f.resumed, Results: map[string]*artifact.Result{}, Attempts: map[string]int{}, Stopped: map[string]bool{}}
	for name, st := range f.steps {
		s.Results[name], s.Attempts[name], s.Stopped[name] = st.result, st.attempts, st.stopped
	}
	for _, m := range []struct {
		to *json.RawMessage
		m  proto.Message
	}{{&s.Create, f.create}, {&s.Provenance, f.prov}} {
		data, err := protojson.Marshal(m.m)
		if err != nil {
			return err
		}
		*m.to = data
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(f.dir, "seen.json")
	return errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path))
}

func problem(p *apiv1.Problem) error {
	err := connect.NewError(connect.CodeFailedPrecondition, errors.New(p.GetSummary()))
	d, derr := connect.NewErrorDetail(p)
	if derr != nil {
		return derr
	}
	err.AddDetail(d)
	return err
}

func (f *fake) CreateRun(_ context.Context, r *apiv1.CreateRunRequest) (*apiv1.CreateRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Refuse != nil {
		return nil, problem(f.Refuse)
	}
	f.creates++
	if f.create != nil && f.create.GetRequestId() != r.GetRequestId() {
		return nil, errors.New("another request id")
	}
	if f.create == nil {
		f.create, f.prov = r, r.GetProvenance()
		for _, n := range r.GetPipeline().GetNodes() {
			f.steps[n.GetName()] = &fakeStep{node: n, state: "pending"}
			f.order = append(f.order, n.GetName())
		}
	}
	if f.creates <= f.DropCreate {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("lost on the way"))
	}
	return &apiv1.CreateRunResponse{Run: f.run(), Slots: f.Slots}, nil
}

func (f *fake) ResumeRun(ctx context.Context, r *apiv1.ResumeRunRequest) (*apiv1.ResumeRunResponse, error) {
	_, err := f.CreateRun(ctx, &apiv1.CreateRunRequest{Pipeline: r.GetPipeline(), Recipe: r.GetRecipe(), Context: r.GetContext()})
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resumed = r.GetRun()
	return &apiv1.ResumeRunResponse{Run: f.run(), Slots: f.Slots}, nil
}

func (f *fake) RecordProvenance(_ context.Context, r *apiv1.RecordProvenanceRequest) (*apiv1.RecordProvenanceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prov = r.GetProvenance()
	return &apiv1.RecordProvenanceResponse{}, nil
}

func (f *fake) OpenSession(ctx context.Context, _ *apiv1.OpenSessionRequest, s *connect.ServerStream[apiv1.OpenSessionResponse]) error {
	f.mu.Lock()
	f.sessions++
	first := f.sessions == 1
	name := fmt.Sprintf("session-%d", f.sessions)
	f.mu.Unlock()
	if err := os.WriteFile(filepath.Join(f.dir, name), nil, 0o600); err != nil {
		return err
	}
	if err := s.Send(&apiv1.OpenSessionResponse{RunLogPath: filepath.Join(f.dir, "run.log")}); err != nil {
		return err
	}
	if first {
		return nil // the first session breaks
	}
	<-ctx.Done()
	return nil
}

// state is the run's; empty while it goes on.
func (f *fake) state() string {
	open, busy := false, false
	for _, s := range f.steps {
		open = open || s.state == "pending"
		busy = busy || s.state == "running"
	}
	switch {
	case busy || open && !f.cancelled && !f.failed:
		return "running"
	case f.cancelled:
		return "cancelled"
	case f.failed:
		return "failed"
	}
	return "completed"
}

func (f *fake) run() *apiv1.Run {
	p := f.create.GetPipeline().GetName()
	return &apiv1.Run{Id: "01RUN", Name: p + "-1", Pipeline: p, Stack: "default", State: f.state()}
}

func (f *fake) ready(s *fakeStep) bool {
	if s.state != "pending" || f.cancelled || f.failed {
		return false
	}
	for _, in := range s.node.GetInputs() {
		if o := in.GetOutput(); o != nil && f.steps[o.GetNode()].state != "completed" {
			return false
		}
	}
	for _, a := range s.node.GetAfter() {
		if f.steps[a].state != "completed" {
			return false
		}
	}
	return true
}

func (f *fake) NextJob(ctx context.Context, r *apiv1.NextJobRequest) (*apiv1.NextJobResponse, error) {
	for {
		f.mu.Lock()
		held := map[string]bool{}
		for _, h := range r.GetHeld() {
			held[h] = true
		}
		res := &apiv1.NextJobResponse{}
		free := int(r.GetFreeSlots())
		for _, name := range f.order {
			s := f.steps[name]
			if s.state == "running" && held[s.attempt] && f.cancelled && !s.stopped {
				s.stopped = true
				res.Stop = append(res.Stop, s.attempt)
			}
			if s.state == "running" && !s.handed || f.ready(s) {
				if free == 0 {
					continue
				}
				free--
				job, err := f.job(s)
				if err != nil {
					f.mu.Unlock()
					return nil, err
				}
				res.Start = append(res.Start, job)
			}
		}
		if f.state() != "running" {
			res.Done, res.RunState = true, f.state()
		}
		changed := f.changed
		f.mu.Unlock()
		if res.Done || len(res.Start)+len(res.Stop) > 0 {
			return res, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(25 * time.Second):
			return res, nil
		}
	}
}

func (f *fake) job(s *fakeStep) (*apiv1.Job, error) {
	s.state, s.handed = "running", true
	s.attempts++
	s.attempt = fmt.Sprintf("%s-%d", s.node.GetName(), s.attempts)
	dir := filepath.Join(f.dir, s.attempt)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	step := s.node.GetStep()
	j := &apiv1.Job{
		Run: "01RUN", Step: s.node.GetName(), Function: step.GetFunction(), Attempt: s.attempt,
		AttemptNumber: uint32(s.attempts), Incarnation: "inc", Dir: dir, LogPath: filepath.Join(f.dir, s.attempt+".log"),
		TimeoutMs: step.GetTimeoutMs(), Secrets: step.GetSecrets(), Outputs: step.GetOutputs(),
	}
	for _, in := range s.node.GetInputs() {
		ji := &apiv1.JobInput{Name: in.GetName(), Type: in.GetType(), Inline: in.GetLiteral()}
		if o := in.GetOutput(); o != nil {
			from := f.steps[o.GetNode()]
			for _, out := range from.result.Outputs {
				if out.Name != o.GetOutput() {
					continue
				}
				ji.Inline, ji.Tree, ji.Metadata = out.Inline, out.Tree, out.Metadata
				if out.Path != "" {
					ji.Path = out.Path
					if !filepath.IsAbs(out.Path) {
						ji.Path = filepath.Join(f.dir, from.attempt, out.Path)
					}
				}
			}
		}
		j.Inputs = append(j.Inputs, ji)
	}
	return j, nil
}

func (f *fake) CompleteJob(_ context.Context, r *apiv1.CompleteJobRequest) (*apiv1.CompleteJobResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.steps {
		if s.attempt != r.GetAttempt() || s.state != "running" {
			continue
		}
		result, err := artifact.ReadResult(filepath.Join(f.dir, s.attempt, artifact.ResultFile))
		if err != nil {
			return nil, err
		}
		s.result = result
		close(f.changed)
		f.changed = make(chan struct{})
		if result.Failure == nil {
			s.state = "completed"
			f.published++
			if f.published == f.DieAfter {
				fmt.Fprintln(os.Stderr, "the fake host dies")
				_ = f.save()
				os.Exit(3)
			}
			return &apiv1.CompleteJobResponse{Outcome: "published"}, nil
		}
		switch {
		case f.cancelled:
			s.state = "cancelled"
		case !result.Failure.Permanent && s.attempts <= int(s.node.GetStep().GetRetry().GetMaxRetries()):
			s.state, s.handed = "pending", false
		default:
			s.state, f.failed = "failed", true
		}
		return &apiv1.CompleteJobResponse{Outcome: "failed", Detail: result.Failure.Message}, nil
	}
	return &apiv1.CompleteJobResponse{Outcome: "superseded"}, nil
}

func (f *fake) CancelRun(context.Context, *apiv1.CancelRunRequest) (*apiv1.CancelRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cancelled = true
	close(f.changed)
	f.changed = make(chan struct{})
	return &apiv1.CancelRunResponse{Run: f.run()}, nil
}

func (f *fake) GetStepSecret(_ context.Context, r *apiv1.GetStepSecretRequest) (*apiv1.GetStepSecretResponse, error) {
	return &apiv1.GetStepSecretResponse{Values: f.Secrets}, nil
}

func (f *fake) GetRun(context.Context, *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := &apiv1.GetRunResponse{Run: f.run(), Stack: []*apiv1.StackSnapshotEntry{{Type: "artifact_store", Name: "default", Flavor: "local"}}}
	for _, name := range f.order {
		s := f.steps[name]
		sr := &apiv1.StepRun{Name: name, State: s.state}
		if s.state == "failed" {
			sr.Error = s.result.Failure.Message
			sr.Attempts = []*apiv1.Attempt{{Trace: s.result.Failure.Trace}}
		}
		if s.state == "completed" {
			for _, o := range s.node.GetStep().GetOutputs() {
				a := o.GetArtifact()
				if a == "" {
					a = name + "." + o.GetName()
				}
				sr.Outputs = append(sr.Outputs, &apiv1.ArtifactRef{Slot: o.GetName(), Artifact: a, Version: 1})
			}
		}
		res.Steps = append(res.Steps, sr)
	}
	return res, nil
}
