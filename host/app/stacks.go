package app

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/cairn-stack/cairn/host/engine"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/pluginhost"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func asDiag(err error) (*diag.Error, bool) {
	var e *diag.Error
	ok := errors.As(err, &e)
	return e, ok
}

// stacks opens stacks for the engine. One stack can be opened ahead of the run
// that will probably use it.
type stacks struct {
	host *Host

	mu    sync.Mutex
	ahead *aheadStack
}

// aheadStack is a stack that is being opened before it is asked for.
type aheadStack struct {
	snapshot model.StackSnapshot
	cancel   context.CancelFunc
	done     chan struct{}
	stack    *pluginhost.Stack
	err      error
}

// openAhead begins to open a stack.
func (s *stacks) openAhead(snapshot model.StackSnapshot) {
	ctx, cancel := context.WithCancel(context.Background())
	a := &aheadStack{snapshot: snapshot, cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead != nil {
		cancel()
		return
	}
	s.ahead = a
	go func() {
		defer close(a.done)
		a.stack, a.err = s.open(ctx, snapshot)
	}()
}

// take gives the stack that was opened ahead, where it is the one.
func (s *stacks) take(snapshot model.StackSnapshot) *aheadStack {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.ahead
	if a == nil || !sameStack(a.snapshot, snapshot) {
		return nil
	}
	s.ahead = nil
	return a
}

func sameStack(a, b model.StackSnapshot) bool {
	return slices.EqualFunc(a.Components, b.Components, func(x, y model.ComponentSnapshot) bool {
		return x.Component.ID == y.Component.ID && x.Component.Revision == y.Component.Revision && x.PluginDigest == y.PluginDigest
	})
}

// OpenStack brings up and configures the components of a snapshot.
func (s *stacks) OpenStack(ctx context.Context, snapshot model.StackSnapshot) (engine.Stack, error) {
	if a := s.take(snapshot); a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
			a.discard()
			return nil, ctx.Err()
		}
		// What went wrong ahead is tried again, to be told as it is now.
		if a.err == nil {
			return s.opened(ctx, snapshot, a.stack), nil
		}
	}
	st, err := s.open(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	return s.opened(ctx, snapshot, st), nil
}

func (s *stacks) open(ctx context.Context, snapshot model.StackSnapshot) (*pluginhost.Stack, error) {
	m, err := s.host.plugins(ctx)
	if err != nil {
		return nil, err
	}
	var list []pluginhost.ResolvedComponent
	for _, c := range snapshot.Components {
		rc, err := s.host.resolve(ctx, m, c.Component)
		if err != nil {
			return nil, err
		}
		list = append(list, rc)
	}
	return m.OpenStack(ctx, list)
}

// opened remembers which component reaches which store.
func (s *stacks) opened(ctx context.Context, snapshot model.StackSnapshot, st *pluginhost.Stack) engine.Stack {
	if c, ok := snapshot.Component(model.ArtifactStore); ok {
		if err := s.host.rememberStore(ctx, st.ArtifactStore().ID(), c.Component.ID); err != nil {
			s.host.log.Warn("which component reaches a store was not recorded", "component", c.Component.Name, "error", err)
		}
	}
	return openStack{st}
}

// discard gives up a stack that nobody took.
func (a *aheadStack) discard() {
	a.cancel()
	go func() {
		<-a.done
		if a.stack != nil {
			_ = a.stack.Close()
		}
	}()
}

// close gives up what was opened ahead in vain.
func (s *stacks) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead != nil {
		s.ahead.discard()
		s.ahead = nil
	}
}

// openStack is an open stack as the engine wants it.
type openStack struct{ *pluginhost.Stack }

func (s openStack) Orchestrator() engine.Orchestrator   { return s.Stack.Orchestrator() }
func (s openStack) ArtifactStore() engine.ArtifactStore { return s.Stack.ArtifactStore() }
