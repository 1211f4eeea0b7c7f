package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
)

// Apply commits changes of a run at an epoch: all or none, in their order. A
// change that was applied before is passed over. It gives the run's seq.
// ErrFenced (as *model.FencedError) where the run is in a newer epoch,
// ErrConflict where a change does not fit the state of the run.
func (s *Store) Apply(ctx context.Context, runID string, epoch int64, changes []model.Change) (int64, error) {
	if len(changes) == 0 {
		return 0, fmt.Errorf("apply nothing to run %s: %w", runID, model.ErrConflict)
	}
	if err := fault.Hit("store.apply.begin"); err != nil {
		return 0, s.explain(err)
	}
	var seq int64
	last := changes[len(changes)-1].ID
	err := s.submit(ctx, &command{runID: runID, changeID: last, fn: func(ctx context.Context, tx *session) error {
		run, err := runByID(ctx, tx, runID)
		if err != nil {
			return err
		}
		if run.Epoch > epoch {
			return &model.FencedError{Owner: run.Owner, Epoch: run.Epoch}
		}
		if run.Epoch < epoch {
			return fmt.Errorf("run %s is in epoch %d, not yet in %d: %w", run.Name, run.Epoch, epoch, model.ErrConflict)
		}
		a := &applier{tx: tx, run: &run}
		if err := a.apply(ctx, changes); err != nil {
			return err
		}
		seq = run.Seq
		return nil
	}})
	return seq, err
}

// changeTime is the time in a change's id, for commands that carry no other.
func changeTime(changeID string) time.Time {
	id, err := ulid.ParseStrict(changeID)
	if err != nil {
		return time.Now()
	}
	return id.Timestamp()
}

// applier carries changes out inside a transaction. It looks before it writes,
// so that a change that does not fit is found while nothing of it is written.
type applier struct {
	tx *session
	// run as it is now; Seq grows with each event.
	run *model.Run
}

func (a *applier) apply(ctx context.Context, changes []model.Change) error {
	from := a.run.Seq
	for _, ch := range changes {
		fresh, err := a.tx.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?) ON CONFLICT DO NOTHING`, a.run.ID, ch.ID)
		if err != nil {
			return err
		}
		if fresh == 0 {
			continue
		}
		if a.run.State != model.RunRunning {
			return a.conflict("the run is %s", a.run.State)
		}
		if err := a.one(ctx, ch); err != nil {
			return err
		}
	}
	if a.run.Seq == from {
		return nil
	}
	if err := a.writeSeq(ctx); err != nil {
		return err
	}
	if err := fault.Hit("store.apply.written"); err != nil {
		return err
	}
	if a.run.State.Final() {
		return a.prune(ctx, changes)
	}
	return nil
}

// one carries out a change.
func (a *applier) one(ctx context.Context, ch model.Change) error {
	switch op := ch.Op.(type) {
	case model.ReserveAttempt:
		return a.reserve(ctx, ch.At, op)
	case model.StartAttempt:
		return a.start(ctx, ch.At, op)
	case model.EndAttempt:
		return a.endAttempt(ctx, ch.At, op)
	case model.PublishStep:
		return a.publish(ctx, ch.At, op)
	case model.EndStep:
		return a.endStep(ctx, ch.At, op)
	case model.ResetStep:
		return a.resetStep(ctx, ch.At, op)
	case model.EndRun:
		return a.endRun(ctx, ch.At, op)
	case model.SetProvenance:
		if err := putBlob(ctx, a.tx, a.run.ID, "provenance", op.Provenance); err != nil {
			return err
		}
		return a.event(ctx, event{at: ch.At, kind: model.EventProvenanceSet, message: "provenance recorded",
			data: map[string]any{"git_commit": op.Provenance.GitCommit, "git_dirty": op.Provenance.GitDirty}})
	}
	return a.conflict("a change of type %T is not known", ch.Op)
}

// prune forgets the changes of a sealed run, but for those that sealed it: only
// their caller can still be without an answer.
func (a *applier) prune(ctx context.Context, keep []model.Change) error {
	if _, err := a.tx.exec(ctx, `DELETE FROM change WHERE run_id = ?`, a.run.ID); err != nil {
		return err
	}
	ids := []string{createChange}
	for _, ch := range keep {
		ids = append(ids, ch.ID)
	}
	for _, id := range ids {
		if _, err := a.tx.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?) ON CONFLICT DO NOTHING`, a.run.ID, id); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) conflict(format string, args ...any) error {
	return fmt.Errorf("run %s: %s: %w", a.run.Name, fmt.Sprintf(format, args...), model.ErrConflict)
}

// event is a row to be.
type event struct {
	at            time.Time
	kind          model.EventKind
	step, attempt string
	message       string
	data          map[string]any
}

// event raises the run's seq and writes the row of that number. The run's row
// gets the new seq from writeSeq, once for all events of the commit.
func (a *applier) event(ctx context.Context, e event) error {
	data, err := jsonMap(e.data)
	if err != nil {
		return err
	}
	a.run.Seq++
	if _, err := a.tx.exec(ctx, `INSERT INTO event (run_id, seq, at, kind, step, attempt, message, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		a.run.ID, a.run.Seq, e.at.UnixMicro(), string(e.kind), e.step, e.attempt, e.message, data); err != nil {
		return fmt.Errorf("insert event: %w", err)
	}
	return nil
}

// writeSeq stores the run's seq; no later event of this commit may follow.
func (a *applier) writeSeq(ctx context.Context) error {
	n, err := a.tx.exec(ctx, `UPDATE run SET seq = ? WHERE id = ? AND epoch = ?`, a.run.Seq, a.run.ID, a.run.Epoch)
	if err == nil && n == 0 {
		return a.conflict("its epoch changed")
	}
	return err
}

// stepState is what a change looks at: a step and its current attempt.
type stepState struct {
	name          string
	state         model.StepState
	attempt       string
	attemptNumber int
	// attemptState is empty before the first attempt.
	attemptState model.AttemptState
}

func (a *applier) step(ctx context.Context, name string) (stepState, error) {
	st := stepState{name: name}
	err := a.tx.row(ctx, `SELECT s.state, s.attempt, coalesce(t.number, 0), coalesce(t.state, '') FROM step_run s
		LEFT JOIN attempt t ON t.run_id = s.run_id AND t.step = s.name AND t.id = s.attempt WHERE s.run_id = ? AND s.name = ?`, a.run.ID, name).
		Scan(&st.state, &st.attempt, &st.attemptNumber, &st.attemptState)
	if errors.Is(err, sql.ErrNoRows) {
		return st, a.conflict("it has no step %q", name)
	}
	return st, err
}

// live reports whether the step has an attempt that has not ended.
func (st stepState) live() bool { return st.attempt != "" && !st.attemptState.Final() }

// current gives a step whose current attempt is the one named, and lives.
func (a *applier) current(ctx context.Context, step, attempt string) (stepState, error) {
	st, err := a.step(ctx, step)
	switch {
	case err != nil:
		return st, err
	case st.attempt != attempt:
		return st, a.conflict("attempt %s is not the current one of step %s", attempt, step)
	case st.attemptState.Final():
		return st, a.conflict("attempt %d of step %s is %s already", st.attemptNumber, step, st.attemptState)
	case st.state != model.StepRunning:
		return st, a.conflict("step %s is %s", step, st.state)
	}
	return st, nil
}

func (a *applier) reserve(ctx context.Context, at time.Time, op model.ReserveAttempt) error {
	t := op.Attempt
	st, err := a.step(ctx, t.Step)
	if err != nil {
		return err
	}
	if st.state.Final() {
		return a.conflict("step %s is %s", t.Step, st.state)
	}
	number := st.attemptNumber + 1
	if t.Number != 0 && t.Number != number {
		return a.conflict("the next attempt of step %s is %d, not %d", t.Step, number, t.Number)
	}
	if st.live() {
		if _, err := a.tx.exec(ctx, `UPDATE attempt SET state = 'superseded', ended_at = ? WHERE run_id = ? AND step = ? AND number = ?`,
			micros(at), a.run.ID, t.Step, st.attemptNumber); err != nil {
			return err
		}
	}
	if _, err := a.tx.exec(ctx, `INSERT INTO attempt (id, run_id, step, number, state, epoch, execution, incarnation, not_before)
		VALUES (?, ?, ?, ?, 'reserved', ?, ?, ?, ?)`,
		t.ID, a.run.ID, t.Step, number, a.run.Epoch, string(t.Execution), t.Incarnation, micros(t.NotBefore)); err != nil {
		if isConstraint(err) {
			return a.conflict("attempt id %s is taken", t.ID)
		}
		return err
	}
	if _, err := a.tx.exec(ctx, `UPDATE step_run SET state = 'running', attempt = ? WHERE run_id = ? AND name = ?`,
		t.ID, a.run.ID, t.Step); err != nil {
		return err
	}
	data := map[string]any{"number": number, "execution": t.Execution}
	message := fmt.Sprintf("%s: attempt %d reserved", t.Step, number)
	if wait := t.NotBefore.Sub(at); wait > 0 {
		data["not_before"] = t.NotBefore.UTC().Format(time.RFC3339Nano)
		message += fmt.Sprintf(", to start in %v", wait.Round(time.Millisecond))
	}
	if st.live() {
		data["superseded"] = st.attempt
	}
	return a.event(ctx, event{at: at, kind: model.EventAttemptReserved, step: t.Step, attempt: t.ID, message: message, data: data})
}

func (a *applier) start(ctx context.Context, at time.Time, op model.StartAttempt) error {
	st, err := a.current(ctx, op.Step, op.Attempt)
	if err != nil {
		return err
	}
	if _, err := a.tx.exec(ctx, `UPDATE attempt SET state = 'running', incarnation = ?, started_at = coalesce(started_at, ?)
		WHERE run_id = ? AND step = ? AND number = ?`, op.Incarnation, micros(at), a.run.ID, op.Step, st.attemptNumber); err != nil {
		return err
	}
	if _, err := a.tx.exec(ctx, `UPDATE step_run SET started_at = coalesce(started_at, ?) WHERE run_id = ? AND name = ?`,
		micros(at), a.run.ID, op.Step); err != nil {
		return err
	}
	message := op.Step + " started"
	if st.attemptNumber > 1 {
		message += fmt.Sprintf(" (attempt %d)", st.attemptNumber)
	}
	return a.event(ctx, event{at: at, kind: model.EventAttemptStarted, step: op.Step, attempt: op.Attempt, message: message,
		data: map[string]any{"number": st.attemptNumber, "incarnation": op.Incarnation}})
}

func (a *applier) endAttempt(ctx context.Context, at time.Time, op model.EndAttempt) error {
	failures, losses := 0, 0
	switch op.State {
	case model.AttemptFailed, model.AttemptTimedOut:
		failures = 1
	case model.AttemptLost:
		losses = 1
	case model.AttemptCancelled:
	default:
		return a.conflict("an attempt cannot end as %q", op.State)
	}
	st, err := a.current(ctx, op.Step, op.Attempt)
	if err != nil {
		return err
	}
	if _, err := a.tx.exec(ctx, `UPDATE attempt SET state = ?, error = ?, trace = ?, ended_at = ?
		WHERE run_id = ? AND step = ? AND number = ?`, string(op.State), op.Error, op.Trace, micros(at), a.run.ID, op.Step, st.attemptNumber); err != nil {
		return err
	}
	if failures+losses > 0 {
		if _, err := a.tx.exec(ctx, `UPDATE step_run SET failures = failures + ?, losses = losses + ? WHERE run_id = ? AND name = ?`,
			failures, losses, a.run.ID, op.Step); err != nil {
			return err
		}
	}
	words := map[model.AttemptState]string{model.AttemptFailed: "failed", model.AttemptTimedOut: "timed out",
		model.AttemptLost: "lost", model.AttemptCancelled: "cancelled"}
	return a.event(ctx, event{at: at, kind: model.EventAttemptEnded, step: op.Step, attempt: op.Attempt,
		message: withReason(fmt.Sprintf("%s: attempt %d %s", op.Step, st.attemptNumber, words[op.State]), op.Error),
		data:    map[string]any{"number": st.attemptNumber, "state": op.State, "error": op.Error}})
}

func withReason(message, reason string) string {
	if reason == "" {
		return message
	}
	return message + ": " + reason
}

func (a *applier) endStep(ctx context.Context, at time.Time, op model.EndStep) error {
	st, err := a.step(ctx, op.Step)
	if err != nil {
		return err
	}
	fits := false
	switch op.State {
	case model.StepFailed:
		fits = st.state == model.StepRunning
	case model.StepSkipped:
		fits = st.state == model.StepPending
	case model.StepCancelled:
		fits = !st.state.Final()
	}
	if !fits {
		return a.conflict("step %s is %s and cannot end as %q", op.Step, st.state, op.State)
	}
	if st.live() {
		return a.conflict("attempt %d of step %s has not ended", st.attemptNumber, op.Step)
	}
	if _, err := a.tx.exec(ctx, `UPDATE step_run SET state = ?, error = ?, hint = ?, ended_at = ? WHERE run_id = ? AND name = ?`,
		string(op.State), op.Error, op.Hint, micros(at), a.run.ID, op.Step); err != nil {
		return err
	}
	return a.event(ctx, event{at: at, kind: model.EventStepEnded, step: op.Step, attempt: st.attempt,
		message: withReason(fmt.Sprintf("%s %s", op.Step, op.State), op.Error),
		data:    map[string]any{"state": op.State, "error": op.Error, "hint": op.Hint}})
}

func (a *applier) resetStep(ctx context.Context, at time.Time, op model.ResetStep) error {
	st, err := a.step(ctx, op.Step)
	if err != nil {
		return err
	}
	if !st.state.Final() || st.state == model.StepCompleted {
		return a.conflict("step %s is %s and cannot be taken up again", op.Step, st.state)
	}
	if _, err := a.tx.exec(ctx, `UPDATE step_run SET state = 'pending', failures = 0, losses = 0, error = '', hint = '',
		started_at = NULL, ended_at = NULL WHERE run_id = ? AND name = ?`, a.run.ID, op.Step); err != nil {
		return err
	}
	return a.event(ctx, event{at: at, kind: model.EventStepReset, step: op.Step,
		message: op.Step + " is to run again", data: map[string]any{"was": st.state}})
}

func (a *applier) endRun(ctx context.Context, at time.Time, op model.EndRun) error {
	if !op.State.Final() || op.State != model.RunCompleted && op.State != model.RunFailed && op.State != model.RunCancelled {
		return a.conflict("a run cannot end as %q", op.State)
	}
	open, err := collect(ctx, a.tx, scanText, `SELECT name FROM step_run WHERE run_id = ? AND state IN ('pending', 'running') LIMIT 1`, a.run.ID)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return a.conflict("step %s has not ended", open[0])
	}
	if _, err := a.tx.exec(ctx, `UPDATE run SET state = ?, error = ?, ended_at = ? WHERE id = ?`,
		string(op.State), op.Error, micros(at), a.run.ID); err != nil {
		return err
	}
	if _, err := a.tx.exec(ctx, `DELETE FROM intent WHERE run_id = ?`, a.run.ID); err != nil {
		return err
	}
	a.run.State, a.run.Error, a.run.EndedAt = op.State, op.Error, at
	return a.event(ctx, event{at: at, kind: model.EventRunEnded,
		message: withReason(fmt.Sprintf("run %s %s", a.run.Name, op.State), op.Error),
		data:    map[string]any{"state": op.State, "error": op.Error}})
}
