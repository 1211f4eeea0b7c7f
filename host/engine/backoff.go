package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/cairn-stack/cairn/host/model"
)

// Waits of a retry policy that names none.
const (
	defaultInitialBackoff = time.Second
	defaultMaxBackoff     = time.Minute
)

// backoff is the wait before the attempt that follows the n-th failure, from 1:
// doubled each time up to the maximum, then shortened by up to a half, by a
// random number in [0,1).
func backoff(p model.RetryPolicy, n int, random float64) time.Duration {
	wait, limit := p.InitialBackoff, p.MaxBackoff
	if wait == 0 {
		wait = defaultInitialBackoff
	}
	if limit == 0 {
		limit = max(defaultMaxBackoff, wait)
	}
	for ; n > 1 && wait < limit; n-- {
		wait *= 2
	}
	wait = min(wait, limit)
	return wait - time.Duration(random*float64(wait)/2)
}

func sortByStep(attempts []*attempt) {
	slices.SortFunc(attempts, func(a, b *attempt) int { return cmp.Compare(a.step.at, b.step.at) })
}
