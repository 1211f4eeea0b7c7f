package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-stack/cairn/host/home"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/store"
)

// seedRuns writes n finished runs of one step into the database of a home.
func seedRuns(dir string, n int) error {
	ctx := context.Background()
	h := home.Home{Dir: dir, RuntimeDir: filepath.Join(dir, "run")}
	if err := h.Ensure(); err != nil {
		return err
	}
	s, err := store.Open(ctx, h.DB(), store.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	var g errgroup.Group
	g.SetLimit(256)
	base := time.Now().Add(-time.Duration(n) * time.Second)
	for i := range n {
		g.Go(func() error { return seedRun(ctx, s, base.Add(time.Duration(i)*time.Second)) })
	}
	return g.Wait()
}

func seedRun(ctx context.Context, s *store.Store, at time.Time) error {
	id := func() string { return ulid.Make().String() }
	run, err := s.CreateRun(ctx, model.NewRun{
		Run: model.Run{
			ID: ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String(), Project: "default",
			Pipeline: "training", Stack: "default", Owner: "seed", CreatedAt: at,
		},
		Spec: model.Spec{Pipeline: "training", Nodes: []model.Node{{Name: "train", Kind: model.NodeStep, Step: &model.Step{Function: "train"}}}},
	})
	if err != nil {
		return err
	}
	_, err = s.Apply(ctx, run.ID, run.Epoch, []model.Change{
		{ID: id(), At: at, Op: model.EndStep{Step: "train", State: model.StepCancelled}},
		{ID: id(), At: at, Op: model.EndRun{State: model.RunCancelled}},
	})
	return err
}
