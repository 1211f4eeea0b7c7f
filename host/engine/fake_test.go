package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/cairn-stack/cairn/host/model"
)

// MemJournal is a strict journal in memory: it refuses whatever the rules of the
// state machines refuse, so that a test sees an engine that breaks them.
type MemJournal struct {
	mu      sync.Mutex
	runs    map[string]*memRun
	alive   map[string]bool
	intents map[string]bool
	byLoc   map[string][]model.Location
	// Commits counts the calls that wrote something.
	Commits int
	// Fail, where it is set, is asked before each Apply.
	Fail func(changes []model.Change) error
	// Log has every change that was applied, in order.
	Log []model.Change
}

type memRun struct {
	rec     model.RunRecord
	changes map[string]bool
}

func NewMemJournal() *MemJournal {
	return &MemJournal{runs: map[string]*memRun{}, alive: map[string]bool{}, intents: map[string]bool{}, byLoc: map[string][]model.Location{}}
}

func (j *MemJournal) SetAlive(host string, alive bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.alive[host] = alive
}

func (j *MemJournal) AskCancel(run string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.intents[run] = true
}

func (j *MemJournal) CreateRun(_ context.Context, n model.NewRun) (model.Run, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r, ok := j.runs[n.Run.ID]; ok {
		return r.rec.Run, nil
	}
	r := &memRun{changes: map[string]bool{}, rec: model.RunRecord{
		Run: n.Run, Spec: n.Spec, Snapshot: n.Snapshot, Recipe: n.Recipe, Provenance: n.Provenance,
		Attempts: map[string][]model.Attempt{}, Outputs: map[string][]model.ArtifactVersion{},
	}}
	r.rec.Run.Epoch, r.rec.Run.State = 1, model.RunRunning
	if r.rec.Run.Name == "" {
		r.rec.Run.Number = len(j.runs) + 1
		r.rec.Run.Name = fmt.Sprintf("%s-%d", n.Run.Pipeline, r.rec.Run.Number)
	}
	for _, node := range n.Spec.Nodes {
		r.rec.Steps = append(r.rec.Steps, model.StepRun{RunID: n.Run.ID, Name: node.Name, State: model.StepPending})
	}
	for _, c := range n.Reserve {
		if err := r.apply(c); err != nil {
			return model.Run{}, err
		}
	}
	j.runs[n.Run.ID] = r
	j.Commits++
	j.Log = append(j.Log, n.Reserve...)
	return r.rec.Run, nil
}

func (j *MemJournal) Acquire(_ context.Context, runID, hostID, _ string, takeOver bool) (model.Run, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.runs[runID]
	if !ok {
		return model.Run{}, model.ErrNotFound
	}
	if r.rec.Run.State == model.RunCompleted {
		return model.Run{}, model.ErrConflict
	}
	if r.rec.Run.State == model.RunRunning && j.alive[r.rec.Run.Owner] && !takeOver {
		return model.Run{}, model.ErrOwned
	}
	r.rec.Run.Owner, r.rec.Run.State, r.rec.Run.Error = hostID, model.RunRunning, ""
	r.rec.Run.Epoch++
	j.Commits++
	return r.rec.Run, nil
}

func (j *MemJournal) Apply(_ context.Context, runID string, epoch int64, changes []model.Change) (int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.Fail != nil {
		if err := j.Fail(changes); err != nil {
			return 0, err
		}
	}
	r, ok := j.runs[runID]
	if !ok {
		return 0, model.ErrNotFound
	}
	if r.rec.Run.Epoch != epoch {
		return 0, &model.FencedError{Owner: r.rec.Run.Owner, Epoch: r.rec.Run.Epoch}
	}
	next := r.clone()
	for _, c := range changes {
		if next.changes[c.ID] {
			continue
		}
		if err := next.apply(c); err != nil {
			return 0, err
		}
		next.changes[c.ID] = true
		next.rec.Run.Seq++
		j.note(c)
	}
	j.runs[runID] = next
	j.Commits++
	j.Log = append(j.Log, changes...)
	if next.rec.Run.State.Final() {
		delete(j.intents, runID)
	}
	return next.rec.Run.Seq, nil
}

func (j *MemJournal) note(c model.Change) {
	if p, ok := c.Op.(model.PublishStep); ok {
		for _, o := range p.Outputs {
			for _, l := range o.Locations {
				j.byLoc[l.Digest] = []model.Location{l}
			}
		}
	}
}

func (j *MemJournal) LoadRun(_ context.Context, runID string) (model.RunRecord, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r, ok := j.runs[runID]
	if !ok {
		return model.RunRecord{}, model.ErrNotFound
	}
	return r.clone().rec, nil
}

// EndedAttempts counts every host as alive.
func (j *MemJournal) EndedAttempts(context.Context, []string) ([]string, error) { return nil, nil }

func (j *MemJournal) LocateContent(_ context.Context, digest string) ([]model.Location, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.byLoc[digest], nil
}

func (j *MemJournal) Intents(_ context.Context, hostID string) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for id := range j.intents {
		if r := j.runs[id]; r != nil && r.rec.Run.Owner == hostID {
			found = append(found, id)
		}
	}
	return found, nil
}

func (r *memRun) clone() *memRun {
	n := &memRun{rec: r.rec, changes: make(map[string]bool, len(r.changes))}
	for id := range r.changes {
		n.changes[id] = true
	}
	n.rec.Steps = slices.Clone(r.rec.Steps)
	n.rec.Attempts = map[string][]model.Attempt{}
	for s, a := range r.rec.Attempts {
		n.rec.Attempts[s] = slices.Clone(a)
	}
	n.rec.Outputs = map[string][]model.ArtifactVersion{}
	for s, o := range r.rec.Outputs {
		n.rec.Outputs[s] = slices.Clone(o)
	}
	n.rec.Inputs = slices.Clone(r.rec.Inputs)
	return n
}

func (r *memRun) step(name string) *model.StepRun {
	for i := range r.rec.Steps {
		if r.rec.Steps[i].Name == name {
			return &r.rec.Steps[i]
		}
	}
	return nil
}

// current is the newest attempt of a step.
func (r *memRun) current(step string) *model.Attempt {
	a := r.rec.Attempts[step]
	if len(a) == 0 {
		return nil
	}
	return &a[len(a)-1]
}

func conflict(format string, args ...any) error {
	return fmt.Errorf("%w: %s", model.ErrConflict, fmt.Sprintf(format, args...))
}

func (r *memRun) live(step, attempt string) (*model.StepRun, *model.Attempt, error) {
	s, a := r.step(step), r.current(step)
	switch {
	case s == nil:
		return nil, nil, conflict("no step %s", step)
	case a == nil || a.ID != attempt:
		return nil, nil, conflict("%s is not the current attempt of %s", attempt, step)
	case a.State.Final():
		return nil, nil, conflict("attempt %s of %s has ended: %s", attempt, step, a.State)
	case s.State != model.StepRunning:
		return nil, nil, conflict("step %s is %s", step, s.State)
	}
	return s, a, nil
}

func (r *memRun) apply(c model.Change) error {
	if r.rec.Run.State.Final() {
		return conflict("the run is %s", r.rec.Run.State)
	}
	switch op := c.Op.(type) {
	case model.ReserveAttempt:
		s := r.step(op.Attempt.Step)
		if s == nil || s.State.Final() {
			return conflict("reserve of %s", op.Attempt.Step)
		}
		if cur := r.current(s.Name); cur != nil {
			if cur.State == model.AttemptCompleted || op.Attempt.Number != cur.Number+1 {
				return conflict("attempt %d of %s after %d (%s)", op.Attempt.Number, s.Name, cur.Number, cur.State)
			}
			if !cur.State.Final() {
				cur.State = model.AttemptSuperseded
			}
		} else if op.Attempt.Number != 1 {
			return conflict("first attempt of %s is %d", s.Name, op.Attempt.Number)
		}
		for _, n := range r.rec.Spec.Nodes {
			if n.Name != s.Name {
				continue
			}
			for _, in := range n.Inputs {
				if in.Node != "" && r.step(in.Node).State != model.StepCompleted {
					return conflict("%s reserved before %s", s.Name, in.Node)
				}
			}
		}
		s.State, s.Attempt = model.StepRunning, op.Attempt.ID
		r.rec.Attempts[s.Name] = append(r.rec.Attempts[s.Name], op.Attempt)
	case model.StartAttempt:
		_, a, err := r.live(op.Step, op.Attempt)
		if err != nil {
			return err
		}
		a.State, a.Incarnation, a.StartedAt = model.AttemptRunning, op.Incarnation, c.At
	case model.EndAttempt:
		s, a, err := r.live(op.Step, op.Attempt)
		if err != nil {
			return err
		}
		a.State, a.Error, a.EndedAt = op.State, op.Error, c.At
		switch op.State {
		case model.AttemptLost:
			s.Losses++
		case model.AttemptFailed, model.AttemptTimedOut:
			s.Failures++
		case model.AttemptCancelled:
		default:
			return conflict("attempt ended as %s", op.State)
		}
	case model.PublishStep:
		s, a, err := r.live(op.Step, op.Attempt)
		if err != nil {
			return err
		}
		if a.Incarnation != "" && a.Incarnation != op.Incarnation {
			return conflict("incarnation %s is not %s", op.Incarnation, a.Incarnation)
		}
		a.State, a.EndedAt, s.State = model.AttemptCompleted, c.At, model.StepCompleted
		for _, o := range op.Outputs {
			r.rec.Outputs[op.Step] = append(r.rec.Outputs[op.Step], model.ArtifactVersion{
				ID: o.ID, Name: o.Artifact, Version: 1, Digest: o.Content.Digest, Size: o.Content.Size, Tree: o.Content.Tree,
				Type: o.Type, Step: op.Step, Output: o.Output, Metadata: o.Metadata, Inline: o.Inline, RunID: r.rec.Run.ID,
			})
		}
		r.rec.Inputs = append(r.rec.Inputs, op.Inputs...)
	case model.EndStep:
		s := r.step(op.Step)
		if s == nil || s.State.Final() || op.State == model.StepCompleted || !op.State.Final() {
			return conflict("end of step %s as %s", op.Step, op.State)
		}
		if a := r.current(op.Step); a != nil && !a.State.Final() {
			return conflict("step %s ended with a live attempt", op.Step)
		}
		s.State, s.Error, s.Hint = op.State, op.Error, op.Hint
	case model.ResetStep:
		s := r.step(op.Step)
		if s == nil || !s.State.Final() || s.State == model.StepCompleted {
			return conflict("reset of %s", op.Step)
		}
		s.State, s.Error, s.Failures, s.Losses = model.StepPending, "", 0, 0
	case model.EndRun:
		for _, s := range r.rec.Steps {
			if !s.State.Final() {
				return conflict("run ended while %s is %s", s.Name, s.State)
			}
		}
		r.rec.Run.State, r.rec.Run.Error, r.rec.Run.EndedAt = op.State, op.Error, c.At
	case model.SetProvenance:
		r.rec.Provenance = op.Provenance
	default:
		return conflict("unknown change %T", op)
	}
	return nil
}
