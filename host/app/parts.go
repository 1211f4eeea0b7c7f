package app

import (
	"context"
	"sync"

	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/home"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/registry"
	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func errClosed() error { return diag.Errorf(diag.Cancelled, "the host is shutting down") }

// homeAPI is the home as the API asks for it.
type homeAPI struct{ home.Home }

func (h homeAPI) Dir() string        { return h.Home.Dir }
func (h homeAPI) RuntimeDir() string { return h.Home.RuntimeDir }

func (h homeAPI) RemoveLogs(runID string) error { return h.RemoveRunLogs(runID) }

func (homeAPI) FindProject(dir string) (model.Project, error) {
	p, err := home.FindProject(dir)
	return projectModel(p), err
}

func (homeAPI) InitProject(dir, id string) (model.Project, bool, error) {
	p, created, err := home.InitProject(dir, id)
	return projectModel(p), created, err
}

func projectModel(p home.Project) model.Project {
	return model.Project{ID: p.ID, File: p.File(), Stack: p.Stack, Root: p.Root}
}

// pins writes the pin of a project.
type pins struct{}

func (pins) PinStack(p model.Project, stack string) error {
	return home.PinStack(home.Project{ID: p.ID, Stack: p.Stack, Root: p.Root}, stack)
}

// secretUsers says which components refer to secrets.
type secretUsers struct{ *store.Store }

func (u secretUsers) SecretUsers(ctx context.Context) (map[string][]string, error) {
	return registry.SecretUsers(ctx, u.Store)
}

// activeRuns says which runs use a stack.
type activeRuns struct{ *store.Store }

func (r activeRuns) ActiveRunsOn(ctx context.Context, stack string) ([]string, error) {
	list, _, err := r.ListRuns(ctx, store.RunFilter{State: model.RunRunning, Stack: stack, Limit: 20})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, run := range list {
		names = append(names, run.Name)
	}
	return names, nil
}

// runQueries is the store as the API asks it for runs.
type runQueries struct{ *store.Store }

func (q runQueries) ListRuns(ctx context.Context, f model.RunFilter) ([]model.Run, string, error) {
	return q.Store.ListRuns(ctx, store.RunFilter{
		Project: f.Project, Pipeline: f.Pipeline, State: f.State, Stack: f.Stack, Limit: f.Limit, Page: f.Page,
	})
}

// DeleteRun deletes rows; the logs of its attempts lie in the run's directory.
func (q runQueries) DeleteRun(ctx context.Context, runID string) error {
	_, err := q.Store.DeleteRun(ctx, runID)
	return err
}

func (q runQueries) Pipelines(ctx context.Context, project string) ([]model.PipelineSummary, error) {
	list, err := q.Store.Pipelines(ctx, project)
	if err != nil {
		return nil, err
	}
	out := make([]model.PipelineSummary, 0, len(list))
	for _, p := range list {
		out = append(out, model.PipelineSummary(p))
	}
	return out, nil
}

// artifactQueries is the store as the API asks it for artifacts.
type artifactQueries struct{ *store.Store }

func (q artifactQueries) ListArtifacts(ctx context.Context, f model.ArtifactFilter) ([]model.ArtifactVersion, string, error) {
	return q.Store.ListArtifacts(ctx, store.ArtifactFilter{
		Project: f.Project, Name: f.Name, AllVersions: f.AllVersions, Limit: f.Limit, Page: f.Page,
	})
}

func (q artifactQueries) StepInputs(ctx context.Context, runID, step string) ([]model.BoundInput, error) {
	list, err := q.Store.StepInputs(ctx, runID, step)
	if err != nil {
		return nil, err
	}
	out := make([]model.BoundInput, 0, len(list))
	for _, in := range list {
		out = append(out, model.BoundInput{Input: in.Input, Version: in.Artifact})
	}
	return out, nil
}

func (q artifactQueries) Consumers(ctx context.Context, versionID string) ([]model.Consumer, error) {
	list, err := q.Store.Consumers(ctx, versionID)
	if err != nil {
		return nil, err
	}
	out := make([]model.Consumer, 0, len(list))
	for _, c := range list {
		out = append(out, model.Consumer{RunID: c.RunID, RunName: c.RunName, Step: c.Step, State: c.State, Input: c.Input})
	}
	return out, nil
}

// broadcast wakes all who wait for the next event.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{ch: make(chan struct{})} }

// next is closed at the next send.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.ch)
	b.ch = make(chan struct{})
}

// heard is a journal whose commits wake those who watch runs in this process.
type heard struct {
	engine.Journal
	changed *broadcast
}

func (j heard) CreateRun(ctx context.Context, run model.NewRun) (model.Run, error) {
	r, err := j.Journal.CreateRun(ctx, run)
	j.changed.send()
	return r, err
}

func (j heard) Acquire(ctx context.Context, runID, hostID, changeID string, takeOver bool) (model.Run, error) {
	r, err := j.Journal.Acquire(ctx, runID, hostID, changeID, takeOver)
	j.changed.send()
	return r, err
}

func (j heard) Apply(ctx context.Context, runID string, epoch int64, changes []model.Change) (int64, error) {
	seq, err := j.Journal.Apply(ctx, runID, epoch, changes)
	j.changed.send()
	return seq, err
}
