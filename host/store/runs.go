package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
)

const runColumns = `r.id, r.project, r.pipeline, r.name, r.number, r.state, r.owner, r.epoch, r.seq, r.stack, r.labels,
	r.spec_digest, r.resumed_from, r.error, r.created_at, r.ended_at,
	EXISTS (SELECT 1 FROM intent i WHERE i.run_id = r.id AND i.kind = 'cancel')`

const runSelect = `SELECT ` + runColumns + ` FROM run r`

func scanRun(r scanner) (model.Run, error) {
	var run model.Run
	err := r.Scan(&run.ID, &run.Project, &run.Pipeline, &run.Name, &run.Number, &run.State, &run.Owner, &run.Epoch, &run.Seq,
		&run.Stack, jsonInto{&run.Labels}, &run.SpecDigest, &run.ResumedFrom, &run.Error,
		timeInto{&run.CreatedAt}, timeInto{&run.EndedAt}, &run.CancelRequested)
	return run, err
}

// runByID reads a run; ErrNotFound where there is none.
func runByID(ctx context.Context, q querier, id string) (model.Run, error) {
	run, err := scanRun(q.row(ctx, runSelect+` WHERE r.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return run, notFound("run", id)
	}
	return run, err
}

// Run gives a run by its id.
func (s *Store) Run(ctx context.Context, id string) (model.Run, error) {
	run, err := runByID(ctx, s.read, id)
	return run, s.explain(err)
}

// CreateRun writes a run, its steps in the order of the spec's nodes, and the
// first attempts. It sets name and number, epoch 1 and state running. A run of
// the same id is returned as it stands; ErrExists for a name that the project
// has already.
func (s *Store) CreateRun(ctx context.Context, n model.NewRun) (model.Run, error) {
	var run model.Run
	err := s.submit(ctx, &command{runID: n.Run.ID, changeID: createChange, fn: func(ctx context.Context, tx *session) (err error) {
		run, err = runByID(ctx, tx, n.Run.ID)
		if err == nil || !errors.Is(err, model.ErrNotFound) {
			return err
		}
		run, err = createRun(ctx, tx, n)
		return err
	}})
	return run, err
}

// createChange is the id of the change that a CreateRun leaves behind.
const createChange = "create"

func createRun(ctx context.Context, tx *session, n model.NewRun) (model.Run, error) {
	run := n.Run
	if err := nameRun(ctx, tx, &run); err != nil {
		return run, err
	}
	run.State, run.Epoch, run.Seq, run.EndedAt, run.Error = model.RunRunning, 1, 0, time.Time{}, ""
	labels, err := jsonMap(run.Labels)
	if err != nil {
		return run, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO run (id, project, pipeline, name, number, state, owner, epoch, seq, stack, labels,
		spec_digest, resumed_from, error, created_at) VALUES (?, ?, ?, ?, ?, 'running', ?, 1, 0, ?, ?, ?, ?, '', ?)`,
		run.ID, run.Project, run.Pipeline, run.Name, run.Number, run.Owner, run.Stack, labels,
		run.SpecDigest, run.ResumedFrom, micros(run.CreatedAt)); err != nil {
		return run, fmt.Errorf("insert run: %w", err)
	}
	if err := fault.Hit("store.create.run"); err != nil {
		return run, err
	}
	for _, b := range []struct {
		kind string
		v    any
	}{{"spec", n.Spec}, {"snapshot", n.Snapshot}, {"recipe", n.Recipe}, {"provenance", n.Provenance}} {
		if err := putBlob(ctx, tx, run.ID, b.kind, b.v); err != nil {
			return run, err
		}
	}
	for i, node := range n.Spec.Nodes {
		if _, err := tx.exec(ctx, `INSERT INTO step_run (run_id, name, position, state) VALUES (?, ?, ?, 'pending')`,
			run.ID, node.Name, i); err != nil {
			return run, fmt.Errorf("insert step %s: %w", node.Name, err)
		}
	}
	if _, err := tx.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?)`, run.ID, createChange); err != nil {
		return run, err
	}
	a := &applier{tx: tx, run: &run}
	if err := a.event(ctx, event{at: run.CreatedAt, kind: model.EventRunCreated,
		message: fmt.Sprintf("run %s of %s created on stack %s", run.Name, plural(len(n.Spec.Nodes), "step"), run.Stack),
		data:    map[string]any{"name": run.Name, "stack": run.Stack, "owner": run.Owner, "steps": len(n.Spec.Nodes)}}); err != nil {
		return run, err
	}
	if err := a.apply(ctx, n.Reserve); err != nil {
		return run, err
	}
	return run, a.writeSeq(ctx)
}

// nameRun counts the run within its pipeline, and names it where it has no
// name, passing over names that people gave.
func nameRun(ctx context.Context, tx *session, run *model.Run) error {
	const taken = `SELECT 1 FROM run WHERE project = ? AND name = ?`
	if run.Name != "" {
		if err := freeName(ctx, tx, taken, run.Project, run.Name); err != nil {
			return err
		}
	}
	if err := tx.row(ctx, `INSERT INTO pipeline (project, name, last_number, runs) VALUES (?, ?, 1, 1)
		ON CONFLICT (project, name) DO UPDATE SET last_number = last_number + 1, runs = runs + 1 RETURNING last_number`,
		run.Project, run.Pipeline).Scan(&run.Number); err != nil {
		return fmt.Errorf("count run: %w", err)
	}
	for run.Name == "" {
		name := fmt.Sprintf("%s-%d", run.Pipeline, run.Number)
		err := freeName(ctx, tx, taken, run.Project, name)
		switch {
		case err == nil:
			run.Name = name
		case !errors.Is(err, model.ErrExists):
			return err
		default:
			if err := tx.row(ctx, `UPDATE pipeline SET last_number = last_number + 1 WHERE project = ? AND name = ?
				RETURNING last_number`, run.Project, run.Pipeline).Scan(&run.Number); err != nil {
				return fmt.Errorf("count run: %w", err)
			}
		}
	}
	return nil
}

func putBlob(ctx context.Context, tx *session, runID, kind string, v any) error {
	data, err := jsonText(v)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `INSERT INTO run_blob (run_id, kind, data) VALUES (?, ?, ?)
		ON CONFLICT (run_id, kind) DO UPDATE SET data = excluded.data`, runID, kind, data); err != nil {
		return fmt.Errorf("write %s: %w", kind, err)
	}
	return nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// acquireTries bounds how often Acquire looks again because the run changed
// hands between its look and its command.
const acquireTries = 10

// Acquire makes a host the owner of a run, in a new epoch and state running.
// ErrOwned while a run in progress has an owner that lives, unless takeOver;
// ErrConflict for a completed run. The same changeID again does nothing.
func (s *Store) Acquire(ctx context.Context, runID, hostID, changeID string, takeOver bool) (model.Run, error) {
	for range acquireTries {
		run, err := s.Run(ctx, runID)
		if err != nil {
			return run, err
		}
		// The owner's lock is looked at out here: a command waits for nothing but
		// the database.
		owned := run.State == model.RunRunning && !takeOver && s.opts.Alive(run.Owner)
		seen := run.Epoch
		err = s.submit(ctx, &command{runID: runID, changeID: changeID, fn: func(ctx context.Context, tx *session) (err error) {
			run, err = acquire(ctx, tx, acquisition{runID, hostID, changeID, seen, owned})
			return err
		}})
		if !errors.Is(err, errMoved) {
			return run, err
		}
	}
	return model.Run{}, fmt.Errorf("run %s keeps changing hands: %w", runID, model.ErrBusy)
}

// errMoved: the run is of another epoch than the one that was looked at.
var errMoved = errors.New("the run changed hands")

type acquisition struct {
	runID, hostID, changeID string
	// epoch that was seen, and whether its owner lived then.
	epoch int64
	owned bool
}

func acquire(ctx context.Context, tx *session, q acquisition) (model.Run, error) {
	run, err := runByID(ctx, tx, q.runID)
	if err != nil {
		return run, err
	}
	if known, err := isKnown(ctx, tx, q.runID, q.changeID); known || err != nil {
		if err == nil && run.Owner != q.hostID {
			err = &model.FencedError{Owner: run.Owner, Epoch: run.Epoch}
		}
		return run, err
	}
	switch {
	case run.Epoch != q.epoch:
		return run, errMoved
	case run.State == model.RunCompleted:
		return run, fmt.Errorf("run %s is completed: %w", run.Name, model.ErrConflict)
	case q.owned && run.State == model.RunRunning:
		return run, fmt.Errorf("run %s is in the hands of host %s: %w", run.Name, run.Owner, model.ErrOwned)
	}
	former := run.Owner
	run.Owner, run.Epoch, run.State, run.Error, run.EndedAt = q.hostID, run.Epoch+1, model.RunRunning, "", time.Time{}
	if _, err := tx.exec(ctx, `UPDATE run SET owner = ?, epoch = ?, state = 'running', error = '', ended_at = NULL WHERE id = ? AND epoch = ?`,
		run.Owner, run.Epoch, run.ID, q.epoch); err != nil {
		return run, err
	}
	if _, err := tx.exec(ctx, `INSERT INTO change (run_id, id) VALUES (?, ?)`, run.ID, q.changeID); err != nil {
		return run, err
	}
	if err := fault.Hit("store.acquire.row"); err != nil {
		return run, err
	}
	a := &applier{tx: tx, run: &run}
	if err := a.event(ctx, event{at: changeTime(q.changeID), kind: model.EventRunAcquired,
		message: fmt.Sprintf("run goes on in epoch %d", run.Epoch),
		data:    map[string]any{"owner": run.Owner, "former_owner": former, "epoch": run.Epoch}}); err != nil {
		return run, err
	}
	return run, a.writeSeq(ctx)
}

func isKnown(ctx context.Context, q querier, runID, changeID string) (bool, error) {
	var one int
	err := q.row(ctx, `SELECT 1 FROM change WHERE run_id = ? AND id = ?`, runID, changeID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// LoadRun gives all that an engine needs to go on with a run, as of one moment.
func (s *Store) LoadRun(ctx context.Context, runID string) (model.RunRecord, error) {
	var rec model.RunRecord
	err := s.view(ctx, func(q querier) (err error) {
		if rec.Run, err = runByID(ctx, q, runID); err != nil {
			return err
		}
		if err := loadBlobs(ctx, q, runID, &rec); err != nil {
			return err
		}
		if rec.Steps, err = collect(ctx, q, scanStep, stepSelect+` WHERE run_id = ? ORDER BY position`, runID); err != nil {
			return err
		}
		attempts, err := collect(ctx, q, scanAttempt, attemptSelect+` WHERE run_id = ? ORDER BY step, number`, runID)
		if err != nil {
			return err
		}
		rec.Attempts = map[string][]model.Attempt{}
		for _, a := range attempts {
			rec.Attempts[a.Step] = append(rec.Attempts[a.Step], a)
		}
		outputs, err := collect(ctx, q, scanArtifact, artifactSelect+` WHERE v.run_id = ? ORDER BY v.step, v.position`, runID)
		if err != nil {
			return err
		}
		rec.Outputs = map[string][]model.ArtifactVersion{}
		for _, o := range outputs {
			rec.Outputs[o.Step] = append(rec.Outputs[o.Step], o)
		}
		rec.Inputs, err = collect(ctx, q, scanInput, `SELECT step, input, coalesce(artifact_id, '') FROM step_input
			WHERE run_id = ? ORDER BY step, input`, runID)
		return err
	})
	return rec, err
}

// EndedAttempts gives those of the attempts that have ended, or whose run has,
// and whose run belongs to no living host. Ids that are not known are left out.
func (s *Store) EndedAttempts(ctx context.Context, ids []string) ([]string, error) {
	var ended []string
	err := s.view(ctx, func(q querier) error {
		for _, id := range ids {
			owners, err := collect(ctx, q, scanText, `SELECT r.owner FROM attempt a JOIN run r ON r.id = a.run_id
				WHERE a.id = ? AND (r.state <> 'running' OR a.state NOT IN ('reserved', 'running'))`, id)
			if err != nil {
				return err
			}
			if len(owners) == 1 && !s.opts.Alive(owners[0]) {
				ended = append(ended, id)
			}
		}
		return nil
	})
	return ended, err
}

func loadBlobs(ctx context.Context, q querier, runID string, rec *model.RunRecord) error {
	into := map[string]any{"spec": &rec.Spec, "snapshot": &rec.Snapshot, "recipe": &rec.Recipe, "provenance": &rec.Provenance}
	rows, err := q.query(ctx, `SELECT kind, data FROM run_blob WHERE run_id = ?`, runID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind, data string
		if err := rows.Scan(&kind, &data); err != nil {
			return err
		}
		if v := into[kind]; v != nil {
			if err := (jsonInto{v}).Scan(data); err != nil {
				return fmt.Errorf("read %s of run %s: %w", kind, runID, err)
			}
		}
	}
	return rows.Err()
}

const stepSelect = `SELECT run_id, name, state, cached, attempt, failures, losses, error, hint, metrics, metadata, parameters,
	started_at, ended_at FROM step_run`

func scanStep(r scanner) (model.StepRun, error) {
	var st model.StepRun
	err := r.Scan(&st.RunID, &st.Name, &st.State, &st.Cached, &st.Attempt, &st.Failures, &st.Losses, &st.Error, &st.Hint,
		jsonInto{&st.Metrics}, jsonInto{&st.Metadata}, jsonInto{&st.Parameters}, timeInto{&st.StartedAt}, timeInto{&st.EndedAt})
	return st, err
}

const attemptSelect = `SELECT id, run_id, step, number, state, epoch, execution, incarnation, not_before, error, trace,
	started_at, ended_at FROM attempt`

func scanAttempt(r scanner) (model.Attempt, error) {
	var a model.Attempt
	err := r.Scan(&a.ID, &a.RunID, &a.Step, &a.Number, &a.State, &a.Epoch, &a.Execution, &a.Incarnation,
		timeInto{&a.NotBefore}, &a.Error, &a.Trace, timeInto{&a.StartedAt}, timeInto{&a.EndedAt})
	return a, err
}

func scanInput(r scanner) (model.StepInput, error) {
	var in model.StepInput
	err := r.Scan(&in.Step, &in.Input, &in.ArtifactID)
	return in, err
}

// DeleteRun deletes a run and all that belongs to it but its artifact versions,
// whose producer then has no name. It gives the ids of the run's attempts, whose
// logs are the caller's to remove. ErrInUse while an owner that lives runs it.
func (s *Store) DeleteRun(ctx context.Context, runID string) (attempts []string, err error) {
	run, err := s.Run(ctx, runID)
	if err != nil {
		return nil, err
	}
	if run.State == model.RunRunning && s.opts.Alive(run.Owner) {
		return nil, fmt.Errorf("run %s is running: %w", run.Name, model.ErrInUse)
	}
	err = s.do(ctx, func(ctx context.Context, tx *session) (err error) {
		if attempts, err = collect(ctx, tx, scanText, `SELECT id FROM attempt WHERE run_id = ? ORDER BY id`, runID); err != nil {
			return err
		}
		n, err := tx.exec(ctx, `DELETE FROM run WHERE id = ? AND epoch = ? AND state = ?`, runID, run.Epoch, string(run.State))
		if err != nil {
			return err
		}
		if n == 0 {
			return missingOr(ctx, tx, `SELECT 1 FROM run WHERE id = ?`, "run", runID, model.ErrInUse)
		}
		_, err = tx.exec(ctx, `UPDATE pipeline SET runs = runs - 1 WHERE project = ? AND name = ?`, run.Project, run.Pipeline)
		return err
	})
	return attempts, err
}
