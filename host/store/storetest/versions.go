package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-stack/cairn/host/model"
)

// publishOne makes a run of one step that publishes an artifact, and gives the
// version that it got.
func publishOne(j Journal, project, artifact, digest string) (int, error) {
	ctx := context.Background()
	n := NewRun("h", "a")
	attempt := id()
	n.Run.Project = project
	n.Reserve = []model.Change{reserve("a", attempt)}
	if _, err := j.CreateRun(ctx, n); err != nil {
		return 0, err
	}
	if _, err := j.Apply(ctx, n.Run.ID, 1, []model.Change{
		change(model.PublishStep{Step: "a", Attempt: attempt, Incarnation: "i", Outputs: []model.PublishedOutput{output("o", artifact, digest)}}),
		change(model.EndRun{State: model.RunCompleted})}); err != nil {
		return 0, err
	}
	rec, err := j.LoadRun(ctx, n.Run.ID)
	if err != nil {
		return 0, err
	}
	return rec.Outputs["a"][0].Version, nil
}

func testVersions(t *testing.T, b *bed) {
	for i, c := range []struct {
		project, name string
		want          int
	}{{"p", "model", 1}, {"p", "model", 2}, {"p", "data", 1}, {"q", "model", 1}, {"p", "model", 3}} {
		// The same content each time: versions count publications.
		got, err := publishOne(b.j, c.project, c.name, "same")
		if err != nil || got != c.want {
			t.Errorf("%d: %s of %s is version %d, %v; want %d", i, c.name, c.project, got, err, c.want)
		}
	}
	where, err := b.j.LocateContent(context.Background(), "same")
	if err != nil || len(where) != 1 {
		t.Errorf("the content is at %v, %v", where, err)
	}
	for ref, want := range map[string]int{"model": 3, "model:latest": 3, "model:2": 2, "training-2/a/o": 2} {
		if v, err := b.j.FindArtifact(context.Background(), "p", ref); err != nil || v.Version != want || v.Name != "model" {
			t.Errorf("%s is %+v, %v", ref, v, err)
		}
	}
}

func testVersionsConcurrently(t *testing.T, b *bed) {
	const hosts, each = 4, 10
	versions := make([]int, hosts*each)
	var wg sync.WaitGroup
	for h := range hosts {
		j := b.open(t)
		wg.Go(func() {
			for i := range each {
				v, err := publishOne(j, "p", "model", fmt.Sprintf("d%d.%d", h, i))
				if err != nil {
					t.Errorf("publish: %v", err)
				}
				versions[h*each+i] = v
			}
		})
	}
	wg.Wait()
	slices.Sort(versions)
	for i, v := range versions {
		if v != i+1 {
			t.Fatalf("versions are %v", versions)
		}
	}
}

func testTrees(t *testing.T, b *bed) {
	n := NewRun("h", "a")
	attempt := id()
	n.Reserve = []model.Change{reserve("a", attempt)}
	run := b.create(n)
	out := output("dir", "tree", "manifest")
	out.Content.Tree = true
	out.Files = []model.Content{{Digest: "f1", Size: 1}, {Digest: "f2", Size: 2}}
	out.Locations = append(out.Locations, model.Location{Digest: "f1", StoreID: "s", Key: "k1"}, model.Location{Digest: "f2", StoreID: "s", Key: "k2"})
	stray := out
	stray.Locations = []model.Location{{Digest: "elsewhere", StoreID: "s", Key: "k"}}
	b.refused(model.ErrConflict, run.ID, 1, change(model.PublishStep{Step: "a", Attempt: attempt, Outputs: []model.PublishedOutput{stray}}))
	b.apply(run.ID, 1, change(model.PublishStep{Step: "a", Attempt: attempt, Incarnation: "i", Outputs: []model.PublishedOutput{out}}))
	files, err := b.j.TreeFiles(context.Background(), "manifest")
	if err != nil || !cmp.Equal(files, out.Files) {
		t.Errorf("files are %+v, %v", files, err)
	}
	if v := b.load(run.ID).Outputs["a"][0]; !v.Tree {
		t.Errorf("the version is %+v", v)
	}
	if where, err := b.j.LocateContent(context.Background(), "f2"); err != nil || len(where) != 1 || where[0].Key != "k2" {
		t.Errorf("f2 is at %v, %v", where, err)
	}
}

// testManyWriters has several hosts work through runs of their own, each with
// several steps at once: what is acknowledged stands, and nothing else.
func testManyWriters(t *testing.T, b *bed) {
	const hosts, steps = 4, 8
	var wg sync.WaitGroup
	for h := range hosts {
		j := b.open(t)
		wg.Go(func() { ownRun(t, j, fmt.Sprintf("host-%d", h), steps) })
	}
	wg.Wait()
}

func ownRun(t *testing.T, j Journal, host string, steps int) {
	ctx := context.Background()
	names := make([]string, steps)
	for i := range names {
		names[i] = fmt.Sprintf("s%d", i)
	}
	n := NewRun(host, names...)
	attempts := map[string]string{}
	for _, s := range names {
		attempts[s] = id()
		n.Reserve = append(n.Reserve, reserve(s, attempts[s]))
	}
	run, err := j.CreateRun(ctx, n)
	if err != nil {
		t.Error(err)
		return
	}
	var wg sync.WaitGroup
	for _, s := range names {
		wg.Go(func() {
			for _, op := range []model.Op{model.StartAttempt{Step: s, Attempt: attempts[s], Incarnation: "i"},
				model.PublishStep{Step: s, Attempt: attempts[s], Incarnation: "i", Outputs: []model.PublishedOutput{output("o", host+"."+s, host+s)}}} {
				if _, err := j.Apply(ctx, run.ID, 1, []model.Change{change(op)}); err != nil {
					t.Errorf("%s: %v", s, err)
				}
			}
		})
	}
	wg.Wait()
	seq, err := j.Apply(ctx, run.ID, 1, []model.Change{change(model.EndRun{State: model.RunCompleted})})
	if want := int64(1 + 3*steps + 1); err != nil || seq != want {
		t.Errorf("%s ends at seq %d, %v; want %d", host, seq, err, want)
	}
	events, err := j.Events(ctx, run.ID, 0, 0)
	if err != nil || int64(len(events)) != seq {
		t.Errorf("%s has %d events, %v", host, len(events), err)
	}
}
