package plugin

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cairn-stack/cairn/sdk/wire"
	"golang.org/x/sync/errgroup"
)

// progressEvery is well below wire.ProgressInterval, so that a busy machine
// still keeps to it.
const progressEvery = wire.ProgressInterval / 2

// runBatch does something with each item, at most parallel at once, and gives a
// result for each, in order. do also says how many bytes it dealt with; while
// items run, progress (which may be nil) is called now and then, never twice at
// once. It fails where the context ended or the batch is too long.
func runBatch[T, R any](
	ctx context.Context, parallel int, items []T, total int64,
	progress func(wire.Progress) error, do func(context.Context, T) (R, int64),
) ([]R, error) {
	if len(items) > wire.MaxBatch {
		return nil, refused("%d items; at most %d are possible in one call", len(items), wire.MaxBatch)
	}
	results := make([]R, len(items))
	var doneBytes atomic.Int64
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		var g errgroup.Group
		g.SetLimit(max(1, parallel))
		for i, item := range items {
			if ctx.Err() != nil {
				break
			}
			g.Go(func() error {
				r, n := do(ctx, item)
				results[i] = r
				doneBytes.Add(n)
				return nil
			})
		}
		_ = g.Wait() // do never fails as a whole
	}()
	ticks := time.NewTicker(progressEvery)
	defer ticks.Stop()
	for {
		select {
		case <-finished:
			return results, ctx.Err()
		case <-ticks.C:
			if progress == nil {
				continue
			}
			p := wire.Progress{Done: doneBytes.Load(), Total: total, Unit: "bytes"}
			if err := progress(p); err != nil {
				// The stream is gone: its context ends, and the items with it.
				<-finished
				return nil, err
			}
		}
	}
}
