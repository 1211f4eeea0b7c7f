// Package storetest is the suite that any journal must pass: what an engine
// relies on, said once. Start with Run.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
)

// Journal is what is tested: an engine's journal, and the queries by which the
// tests see what it did.
type Journal interface {
	CreateRun(ctx context.Context, run model.NewRun) (model.Run, error)
	Acquire(ctx context.Context, runID, hostID, changeID string, takeOver bool) (model.Run, error)
	Apply(ctx context.Context, runID string, epoch int64, changes []model.Change) (int64, error)
	LoadRun(ctx context.Context, runID string) (model.RunRecord, error)
	EndedAttempts(ctx context.Context, ids []string) ([]string, error)
	LocateContent(ctx context.Context, digest string) ([]model.Location, error)
	Intents(ctx context.Context, hostID string) ([]string, error)
	AskCancel(ctx context.Context, runID, byHost, changeID string) error
	Events(ctx context.Context, runID string, afterSeq int64, limit int) ([]model.Event, error)
	DeleteRun(ctx context.Context, runID string) ([]string, error)
	FindArtifact(ctx context.Context, project, ref string) (model.ArtifactVersion, error)
	TreeFiles(ctx context.Context, digest string) ([]model.Content, error)
}

// Opener gives a further handle on one journal, as another host would have it.
// It is closed at the end of the test.
type Opener func(t testing.TB) Journal

// New makes an empty journal for a test. alive is what the journal is to ask
// whether a host lives.
type New func(t testing.TB, alive func(hostID string) bool) Opener

// Run runs the suite.
func Run(t *testing.T, fresh New) {
	for name, test := range map[string]func(*testing.T, *bed){
		"CreateNames":          testCreateNames,
		"CreateIsIdempotent":   testCreateIsIdempotent,
		"CreateIsWhole":        testCreateIsWhole,
		"Lifecycle":            testLifecycle,
		"ApplyIsIdempotent":    testApplyIsIdempotent,
		"ApplyIsAtomic":        testApplyIsAtomic,
		"Refusals":             testRefusals,
		"Fencing":              testFencing,
		"AcquireRules":         testAcquireRules,
		"EndedAttempts":        testEndedAttempts,
		"OneAcquirerWins":      testOneAcquirerWins,
		"Resume":               testResume,
		"Versions":             testVersions,
		"VersionsConcurrently": testVersionsConcurrently,
		"Trees":                testTrees,
		"Sealing":              testSealing,
		"CancelIntent":         testCancelIntent,
		"Delete":               testDelete,
		"ManyWriters":          testManyWriters,
		"Model":                testModel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &hosts{living: map[string]bool{}}
			open := fresh(t, h.alive)
			test(t, &bed{t: t, open: open, j: open(t), hosts: h})
		})
	}
}

// hosts are the hosts of a test.
type hosts struct {
	mu     sync.Mutex
	living map[string]bool
}

func (h *hosts) alive(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.living[id]
}

func (h *hosts) set(id string, alive bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.living[id] = alive
}

// bed is what a test stands on.
type bed struct {
	t     *testing.T
	open  Opener
	j     Journal
	hosts *hosts
}

func id() string { return ulid.Make().String() }

// start is the time that the changes of a test begin at.
func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC) }

func change(op model.Op) model.Change { return model.Change{ID: id(), At: start(), Op: op} }

func reserve(step, attempt string) model.Change {
	return change(model.ReserveAttempt{Attempt: model.Attempt{ID: attempt, Step: step, Execution: model.Attached}})
}

// NewRun is a run of the pipeline training, of project p, with the named steps.
func NewRun(owner string, steps ...string) model.NewRun {
	n := model.NewRun{
		Run: model.Run{ID: id(), Project: "p", Pipeline: "training", Owner: owner, Stack: "default",
			SpecDigest: "spec", Labels: map[string]string{"team": "a"}, CreatedAt: start()},
		Snapshot:   model.StackSnapshot{StackID: "default", Name: "default"},
		Recipe:     model.Recipe{Argv: []string{"train"}, WorkingDir: "/w"},
		Provenance: model.Provenance{User: "u"},
	}
	n.Spec = model.Spec{Pipeline: "training", FailureMode: model.StopOnFailure}
	for _, s := range steps {
		n.Spec.Nodes = append(n.Spec.Nodes, model.Node{Name: s, Kind: model.NodeStep, Step: &model.Step{Function: s}})
	}
	return n
}

func (b *bed) create(n model.NewRun) model.Run {
	b.t.Helper()
	run, err := b.j.CreateRun(context.Background(), n)
	if err != nil {
		b.t.Fatalf("create run: %v", err)
	}
	return run
}

func (b *bed) apply(runID string, epoch int64, changes ...model.Change) int64 {
	b.t.Helper()
	seq, err := b.j.Apply(context.Background(), runID, epoch, changes)
	if err != nil {
		b.t.Fatalf("apply: %v", err)
	}
	return seq
}

// refused applies changes that must be refused with an error, and checks that
// they left nothing behind.
func (b *bed) refused(want error, runID string, epoch int64, changes ...model.Change) {
	b.t.Helper()
	before := b.load(runID)
	if _, err := b.j.Apply(context.Background(), runID, epoch, changes); !errors.Is(err, want) {
		b.t.Errorf("apply %T gives %v, want %v", changes[len(changes)-1].Op, err, want)
	}
	if diff := cmp.Diff(before, b.load(runID)); diff != "" {
		b.t.Errorf("a refused change left something behind:\n%s", diff)
	}
}

func (b *bed) load(runID string) model.RunRecord {
	b.t.Helper()
	rec, err := b.j.LoadRun(context.Background(), runID)
	if err != nil {
		b.t.Fatalf("load run: %v", err)
	}
	return rec
}

// events gives all events of a run, whose seqs must be 1, 2, 3, ....
func (b *bed) events(runID string) []model.Event {
	b.t.Helper()
	all, err := b.j.Events(context.Background(), runID, 0, 0)
	if err != nil {
		b.t.Fatalf("events: %v", err)
	}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			b.t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
		if e.Message == "" || e.At.IsZero() || e.RunID != runID {
			b.t.Errorf("event without message, time or run: %+v", e)
		}
		if len(e.Data) > 0 && !json.Valid(e.Data) {
			b.t.Errorf("event data is no JSON: %s", e.Data)
		}
	}
	return all
}

// output is a publication of one small file.
func output(name, artifact, digest string) model.PublishedOutput {
	return model.PublishedOutput{ID: id(), Output: name, Artifact: artifact, Type: model.DataType{MediaType: "application/json"},
		Content: model.Content{Digest: digest, Size: 3}, Inline: []byte("1.5"),
		Locations: []model.Location{{Digest: digest, StoreID: "store-1", Key: "h/home/c/" + digest}}}
}

func states(rec model.RunRecord) map[string]model.StepState {
	m := map[string]model.StepState{}
	for _, s := range rec.Steps {
		m[s.Name] = s.State
	}
	return m
}

func step(rec model.RunRecord, name string) model.StepRun {
	for _, s := range rec.Steps {
		if s.Name == name {
			return s
		}
	}
	return model.StepRun{}
}
