package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func at(seconds int) *timestamppb.Timestamp { return timestamppb.New(testTime(seconds)) }

// failedRun is a run of three steps whose second failed at its second attempt.
func failedRun() *apiv1.GetRunResponse {
	return &apiv1.GetRunResponse{
		Run: &apiv1.Run{
			Id: "01J", Name: "training-3", Project: "default", Pipeline: "training", State: "failed", Stack: "mine",
			Epoch: 1, CreatedAt: at(0), EndedAt: at(75), Steps: map[string]uint32{"completed": 1, "failed": 1, "skipped": 1},
			Error: "step 'train' failed",
		},
		Steps: []*apiv1.StepRun{
			{
				Name: "load", State: "completed", StartedAt: at(0), EndedAt: at(1),
				Attempts: []*apiv1.Attempt{{Id: "a1", Number: 1, State: "completed"}},
				Outputs:  []*apiv1.ArtifactRef{{Slot: "out", Artifact: "data", Version: 4}},
				Metrics:  map[string]float64{"rows": 569},
			},
			{
				Name: "train", State: "failed", StartedAt: at(1), EndedAt: at(75), Error: "no convergence",
				Attempts: []*apiv1.Attempt{
					{Id: "a2", Number: 1, State: "lost", Error: "the program ended"},
					{Id: "a3", Number: 2, State: "failed", Error: "no convergence", Trace: "main.train\n\tmain.go:12"},
				},
				Inputs: []*apiv1.ArtifactRef{{Slot: "data", Artifact: "data", Version: 4, Node: "load", Output: "out"}},
			},
			{Name: "evaluate", State: "skipped"},
		},
		Parameters: map[string]*stepv1.Parameter{
			"rate": {Value: []byte("0.1")}, "token": {Value: []byte(`"hunter2"`), Secret: true},
		},
		Stack:         []*apiv1.StackSnapshotEntry{{Type: "orchestrator", Name: "default", Flavor: "local", Revision: 1, Plugin: "local", PluginVersion: "0.1.0"}},
		Provenance:    &apiv1.Provenance{GitCommit: "abc123", GitDirty: true, User: "ada", Host: "box", CommandLine: []string{"./train", "--rate", "0.1"}},
		Recipe:        &apiv1.Recipe{Argv: []string{"./train"}, WorkingDir: "/src"},
		ResumeCommand: "cairn run resume training-3",
	}
}

func TestRunDescribe(t *testing.T) {
	f := &fakeHost{getRun: func(r *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
		if r.GetRun() != "latest" {
			t.Errorf("asked for run %q", r.GetRun())
		}
		return failedRun(), nil
	}}
	res := f.cairn(t, "", "run", "describe")
	if res.code != 0 {
		t.Fatal(res.stderr)
	}
	for _, want := range []string{
		"Run:         training-3\nState:       failed\n", "Go on with:  cairn run resume training-3\n", "Took:        1m15s\n",
		"STEP      STATE      ATTEMPTS  TOOK   METRICS\nload      completed  1         1s     rows=569\ntrain     failed     2         1m14s\nevaluate  skipped    0\n",
		"attempt 1: lost: the program ended\nattempt 2: failed\n    main.train\n    \tmain.go:12\n",
		"data:4    load  out\n", "token:  ***\n", "rate:   0.1\n", "abc123, with changes not committed", "ada@box", "./train --rate 0.1",
	} {
		if !strings.Contains(res.stdout, want) {
			t.Errorf("the output lacks %q:\n%s", want, res.stdout)
		}
	}

	var got map[string]any
	res = f.cairn(t, "", "run", "describe", "latest", "--output", "json")
	if err := json.Unmarshal([]byte(res.stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, res.stdout)
	}
	if got["name"] != "training-3" || got["created_at"] != "2026-03-04T05:06:00Z" || got["epoch"] != 1.0 {
		t.Errorf("json: %s", res.stdout)
	}
	if strings.Contains(res.stdout, "hunter2") {
		t.Error("a secret parameter was printed")
	}
	if res := f.cairn(t, "", "run", "describe", "latest", "--output", "yaml"); !strings.Contains(res.stdout, "name: training-3\n") {
		t.Errorf("yaml: %s", res.stdout)
	}
}

func TestRunListAsksForPageAfterPage(t *testing.T) {
	const total = 2500
	var asked []uint32
	f := &fakeHost{listRuns: func(r *apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error) {
		asked = append(asked, r.GetLimit())
		first := 0
		if r.GetPage() != "" {
			if _, err := fmt.Sscan(r.GetPage(), &first); err != nil {
				return nil, err
			}
		}
		res := &apiv1.ListRunsResponse{}
		for i := first; i < min(first+int(r.GetLimit()), total); i++ {
			res.Runs = append(res.Runs, &apiv1.Run{Name: fmt.Sprintf("training-%d", i), State: "completed"})
		}
		if next := first + len(res.Runs); next < total {
			res.NextPage = fmt.Sprint(next)
		}
		return res, nil
	}}
	tests := []struct {
		limit string
		runs  int
		asked []uint32
		note  bool
	}{
		{"10", 10, []uint32{10}, true},
		{"1500", 1500, []uint32{1000, 500}, true},
		{"2500", 2500, []uint32{1000, 1000, 500}, false},
		{"0", 2500, []uint32{1000, 1000, 1000}, false},
	}
	for _, test := range tests {
		asked = nil
		res := f.cairn(t, "", "run", "list", "--limit", test.limit)
		if got := strings.Count(res.stdout, "training-"); got != test.runs {
			t.Errorf("--limit %s lists %d runs", test.limit, got)
		}
		if diff := cmp.Diff(test.asked, asked); diff != "" {
			t.Errorf("--limit %s: %s", test.limit, diff)
		}
		if got := strings.Contains(res.stderr, "There are more"); got != test.note {
			t.Errorf("--limit %s: stderr %q", test.limit, res.stderr)
		}
	}
}

// endingRun is running until its events have been sent, and then in a state.
func endingRun(state string, streamErr error) *fakeHost {
	over := make(chan struct{})
	return &fakeHost{
		getRun: func(*apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
			run := &apiv1.Run{Id: "01J", Name: "training-3", State: "running", CreatedAt: at(0), Steps: map[string]uint32{"running": 1}}
			select {
			case <-over:
				run.State, run.EndedAt, run.Error = state, at(9), "it went so"
			default:
			}
			return &apiv1.GetRunResponse{Run: run, Steps: []*apiv1.StepRun{{Name: "train", State: "running", StartedAt: at(0)}}}, nil
		},
		watchRun: func(_ context.Context, r *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
			for i, kind := range []string{"run_created", "attempt_started"} {
				event := &apiv1.Event{Seq: uint64(i + 1), Kind: kind, At: at(i), Step: []string{"", "train"}[i]}
				if err := send(&apiv1.WatchRunResponse{Event: event}); err != nil {
					return err
				}
			}
			close(over)
			return streamErr
		},
	}
}

func TestRunWaitExitsAsTheRunDid(t *testing.T) {
	interrupted := diag.Errorf(diag.Interrupted, "run 'training-3' is interrupted")
	tests := map[string]struct {
		err  error
		code int
	}{
		"completed": {nil, 0}, "failed": {nil, 5}, "interrupted": {interrupted, 6}, "cancelled": {nil, 130},
	}
	for state, test := range tests {
		t.Run(state, func(t *testing.T) {
			res := endingRun(state, test.err).cairn(t, "", "run", "wait", "latest")
			if res.code != test.code || !strings.Contains(res.stdout+res.stderr, "un training-3 is "+state) {
				t.Errorf("exit code %d, want %d: %s%s", res.code, test.code, res.stdout, res.stderr)
			}
			res = endingRun(state, test.err).cairn(t, "", "run", "watch", "latest")
			if want := "05:06:00  run created\n05:06:01  train: attempt started\n"; res.code != 0 || !strings.HasSuffix(strings.ReplaceAll(res.stdout, at(0).AsTime().Local().Format("15"), "05"), want) {
				t.Errorf("watch: exit code %d, stdout %q, stderr %q", res.code, res.stdout, res.stderr)
			}
		})
	}
	res := endingRun("failed", nil).cairn(t, "", "run", "watch", "latest", "--output", "json")
	lines := strings.Split(strings.TrimSpace(res.stdout), "\n")
	var last eventView
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 2 || last.Step != "train" {
		t.Errorf("%v: %q", err, res.stdout)
	}
}

func TestRunResumeRunsTheProgramAgain(t *testing.T) {
	dir := t.TempDir()
	run := func(state string, recipe *apiv1.Recipe) *fakeHost {
		return &fakeHost{getRun: func(*apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
			return &apiv1.GetRunResponse{Run: &apiv1.Run{Id: "01J", Name: "training-3", State: state}, Recipe: recipe}, nil
		}}
	}
	script := func(text string) *apiv1.Recipe {
		return &apiv1.Recipe{Argv: []string{"sh", "-c", text, "sh", "a b"}, WorkingDir: dir, Env: map[string]string{"RATE": "0.1"}}
	}

	res := run("failed", script(`pwd; echo "$CAIRN_RESUME $RATE $1"; cat; exit 5`)).cairn(t, "typed", "run", "resume", "latest")
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := real + "\n01J 0.1 a b\ntyped"; res.stdout != want || res.code != 5 {
		t.Errorf("exit code %d, stdout %q, want %q; stderr %q", res.code, res.stdout, want, res.stderr)
	}
	if res := run("interrupted", script("kill -TERM $$")).cairn(t, "", "run", "resume", "latest"); res.code != 143 {
		t.Errorf("a program that a signal ended gives %d", res.code)
	}
	if res := run("running", script(`echo "$CAIRN_TAKE_OVER"`)).cairn(t, "", "run", "resume", "latest", "--take-over"); res.stdout != "1\n" {
		t.Errorf("stdout %q", res.stdout)
	}
	if res := run("completed", nil).cairn(t, "", "run", "resume", "latest"); res.code != 0 || !strings.Contains(res.stdout, "nothing to go on with") {
		t.Errorf("a completed run: exit code %d, %s%s", res.code, res.stdout, res.stderr)
	}
	for name, test := range map[string]struct {
		host *fakeHost
		want string
	}{
		"running":        {run("running", script("true")), "--take-over"},
		"no recipe":      {run("failed", nil), "CAIRN_RESUME=training-3"},
		"folder is gone": {run("failed", &apiv1.Recipe{Argv: []string{"./train", "--rate", "a b"}, WorkingDir: "/nowhere"}), "CAIRN_RESUME=training-3 ./train --rate 'a b'"},
		"program gone":   {run("failed", &apiv1.Recipe{Argv: []string{"./train"}, WorkingDir: dir}), "no such file"},
		"not in PATH":    {run("failed", &apiv1.Recipe{Argv: []string{"no-such-program"}, WorkingDir: dir}), "in PATH"},
	} {
		if res := test.host.cairn(t, "", "run", "resume", "latest"); res.code != 4 || !strings.Contains(res.stderr, test.want) {
			t.Errorf("%s: exit code %d, stderr %s", name, res.code, res.stderr)
		}
	}
}

func TestRunResumeBuildsTheProgramOfGoRun(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.com/train\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), `package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println(os.Getenv("CAIRN_RESUME"), os.Args[1:])
	os.Exit(6)
}
`)
	f := &fakeHost{getRun: func(*apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
		return &apiv1.GetRunResponse{
			Run:    &apiv1.Run{Id: "01J", Name: "training-3", State: "interrupted"},
			Recipe: &apiv1.Recipe{Argv: []string{"/tmp/go-build1/b001/exe/train", "--rate", "a b"}, WorkingDir: dir, GoPackage: "example.com/train"},
		}, nil
	}}
	if res := f.cairn(t, "", "run", "resume", "latest"); res.code != 6 || res.stdout != "01J [--rate a b]\n" {
		t.Errorf("exit code %d, stdout %q, stderr %q", res.code, res.stdout, res.stderr)
	}
	if err := os.Remove(filepath.Join(dir, "main.go")); err != nil {
		t.Fatal(err)
	}
	if res := f.cairn(t, "", "run", "resume", "latest"); res.code != 4 || !strings.Contains(res.stderr, "CAIRN_RESUME=training-3 go run example.com/train --rate 'a b'") {
		t.Errorf("exit code %d, stderr %q", res.code, res.stderr)
	}
}

func TestMostTelling(t *testing.T) {
	var steps []stepView
	for i := range 100 {
		state := "pending"
		switch {
		case i == 3:
			state = "failed"
		case i < 50:
			state = "completed"
		case i < 52:
			state = "running"
		}
		steps = append(steps, stepView{Name: fmt.Sprint(i), State: state})
	}
	var got []string
	for _, s := range mostTelling(steps, 6) {
		got = append(got, s.Name)
	}
	if diff := cmp.Diff([]string{"3", "47", "48", "49", "50", "51"}, got); diff != "" {
		t.Error(diff)
	}
	if got := len(mostTelling(steps, -3)); got != 1 {
		t.Errorf("a tiny terminal shows %d steps", got)
	}
}

func TestTookText(t *testing.T) {
	begin, now := testTime(0), testTime(90)
	for want, end := range map[string]time.Time{"12ms": begin.Add(12_345 * time.Microsecond), "2.3s": begin.Add(2345 * time.Millisecond), "1m0s": begin.Add(time.Minute)} {
		if got := tookText(&begin, &end, now); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := tookText(&begin, nil, now); got != "1m30s" {
		t.Errorf("got %s for what goes on", got)
	}
}
