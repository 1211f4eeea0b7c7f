package wire

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var errSilent = errors.New("silent for too long")

// silence ends a call's context when nothing arrived for a while. Time that the
// caller itself takes, between pause and reset, does not count.
type silence struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

func newSilence(ctx context.Context, limit time.Duration) *silence {
	inner, cancel := context.WithCancelCause(ctx)
	return &silence{
		ctx: inner, cancel: cancel, limit: limit,
		timer: time.AfterFunc(limit, func() { cancel(errSilent) }),
	}
}

func (s *silence) pause() { s.timer.Stop() }
func (s *silence) reset() { s.timer.Reset(s.limit) }

func (s *silence) stop() {
	s.timer.Stop()
	s.cancel(context.Canceled)
}

// err is the error of the call: the caller's context, silence, or the plugin's.
func (s *silence) err(outer context.Context, method string, err error) error {
	if outer.Err() != nil {
		return fmt.Errorf("call %s: %w", method, context.Cause(outer))
	}
	if errors.Is(context.Cause(s.ctx), errSilent) {
		return silent(method, s.limit)
	}
	return FromStatus(err)
}
