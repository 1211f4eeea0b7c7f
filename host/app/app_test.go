package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestFreshHomeHasTheDefaultStack(t *testing.T) {
	t.Parallel()
	at := place(t)
	h := open(t, at)
	res, err := h.ListStacks(t.Context(), &apiv1.ListStacksRequest{})
	if err != nil || len(res.GetStacks()) != 1 || res.GetStacks()[0].GetName() != "default" || !res.GetStacks()[0].GetActive() {
		t.Fatalf("got %v, %v", res, err)
	}
}

func TestReadingStartsAndLocksNothing(t *testing.T) {
	t.Parallel()
	at := place(t)
	first := open(t, at)
	if _, err := first.ListFlavors(t.Context(), &apiv1.ListFlavorsRequest{}); err != nil {
		t.Fatal(err)
	}
	closeHost(t, first)
	before := files(t, at.Dir)
	h := open(t, at)
	ctx := t.Context()
	if _, err := h.ListStacks(ctx, &apiv1.ListStacksRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.GetStack(ctx, &apiv1.GetStackRequest{}); err != nil {
		t.Fatal(err)
	}
	if res, err := h.ListFlavors(ctx, &apiv1.ListFlavorsRequest{}); err != nil || len(res.GetFlavors()) == 0 {
		t.Fatalf("flavors %v, %v", res, err)
	}
	if h.writing != nil || h.identity != nil {
		t.Error("a read opened the home for writing")
	}
	if d := cmp.Diff(before, files(t, at.Dir)); d != "" {
		t.Errorf("a read changed the home:\n%s", d)
	}
	if _, err := os.Stat(h.runtimeDir()); err == nil {
		t.Error("a read made a runtime directory")
	}
}

func TestTwoStepsFromEndToEnd(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	run := create(t, p)
	state, ran := drive(t, p, run.GetId(), "")
	if state != "completed" || !cmp.Equal(ran, []string{"make", "double"}) {
		t.Fatalf("the run is %s after %v", state, ran)
	}
	_ = p.program.Close()
	within(t, prompt, "the host ends", p.ended)
	if left := files(t, at.RuntimeDir); len(left) > 0 {
		t.Errorf("left in the runtime directory: %v", left)
	}
	if left := files(t, at.Hosts()); len(left) > 0 {
		t.Errorf("left locks: %v", left)
	}

	h := open(t, at)
	ctx := t.Context()
	got, err := h.GetRun(ctx, &apiv1.GetRunRequest{Run: "latest"})
	if err != nil || got.GetRun().GetName() != "two-1" || got.GetRun().GetState() != "completed" || len(got.GetStack()) != 2 {
		t.Fatalf("run %v, %v", got, err)
	}
	if in := got.GetSteps()[1].GetInputs()[0]; in.GetArtifact() != "numbers" || in.GetVersion() != 1 {
		t.Errorf("double read %v", in)
	}
	out := filepath.Join(t.TempDir(), "double")
	if _, err := h.FetchArtifact(ctx, &apiv1.FetchArtifactRequest{Artifact: "double.out:1", Path: out}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(out); err != nil || string(data) != "2121" {
		t.Errorf("fetched %q, %v", data, err)
	}
	_, err = h.FetchArtifact(ctx, &apiv1.FetchArtifactRequest{Artifact: "double.out:1", Path: out})
	if diag.CodeOf(err) != diag.Refused {
		t.Errorf("a second fetch over the first: %v", err)
	}
	lineage, err := h.GetLineage(ctx, &apiv1.GetLineageRequest{Artifact: "numbers"})
	if err != nil || len(lineage.GetNodes()) != 4 || len(lineage.GetEdges()) != 3 {
		t.Errorf("lineage %v, %v", lineage, err)
	}
	var log strings.Builder
	err = h.ReadLog(ctx, &apiv1.ReadLogRequest{Run: "two-1", Step: "make", Follow: true}, func(m *apiv1.ReadLogResponse) error {
		log.Write(m.GetData())
		return nil
	})
	if err != nil || log.String() != "step make says hello\n" {
		t.Errorf("log %q, %v", log.String(), err)
	}
	var kinds []string
	err = h.WatchRun(ctx, &apiv1.WatchRunRequest{Run: "two@latest"}, func(m *apiv1.WatchRunResponse) error {
		kinds = append(kinds, m.GetEvent().GetKind())
		return nil
	})
	if err != nil || len(kinds) == 0 || kinds[0] != "run_created" || kinds[len(kinds)-1] != "run_ended" {
		t.Errorf("events %v, %v", kinds, err)
	}
	verifyFindsCorruption(t, h)
	if _, err := h.DeleteRun(ctx, &apiv1.DeleteRunRequest{Run: "two-1"}); err != nil {
		t.Fatal(err)
	}
	if left := files(t, at.RunLogs(run.GetId())); len(left) > 0 {
		t.Errorf("left logs: %v", left)
	}
}

// verifyFindsCorruption changes the stored bytes of an artifact.
func verifyFindsCorruption(t *testing.T, h *Host) {
	t.Helper()
	ctx := t.Context()
	all, err := h.VerifyArtifact(ctx, &apiv1.VerifyArtifactRequest{})
	if err != nil || !all.GetOk() || len(all.GetVerifications()) != 2 {
		t.Fatalf("verified %v, %v", all, err)
	}
	got, err := h.GetArtifact(ctx, &apiv1.GetArtifactRequest{Artifact: "numbers:1"})
	if err != nil || len(got.GetLocations()) != 1 || got.GetLocations()[0].GetComponent() != "default" {
		t.Fatalf("artifact %v, %v", got, err)
	}
	path := got.GetLocations()[0].GetPath()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("22"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad, err := h.VerifyArtifact(ctx, &apiv1.VerifyArtifactRequest{Artifact: "numbers:1"})
	if err != nil || bad.GetOk() || bad.GetVerifications()[0].GetState() != "corrupt" {
		t.Errorf("verified %v, %v", bad, err)
	}
	target := filepath.Join(t.TempDir(), "numbers")
	_, err = h.FetchArtifact(ctx, &apiv1.FetchArtifactRequest{Artifact: "numbers:1", Path: target})
	if diag.CodeOf(err) != diag.Difference {
		t.Errorf("fetched a corrupt artifact: %v", err)
	}
	if left := files(t, filepath.Dir(target)); len(left) > 0 {
		t.Errorf("a refused fetch left %v", left)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	gone, err := h.VerifyArtifact(ctx, &apiv1.VerifyArtifactRequest{Artifact: "numbers:1"})
	if err != nil || gone.GetVerifications()[0].GetState() != "missing" {
		t.Errorf("verified %v, %v", gone, err)
	}
}

func TestProgramDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	run := create(t, p)
	if _, ran := drive(t, p, run.GetId(), "double"); !cmp.Equal(ran, []string{"make"}) {
		t.Fatalf("ran %v", ran)
	}
	_ = p.program.Close()
	within(t, prompt, "the host ends", p.ended)
	if left := files(t, at.RuntimeDir); len(left) > 0 {
		t.Errorf("left in the runtime directory: %v", left)
	}
	resumes(t, start(t, at), run.GetId())
}

func TestHostDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	run := create(t, p)
	if _, ran := drive(t, p, run.GetId(), "double"); !cmp.Equal(ran, []string{"make"}) {
		t.Fatalf("ran %v", ran)
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, prompt, "the host is gone", p.ended)
	within(t, prompt, "nothing is left in the runtime directory", func() bool { return len(files(t, at.RuntimeDir)) == 0 })
	h := open(t, at)
	got, err := h.GetRun(t.Context(), &apiv1.GetRunRequest{Run: "latest"})
	if err != nil || got.GetRun().GetState() != "interrupted" || got.GetResumeCommand() == "" {
		t.Fatalf("run %v, %v", got.GetRun(), err)
	}
	err = h.WatchRun(t.Context(), &apiv1.WatchRunRequest{Run: "latest"}, func(*apiv1.WatchRunResponse) error { return nil })
	if diag.CodeOf(err) != diag.Interrupted {
		t.Errorf("watching an interrupted run ends with %v", err)
	}
	resumes(t, start(t, at), run.GetId())
}

// resumes goes on with a run on another host: what was finished is not run
// again.
func resumes(t *testing.T, p *process, runID string) {
	t.Helper()
	res, err := p.ResumeRun(t.Context(), &apiv1.ResumeRunRequest{Run: runID, Pipeline: pipeline()})
	if err != nil {
		t.Fatal(err)
	}
	if res.GetRun().GetEpoch() != 2 {
		t.Errorf("resumed in epoch %d", res.GetRun().GetEpoch())
	}
	state, ran := drive(t, p, runID, "")
	if state != "completed" || !cmp.Equal(ran, []string{"double"}) {
		t.Errorf("the run is %s after %v", state, ran)
	}
}

func TestCancelOfAnInterruptedRun(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	create(t, p)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, prompt, "the host is gone", p.ended)
	h := open(t, at)
	_, err := h.DeleteRun(t.Context(), &apiv1.DeleteRunRequest{Run: "latest"})
	if diag.CodeOf(err) != diag.Refused {
		t.Errorf("deleted a run that has not ended: %v", err)
	}
	res, err := h.CancelRun(t.Context(), &apiv1.CancelRunRequest{Run: "latest"})
	if err != nil || res.GetRun().GetState() != "cancelled" {
		t.Fatalf("cancelled %v, %v", res, err)
	}
	closeHost(t, h)
	if left := files(t, at.Hosts()); len(left) > 0 {
		t.Errorf("left locks: %v", left)
	}
}

func TestCancelFromAnotherProcess(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	run := create(t, p)
	h := open(t, at)
	if _, err := h.CancelRun(t.Context(), &apiv1.CancelRunRequest{Run: run.GetName()}); err != nil {
		t.Fatal(err)
	}
	// The owner hears of it by polling, and the program by its next job.
	within(t, prompt, "the run is cancelled", func() bool {
		got, err := h.GetRun(t.Context(), &apiv1.GetRunRequest{Run: run.GetId()})
		return err == nil && got.GetRun().GetState() == "cancelled"
	})
}

func TestHostRefusesToStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := hostCommand(file)
	out, err := cmd.Output()
	if err == nil || cmd.ProcessState.ExitCode() != 4 || !strings.Contains(string(out), `{"error":{"code":"refused"`) {
		t.Errorf("got %s, %v", out, err)
	}
}
