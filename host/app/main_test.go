package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/home"
	"github.com/cairn-stack/cairn/host/pluginhost/guard"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

// binDir holds what `make build` puts in bin: the test binary as cairn, and the
// local plugin.
var binDir string

// TestMain is cairn itself where it is started by its hidden verbs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case guard.Verb:
			os.Exit(guard.Main(os.Args[2:]))
		case "host":
			os.Exit(RunEmbedded(os.Args[2:]))
		}
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cairn-app")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binDir = dir
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	if err := os.Link(self, filepath.Join(dir, "cairn")); err != nil {
		if err := copyFile(self, filepath.Join(dir, "cairn")); err != nil {
			panic(err)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "cairn-plugin-local"), "github.com/cairn-stack/cairn/plugins/local")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// place is a home of its own with a short runtime directory.
func place(t *testing.T) home.Home {
	t.Helper()
	runtime, err := os.MkdirTemp("/tmp", "crn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtime) })
	return home.Home{Dir: filepath.Join(t.TempDir(), "home"), RuntimeDir: filepath.Join(runtime, "cairn")}
}

// open opens a host inside this process.
func open(t *testing.T, at home.Home) *Host {
	t.Helper()
	h, err := Open(t.Context(), Options{Home: at, Executable: filepath.Join(binDir, "cairn")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, h) })
	return h
}

// closeHost closes a host. On a crowded machine a guard may take longer to end
// than a host waits for it, which is said and harmless.
func closeHost(t *testing.T, h *Host) {
	t.Helper()
	if err := h.Close(); err != nil {
		t.Logf("close: %v", err)
	}
}

// prompt is the deadline of what is promised within 2 s: four times that, since
// a machine that runs tests is crowded.
const prompt = 8 * time.Second

// process is a host process beside this one, which is its program.
type process struct {
	api.Service
	cmd     *exec.Cmd
	program *os.File
	exited  chan struct{}
	socket  string
}

func start(t *testing.T, at home.Home) *process {
	t.Helper()
	return startWith(t, at, nil)
}

// startWith starts a host with more descriptors, from 3 on, and arguments.
func startWith(t *testing.T, at home.Home, files []*os.File, args ...string) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{program: w, exited: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binDir, "cairn"), append([]string{"host", "--embedded"}, args...)...)
	p.cmd.Env = append(os.Environ(), "CAIRN_HOME="+at.Dir, "XDG_RUNTIME_DIR="+filepath.Dir(at.RuntimeDir))
	p.cmd.ExtraFiles = files
	p.cmd.Dir = filepath.Dir(at.Dir)
	p.cmd.Stdin = r
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("no line from the host: %v", err)
	}
	go func() { _ = p.cmd.Wait(); close(p.exited) }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.exited; _ = w.Close() })
	var l hostLine
	if err := json.Unmarshal(line, &l); err != nil || l.Error != nil || l.APIMajor != APIMajor {
		t.Fatalf("the host said %s (%v)", line, err)
	}
	p.socket = strings.TrimPrefix(l.Address, "unix://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", p.socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	p.Service = api.Client(&http.Client{Transport: transport}, "http://cairn")
	return p
}

// within polls a condition until it holds, at most for a time.
func within(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", d, what)
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// pipeline is two steps: make writes a file, double reads it.
func pipeline() *stepv1.Pipeline {
	text := &stepv1.Type{MediaType: "text/plain"}
	return &stepv1.Pipeline{Name: "two", Nodes: []*stepv1.Node{
		{Name: "make", Kind: &stepv1.Node_Step{Step: &stepv1.Step{Function: "make", CodeKey: "k", Outputs: []*stepv1.Output{{Name: "out", Type: text, Artifact: "numbers"}}}}},
		{Name: "double", Inputs: []*stepv1.Input{{Name: "in", Type: text, Source: &stepv1.Input_Output{Output: &stepv1.OutputRef{Node: "make", Output: "out"}}}},
			Kind: &stepv1.Node_Step{Step: &stepv1.Step{Function: "double", CodeKey: "k", Outputs: []*stepv1.Output{{Name: "out", Type: text}}}}},
	}}
}

// create starts a run of the pipeline.
func create(t *testing.T, s api.Service) *apiv1.Run {
	t.Helper()
	res, err := s.CreateRun(t.Context(), &apiv1.CreateRunRequest{
		Context: &apiv1.ClientContext{}, Pipeline: pipeline(), RequestId: ulid.Make().String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetRun()
}

// drive is the program's side of a run: it answers jobs until the run is done,
// or until a step is named that it leaves alone. It gives the run's state and
// the steps that it ran.
func drive(t *testing.T, s api.Service, runID, leave string) (state string, ran []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = s.OpenSession(ctx, &apiv1.OpenSessionRequest{Run: runID, Session: "s"}, func(*apiv1.OpenSessionResponse) error { return nil })
	}()
	for {
		res, err := s.NextJob(ctx, &apiv1.NextJobRequest{Run: runID, Session: "s", FreeSlots: 4, WaitMs: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if res.GetDone() {
			return res.GetRunState(), ran
		}
		for _, j := range res.GetStart() {
			if j.GetStep() == leave {
				return "", ran
			}
			finish(t, j)
			if _, err := s.CompleteJob(ctx, &apiv1.CompleteJobRequest{Run: runID, Session: "s", Attempt: j.GetAttempt()}); err != nil {
				t.Fatal(err)
			}
			ran = append(ran, j.GetStep())
		}
	}
}

// finish runs a step: its output is its input twice, or a number.
func finish(t *testing.T, j *apiv1.Job) {
	t.Helper()
	value := []byte("21")
	if len(j.GetInputs()) > 0 {
		in := j.GetInputs()[0].GetInline()
		if p := j.GetInputs()[0].GetPath(); p != "" {
			var err error
			if in, err = os.ReadFile(p); err != nil {
				t.Fatal(err)
			}
		}
		value = append(in, in...)
	}
	if err := os.WriteFile(filepath.Join(j.GetDir(), "out"), value, 0o644); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(j.GetLogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.WriteString("step " + j.GetStep() + " says hello\n")
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	err = artifact.WriteResult(j.GetDir(), &artifact.Result{
		Format: artifact.ResultFormat, Run: j.GetRun(), Step: j.GetStep(), Attempt: j.GetAttempt(), Incarnation: j.GetIncarnation(),
		Outputs:   []artifact.ResultOutput{{Name: "out", Type: artifact.OutputType{MediaType: "text/plain"}, Path: "out"}},
		StartedUS: artifact.MicrosOf(time.Now()), EndedUS: artifact.MicrosOf(time.Now()),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// files lists what lies below a directory, in order.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir {
			out = append(out, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

// hostCommand is a host process on a home.
func hostCommand(dir string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(binDir, "cairn"), "host", "--embedded")
	cmd.Env = append(os.Environ(), "CAIRN_HOME="+dir)
	return cmd
}
