package store

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
)

// open opens a new database that is closed at the test's end.
func open(t testing.TB, opts Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), filepath.Join(t.TempDir(), "cairn.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func newRun(steps ...string) model.NewRun {
	n := model.NewRun{Run: model.Run{ID: ulid.Make().String(), Project: "default", Pipeline: "training", Owner: "host-1",
		Stack: "default", SpecDigest: "d", CreatedAt: time.Now()}}
	n.Spec.Pipeline = "training"
	for _, s := range steps {
		n.Spec.Nodes = append(n.Spec.Nodes, model.Node{Name: s, Kind: model.NodeStep, Step: &model.Step{Function: s}})
	}
	return n
}

func change(op model.Op) model.Change {
	return model.Change{ID: ulid.Make().String(), At: time.Now(), Op: op}
}

func TestDefaultStackIsThere(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	st, err := s.Stack(context.Background(), "default")
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Members) != 2 || st.Members[0].ComponentID != model.DefaultOrchestratorID || st.Members[1].ComponentID != model.DefaultArtifactStoreID {
		t.Errorf("members are %+v", st.Members)
	}
	if st.CreatedAt.IsZero() {
		t.Error("no creation time")
	}
	if _, err := ulid.ParseStrict(s.HomeID()); err != nil {
		t.Errorf("home id %q: %v", s.HomeID(), err)
	}
}

// BenchmarkApply publishes a step and reserves the next in one commit.
func BenchmarkApply(b *testing.B) {
	ctx := context.Background()
	s := open(b, Options{})
	names := make([]string, b.N+1)
	for i := range names {
		names[i] = "step-" + ulid.Make().String()
	}
	n := newRun(names...)
	attempt := ulid.Make().String()
	n.Reserve = []model.Change{change(model.ReserveAttempt{Attempt: model.Attempt{ID: attempt, Step: names[0]}})}
	run, err := s.CreateRun(ctx, n)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		next := ulid.Make().String()
		digest := "sha256t:" + next
		_, err := s.Apply(ctx, run.ID, 1, []model.Change{
			change(model.PublishStep{Step: names[i], Attempt: attempt, Incarnation: "i", Outputs: []model.PublishedOutput{{
				ID: ulid.Make().String(), Output: "out", Artifact: "artifact", Content: model.Content{Digest: digest, Size: 10},
				Locations: []model.Location{{Digest: digest, StoreID: "store", Key: "h/x/c/" + digest}}, Inline: []byte(`{"a":1}`)}}}),
			change(model.ReserveAttempt{Attempt: model.Attempt{ID: next, Step: names[i+1]}}),
		})
		if err != nil {
			b.Fatal(err)
		}
		attempt = next
	}
}
