package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// runAt is an id whose text begins as given and ends with a number.
func runAt(prefix string, n int) string {
	return fmt.Sprintf("%s%0*d", prefix, idLength-len(prefix), n)
}

func makeRun(t testing.TB, s *Store, id, project, pipeline string) model.Run {
	t.Helper()
	n := newRun("a", "b")
	n.Run.ID, n.Run.Project, n.Run.Pipeline = id, project, pipeline
	run, err := s.CreateRun(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func ids(runs []model.Run) []string {
	var all []string
	for _, r := range runs {
		all = append(all, r.ID)
	}
	return all
}

func TestListRuns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	var want []string // newest first
	for i := range 7 {
		run := makeRun(t, s, runAt("01", i), "p", "train")
		want = append([]string{run.ID}, want...)
	}
	other := makeRun(t, s, runAt("02", 1), "q", "eval")
	if _, err := s.Apply(ctx, other.ID, 1, []model.Change{change(model.EndStep{Step: "a", State: model.StepSkipped}),
		change(model.EndStep{Step: "b", State: model.StepSkipped}), change(model.EndRun{State: model.RunFailed, Error: "e"})}); err != nil {
		t.Fatal(err)
	}
	var got []string
	page := ""
	for {
		runs, next, err := s.ListRuns(ctx, RunFilter{Project: "p", Limit: 3, Page: page})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(runs)...)
		if page = next; page == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page by page:\n%s", diff)
	}
	for name, c := range map[string]struct {
		filter RunFilter
		want   int
	}{
		"all":      {RunFilter{}, 8},
		"pipeline": {RunFilter{Project: "q", Pipeline: "eval"}, 1},
		"none":     {RunFilter{Project: "p", Pipeline: "eval"}, 0},
		"state":    {RunFilter{State: model.RunFailed}, 1},
		"stack":    {RunFilter{Stack: "other"}, 0},
		"owners":   {RunFilter{Owners: []string{"host-1", "x"}, State: model.RunRunning}, 7},
		"exactly":  {RunFilter{Project: "p", Limit: 7}, 7},
	} {
		runs, next, err := s.ListRuns(ctx, c.filter)
		if err != nil || len(runs) != c.want || next != "" {
			t.Errorf("%s: %d runs, next %q, %v", name, len(runs), next, err)
		}
	}
	counts, err := s.StepCounts(ctx, []string{want[0], other.ID})
	wantCounts := map[string]map[model.StepState]int{want[0]: {model.StepPending: 2}, other.ID: {model.StepSkipped: 2}}
	if diff := cmp.Diff(wantCounts, counts); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	pipelines, err := s.Pipelines(ctx, "p")
	if err != nil || len(pipelines) != 1 || pipelines[0].Runs != 7 || pipelines[0].Latest.ID != want[0] {
		t.Errorf("pipelines are %+v, %v", pipelines, err)
	}
}

func TestFindRun(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	_, err := s.FindRun(ctx, "p", "latest")
	if !errors.Is(err, model.ErrNotFound) || !strings.Contains(err.Error(), "no run yet") {
		t.Errorf("in an empty project: %v", err)
	}
	one := makeRun(t, s, runAt("01AAA", 1), "p", "train")
	two := makeRun(t, s, runAt("01AAB", 1), "p", "eval")
	three := makeRun(t, s, runAt("01BBB", 1), "p", "train")
	elsewhere := makeRun(t, s, runAt("01CCC", 1), "q", "train")
	for ref, want := range map[string]string{
		"latest": three.ID, "train@latest": three.ID, "eval@latest": two.ID, "train-1": one.ID, "eval-1": two.ID,
		one.ID: one.ID, "01AAB": two.ID, "01b": three.ID, elsewhere.ID: elsewhere.ID,
	} {
		run, err := s.FindRun(ctx, "p", ref)
		if err != nil || run.ID != want {
			t.Errorf("%s is %s, %v; want %s", ref, run.ID, err, want)
		}
	}
	for ref, c := range map[string]struct {
		code diag.Code
		says string
	}{
		"01AA":          {diag.Invalid, two.ID},
		"trian-1":       {diag.NotFound, "did you mean 'train-1'"},
		"tran@latest":   {diag.NotFound, "did you mean 'train'"},
		"":              {diag.NotFound, "no run"},
		"../etc":        {diag.NotFound, "no run"},
		runAt("01Z", 1): {diag.NotFound, "no run"},
	} {
		_, err := s.FindRun(ctx, "p", ref)
		var d *diag.Error
		if !errors.As(err, &d) || d.Code != c.code || !strings.Contains(err.Error(), c.says) || d.Hint == "" {
			t.Errorf("%q gives %v, want %s with %q", ref, err, c.code, c.says)
		}
		if c.code == diag.NotFound && !errors.Is(err, model.ErrNotFound) {
			t.Errorf("%q: not ErrNotFound", ref)
		}
	}
}

// publish publishes step a of a run with one output.
func publish(t testing.TB, s *Store, run model.Run, step, artifact string, inputs ...model.StepInput) string {
	t.Helper()
	attempt, id := change(nil).ID, change(nil).ID
	_, err := s.Apply(context.Background(), run.ID, 1, []model.Change{
		change(model.ReserveAttempt{Attempt: model.Attempt{ID: attempt, Step: step}}),
		change(model.PublishStep{Step: step, Attempt: attempt, Incarnation: "i", Inputs: inputs, Outputs: []model.PublishedOutput{
			{ID: id, Output: "out", Artifact: artifact, Content: model.Content{Digest: "d-" + id, Size: 1}}}})})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, Options{})
	var models []string
	run := makeRun(t, s, runAt("01", 0), "p", "train")
	data := publish(t, s, run, "a", "data")
	models = append(models, publish(t, s, run, "b", "model", model.StepInput{Input: "x", ArtifactID: data}, model.StepInput{Input: "n"}))
	for i := range 3 {
		models = append(models, publish(t, s, makeRun(t, s, runAt("01", i+1), "p", "train"), "a", "model"))
	}
	publish(t, s, makeRun(t, s, runAt("01", 9), "q", "train"), "a", "model")

	list := func(f ArtifactFilter) []string {
		t.Helper()
		var got []string
		for {
			all, next, err := s.ListArtifacts(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range all {
				got = append(got, fmt.Sprintf("%s:%d", v.Name, v.Version))
			}
			if f.Page = next; next == "" {
				return got
			}
		}
	}
	for name, c := range map[string]struct {
		filter ArtifactFilter
		want   []string
	}{
		"latest":       {ArtifactFilter{Project: "p"}, []string{"data:1", "model:4"}},
		"latest paged": {ArtifactFilter{Project: "p", Limit: 1}, []string{"data:1", "model:4"}},
		"versions":     {ArtifactFilter{Project: "p", AllVersions: true, Limit: 2}, []string{"data:1", "model:4", "model:3", "model:2", "model:1"}},
		"one name":     {ArtifactFilter{Project: "p", Name: "model", AllVersions: true, Limit: 3}, []string{"model:4", "model:3", "model:2", "model:1"}},
		"all projects": {ArtifactFilter{}, []string{"data:1", "model:4", "model:1"}},
	} {
		if diff := cmp.Diff(c.want, list(c.filter)); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for ref, want := range map[string]string{"model": models[3], "model:latest": models[3], "model:1": models[0],
		"train-1/a/out": data, "latest/a/out": models[3], "train@latest/a/out": models[3]} {
		v, err := s.FindArtifact(ctx, "p", ref)
		if err != nil || v.ID != want {
			t.Errorf("%s is %s, %v; want %s", ref, v.ID, err, want)
		}
	}
	for ref, says := range map[string]string{"modl": "did you mean 'model'", "model:9": "model:9", "model:x": "no version",
		"train-1/a/ot": "did you mean 'a/out'", "train-1/a": "RUN/STEP/OUTPUT", "train-77/a/out": "no run"} {
		_, err := s.FindArtifact(ctx, "p", ref)
		var d *diag.Error
		if !errors.As(err, &d) || !strings.Contains(d.Error()+d.Hint, says) || d.Hint == "" {
			t.Errorf("%s gives %v, want it to say %q", ref, err, says)
		}
	}

	inputs, err := s.StepInputs(ctx, run.ID, "b")
	if err != nil || len(inputs) != 2 || inputs[0].Input != "n" || inputs[0].Artifact.ID != "" || inputs[1].Artifact.ID != data {
		t.Errorf("inputs are %+v, %v", inputs, err)
	}
	consumers, err := s.Consumers(ctx, data)
	want := []Consumer{{RunID: run.ID, RunName: run.Name, Step: "b", Input: "x", State: model.StepCompleted}}
	if diff := cmp.Diff(want, consumers); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if outputs, err := s.StepOutputs(ctx, run.ID, "a"); err != nil || len(outputs) != 1 || outputs[0].ID != data {
		t.Errorf("outputs are %+v, %v", outputs, err)
	}
}

// bigHome is a database with many runs, made once for the benchmarks below.
func bigHome(b *testing.B, runs int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "cairn.db")
	s, err := Open(context.Background(), path, Options{})
	if err != nil {
		b.Fatal(err)
	}
	err = s.do(context.Background(), func(ctx context.Context, tx *session) error {
		for i := range runs {
			n := newRun("a", "b")
			n.Run.ID = runAt("01", i)
			n.Run.Pipeline = fmt.Sprintf("pipeline-%d", i%20)
			if _, err := createRun(ctx, tx, n); err != nil {
				return err
			}
		}
		for i := range 1000 {
			if _, err := tx.exec(ctx, `INSERT INTO stack (id, name, revision, created_at, updated_at) VALUES (?1, ?1, 1, 0, 0)`,
				fmt.Sprintf("stack-%d", i)); err != nil {
				return err
			}
			if _, err := tx.exec(ctx, `INSERT INTO stack_component (stack_id, component_id, type, position)
				SELECT ?, id, type, 0 FROM component`, fmt.Sprintf("stack-%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkRead opens a database with 100,000 runs, asks one thing and closes
// it, as a read verb does.
func BenchmarkRead(b *testing.B) {
	ctx := context.Background()
	path := bigHome(b, 100_000)
	if st, err := os.Stat(path); err == nil {
		b.Logf("the database has %d MB", st.Size()>>20)
	}
	deep := runAt("01", 50_000)
	for name, ask := range map[string]func(*Store) error{
		"nothing": func(*Store) error { return nil },
		"setting": func(s *Store) error { _, _, err := s.Setting(ctx, "active_stack"); return err },
		"runs":    func(s *Store) error { _, _, err := s.ListRuns(ctx, RunFilter{Project: "default"}); return err },
		"runs-deep": func(s *Store) error {
			_, _, err := s.ListRuns(ctx, RunFilter{Project: "default", Page: deep})
			return err
		},
		"runs-filter": func(s *Store) error {
			_, _, err := s.ListRuns(ctx, RunFilter{Project: "default", Pipeline: "pipeline-3"})
			return err
		},
		"runs-failed": func(s *Store) error {
			_, _, err := s.ListRuns(ctx, RunFilter{Project: "default", State: model.RunFailed})
			return err
		},
		"runs-no-such": func(s *Store) error {
			_, _, err := s.ListRuns(ctx, RunFilter{Project: "default", Stack: "x"})
			return err
		},
		"latest":      func(s *Store) error { _, err := s.FindRun(ctx, "default", "pipeline-3@latest"); return err },
		"pipelines":   func(s *Store) error { _, err := s.Pipelines(ctx, "default"); return err },
		"stacks-1000": func(s *Store) error { _, err := s.Stacks(ctx); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, err := OpenReadOnly(ctx, path, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := ask(s); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("open-for-writing", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(ctx, path, Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("create", func(b *testing.B) {
		dir := b.TempDir()
		for i := range b.N {
			s, err := Open(ctx, filepath.Join(dir, fmt.Sprint(i)), Options{})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
