package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
	"github.com/hashicorp/go-hclog"
)

// abandonAfter is how long a flavor's method may go on after its context ended;
// then the call ends without it. It leaves time to answer within
// wire.CancelGrace.
const abandonAfter = wire.CancelGrace * 3 / 4

// instance is a configured component.
type instance struct {
	id     string
	flavor *Flavor
	impl   any
	wipe   func()
	roots  []string // where files may be exchanged
	log    hclog.Logger

	ctx    context.Context // ends with the release
	cancel context.CancelFunc
	calls  sync.WaitGroup
}

// instances are those of a plugin process, by id.
type instances struct {
	mu   sync.Mutex
	byID map[string]*instance
}

func newInstances() *instances { return &instances{byID: map[string]*instance{}} }

// put takes an instance in, and gives the one that it replaces.
func (s *instances) put(i *instance) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byID[i.id]
	s.byID[i.id] = i
	return old
}

func (s *instances) take(id string) *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.byID[id]
	delete(s.byID, id)
	return i
}

func (s *instances) takeAll() []*instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*instance, 0, len(s.byID))
	for id, i := range s.byID {
		all = append(all, i)
		delete(s.byID, id)
	}
	return all
}

// begin starts a call on an instance. Its context ends with the call's or with
// the instance's; end has to be called.
func (s *instances) begin(ctx context.Context, id string) (i *instance, callCtx context.Context, end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i = s.byID[id]
	if i == nil {
		return nil, nil, nil, &diag.PluginError{Reason: diag.ErrNotConfigured, Retry: diag.RetryNever,
			Summary: fmt.Sprintf("there is no instance %q", id)}
	}
	i.calls.Add(1)
	callCtx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(i.ctx, cancel)
	return i, callCtx, func() {
		stop()
		cancel()
		i.calls.Done()
	}, nil
}

// release ends an instance's calls, waits for them until ctx ends, closes the
// flavor and forgets its secrets.
func (i *instance) release(ctx context.Context) error {
	i.cancel()
	ended := make(chan struct{})
	go func() {
		i.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		i.log.Warn("calls go on after the release", "instance", i.id)
	}
	defer i.wipe()
	c, ok := i.impl.(Closer)
	if !ok {
		return nil
	}
	return guard(ctx, i.log, "Close", c.Close)
}

// guard runs a flavor's code: a panic is an internal error, and code that goes on
// for abandonAfter after ctx ended is left to itself.
func guard(ctx context.Context, log hclog.Logger, what string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if p := recover(); p != nil {
				err = panicked(log, what, p)
			}
			done <- err
		}()
		err = f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(abandonAfter)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		log.Warn("a call goes on after it was cancelled", "call", what)
		return context.Cause(ctx)
	}
}

// toStatus is an error as a method returns it.
func toStatus(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return wire.ToStatus(&diag.PluginError{Reason: diag.ErrCanceled, Retry: diag.RetryUnknownOutcome,
			Summary: "the call was cancelled"})
	}
	return wire.ToStatus(translate(err))
}
