package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func TestTreeIsRestored(t *testing.T) {
	t.Parallel()
	at := place(t)
	p := start(t, at)
	ctx := t.Context()
	res, err := p.CreateRun(ctx, &apiv1.CreateRunRequest{Context: &apiv1.ClientContext{}, Pipeline: &stepv1.Pipeline{
		Name: "tree", Nodes: []*stepv1.Node{{Name: "grow", Kind: &stepv1.Node_Step{Step: &stepv1.Step{
			Function: "grow", Outputs: []*stepv1.Output{{Name: "out", Type: &stepv1.Type{MediaType: "application/x-tree"}, Artifact: "forest"}},
		}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	run := res.GetRun().GetId()
	go func() {
		_ = p.OpenSession(ctx, &apiv1.OpenSessionRequest{Run: run, Session: "s"}, func(*apiv1.OpenSessionResponse) error { return nil })
	}()
	var j *apiv1.Job
	within(t, prompt, "there is a job", func() bool {
		jobs, err := p.NextJob(ctx, &apiv1.NextJobRequest{Run: run, Session: "s", FreeSlots: 1, WaitMs: 100})
		if err != nil {
			t.Fatal(err)
		}
		if len(jobs.GetStart()) > 0 {
			j = jobs.GetStart()[0]
		}
		return j != nil
	})
	want := map[string]string{"a/b/leaf": "green", "root": "", "run.sh": "#!/bin/sh\n"}
	for path, text := range want {
		file := filepath.Join(j.GetDir(), "out", path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(j.GetDir(), "out", "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	err = artifact.WriteResult(j.GetDir(), &artifact.Result{
		Format: artifact.ResultFormat, Run: run, Step: "grow", Attempt: j.GetAttempt(), Incarnation: j.GetIncarnation(),
		Outputs:   []artifact.ResultOutput{{Name: "out", Type: artifact.OutputType{MediaType: "application/x-tree"}, Path: "out", Tree: true}},
		StartedUS: artifact.MicrosOf(time.Now()), EndedUS: artifact.MicrosOf(time.Now()),
	})
	if err != nil {
		t.Fatal(err)
	}
	done, err := p.CompleteJob(ctx, &apiv1.CompleteJobRequest{Run: run, Session: "s", Attempt: j.GetAttempt()})
	if err != nil || done.GetOutcome() != "published" {
		t.Fatalf("completed %v, %v", done, err)
	}

	h := open(t, at)
	target := filepath.Join(t.TempDir(), "forest")
	fetch := func(overwrite bool) error {
		_, err := h.FetchArtifact(ctx, &apiv1.FetchArtifactRequest{Artifact: "forest:1", Path: target, Overwrite: overwrite})
		return err
	}
	if err := fetch(false); err != nil {
		t.Fatal(err)
	}
	compare := func() {
		t.Helper()
		got := map[string]string{}
		for path := range want {
			data, err := os.ReadFile(filepath.Join(target, path))
			if err != nil {
				t.Error(err)
			}
			got[path] = string(data)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if info, err := os.Stat(filepath.Join(target, "run.sh")); err != nil || info.Mode().Perm()&0o100 == 0 {
			t.Errorf("run.sh: %v, %v", info, err)
		}
	}
	compare()
	if err := fetch(false); diag.CodeOf(err) != diag.Refused {
		t.Errorf("a second fetch over the first: %v", err)
	}
	if err := os.WriteFile(filepath.Join(target, "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fetch(true); err != nil {
		t.Fatal(err)
	}
	compare()
	if _, err := os.Stat(filepath.Join(target, "stray")); err == nil {
		t.Error("what stood there before is still there")
	}
	verified, err := h.VerifyArtifact(ctx, &apiv1.VerifyArtifactRequest{Artifact: "forest"})
	if err != nil || !verified.GetOk() {
		t.Errorf("verified %v, %v", verified, err)
	}
}
