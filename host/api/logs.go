package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// logChunk is how much of a log goes in one message.
const logChunk = 64 << 10

// ReadLog streams a step's or the run's log from a byte offset on. A follower
// moves on to the next attempt by itself, and ends when the step or run does.
func (s *Server) ReadLog(ctx context.Context, r *apiv1.ReadLogRequest, send func(*apiv1.ReadLogResponse) error) error {
	if r.GetOffset() < 0 {
		return diag.Errorf(diag.Invalid, "the offset of a log cannot be negative")
	}
	run, err := s.findRun(ctx, r.GetContext(), r.GetRun())
	if err != nil {
		return err
	}
	f := &follower{server: s, run: run, step: r.GetStep(), number: int(r.GetAttempt()), offset: r.GetOffset(), send: send}
	w := s.newWaiter()
	defer w.stop()
	for {
		if err := w.arm(ctx); err != nil {
			return err
		}
		// Whether more can come is asked before the file is read: what was
		// written before the end is read then.
		more, err := f.look(ctx)
		if err != nil {
			return err
		}
		if err := f.copy(ctx); err != nil {
			return err
		}
		switch {
		case f.next > 0 && r.GetFollow():
			f.number, f.offset, f.next = f.next, 0, 0
			continue
		case !more || !r.GetFollow():
			return nil
		}
		if err := w.waitFile(ctx); err != nil {
			return err
		}
	}
}

// waitFile waits for the next look at a file that grows without a commit.
func (w *waiter) waitFile(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-w.changed:
	case <-w.ticker.C:
	}
	return nil
}

// follower reads a log as it grows.
type follower struct {
	server *Server
	run    model.Run
	step   string
	// number of the attempt; 0 before the newest is known, and for a run's log.
	number int
	offset int64
	// next is the attempt that follows, once this one has ended.
	next int
	path string
	send func(*apiv1.ReadLogResponse) error
}

// look finds the file, and says whether more can come.
func (f *follower) look(ctx context.Context) (more bool, err error) {
	s := f.server
	rec, err := s.Runs.LoadRun(ctx, f.run.ID)
	if err != nil {
		return false, named(err, "run", f.run.Name, "it was deleted meanwhile")
	}
	going := rec.Run.State == model.RunRunning && s.Home.Alive(rec.Run.Owner)
	if f.step == "" {
		f.path = s.Home.RunLog(f.run.ID)
		return going, nil
	}
	i := slices.IndexFunc(rec.Steps, func(st model.StepRun) bool { return st.Name == f.step })
	if i < 0 {
		return false, noStep(rec, f.step)
	}
	attempts := rec.Attempts[f.step]
	if len(attempts) == 0 {
		f.path = ""
		return going && !rec.Steps[i].State.Final(), nil
	}
	if f.number == 0 {
		f.number = attempts[len(attempts)-1].Number
	}
	j := slices.IndexFunc(attempts, func(a model.Attempt) bool { return a.Number == f.number })
	if j < 0 {
		return false, diag.Errorf(diag.NotFound, "step '%s' of run '%s' has no attempt %d", f.step, f.run.Name, f.number).
			WithHint("it has %d; 'cairn run describe %s' shows them", len(attempts), f.run.Name)
	}
	f.path = s.Home.AttemptLog(f.run.ID, attempts[j].ID)
	if attempts[j].State.Final() && j+1 < len(attempts) {
		f.next = attempts[j+1].Number
		return true, nil
	}
	return going && !rec.Steps[i].State.Final(), nil
}

func noStep(rec model.RunRecord, step string) error {
	names := make([]string, 0, len(rec.Steps))
	for _, st := range rec.Steps {
		names = append(names, st.Name)
	}
	return &diag.Error{
		Code:    diag.NotFound,
		Summary: fmt.Sprintf("run '%s' has no step '%s'%s", rec.Run.Name, step, diag.DidYouMean(step, names)),
		Hint:    "its steps are " + strings.Join(names, ", "),
	}
}

// copy sends what the file has behind the offset. No file is an empty one.
func (f *follower) copy(ctx context.Context) error {
	if f.path == "" {
		return nil
	}
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer file.Close()
	buf := make([]byte, logChunk)
	for ctx.Err() == nil {
		n, err := file.ReadAt(buf, f.offset)
		if n > 0 {
			f.offset += int64(n)
			msg := &apiv1.ReadLogResponse{Data: slices.Clone(buf[:n]), Offset: f.offset, Attempt: uint32(f.number)}
			if err := f.send(msg); err != nil {
				return fmt.Errorf("send log: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	return ctx.Err()
}
