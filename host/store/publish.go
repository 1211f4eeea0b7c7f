package store

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
)

// publish is the publication of a step.
func (a *applier) publish(ctx context.Context, at time.Time, op model.PublishStep) error {
	st, err := a.current(ctx, op.Step, op.Attempt)
	if err != nil {
		return err
	}
	n, err := a.tx.exec(ctx, `UPDATE attempt SET state = 'completed', incarnation = ?, started_at = coalesce(started_at, ?), ended_at = ?
		WHERE run_id = ? AND step = ? AND number = ? AND state IN ('reserved', 'running')`,
		op.Incarnation, micros(op.StartedAt), micros(at), a.run.ID, op.Step, st.attemptNumber)
	if err != nil || n != 1 {
		if err == nil || isConstraint(err) {
			return a.conflict("step %s is published already", op.Step)
		}
		return err
	}
	if err := a.completeStep(ctx, at, op); err != nil {
		return err
	}
	if err := fault.Hit("store.publish.step"); err != nil {
		return err
	}
	outputs := map[string]any{}
	for i, out := range op.Outputs {
		version, err := a.publishOutput(ctx, at, op.Step, i, out)
		if err != nil {
			return err
		}
		outputs[out.Output] = fmt.Sprintf("%s:%d", out.Artifact, version)
	}
	for _, in := range op.Inputs {
		var id any
		if in.ArtifactID != "" {
			id = in.ArtifactID
		}
		if _, err := a.tx.exec(ctx, `INSERT INTO step_input (run_id, step, input, artifact_id) VALUES (?, ?, ?, ?)`,
			a.run.ID, op.Step, in.Input, id); err != nil {
			if isConstraint(err) {
				return a.conflict("input %s of step %s is given twice, or its artifact %q is not there", in.Input, op.Step, in.ArtifactID)
			}
			return err
		}
	}
	message := op.Step + " completed"
	if took := at.Sub(op.StartedAt); !op.StartedAt.IsZero() && took >= 0 {
		message += " in " + took.Round(time.Millisecond).String()
	}
	data := map[string]any{"number": st.attemptNumber, "incarnation": op.Incarnation}
	if len(outputs) > 0 {
		data["outputs"] = outputs
	}
	if len(op.Metrics) > 0 {
		data["metrics"] = op.Metrics
	}
	return a.event(ctx, event{at: at, kind: model.EventStepPublished, step: op.Step, attempt: op.Attempt, message: message, data: data})
}

func (a *applier) completeStep(ctx context.Context, at time.Time, op model.PublishStep) error {
	metrics, err := jsonMap(op.Metrics)
	if err != nil {
		return err
	}
	metadata, err := jsonMap(op.Metadata)
	if err != nil {
		return err
	}
	parameters, err := jsonMap(op.Parameters)
	if err != nil {
		return err
	}
	_, err = a.tx.exec(ctx, `UPDATE step_run SET state = 'completed', metrics = ?, metadata = ?, parameters = ?,
		started_at = coalesce(started_at, ?), ended_at = ?, error = '', hint = '' WHERE run_id = ? AND name = ?`,
		metrics, metadata, parameters, micros(op.StartedAt), micros(at), a.run.ID, op.Step)
	return err
}

// publishOutput makes an output the next version of its artifact.
func (a *applier) publishOutput(ctx context.Context, at time.Time, step string, position int, out model.PublishedOutput) (int, error) {
	if err := a.putContent(ctx, out); err != nil {
		return 0, err
	}
	var version int
	if err := a.tx.row(ctx, `INSERT INTO artifact (project, name, last_version) VALUES (?, ?, 1)
		ON CONFLICT (project, name) DO UPDATE SET last_version = last_version + 1 RETURNING last_version`,
		a.run.Project, out.Artifact).Scan(&version); err != nil {
		return 0, fmt.Errorf("count version: %w", err)
	}
	metadata, err := jsonMap(out.Metadata)
	if err != nil {
		return 0, err
	}
	_, err = a.tx.exec(ctx, `INSERT INTO artifact_version (id, project, name, version, digest, media_type, language_type,
		run_id, step, output, position, metadata, inline, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		out.ID, a.run.Project, out.Artifact, version, out.Content.Digest, out.Type.MediaType, out.Type.LanguageType,
		a.run.ID, step, out.Output, position, metadata, inlineOf(out), micros(at))
	if isConstraint(err) {
		return 0, a.conflict("output %s of step %s is given twice, or its id %s is taken", out.Output, step, out.ID)
	}
	return version, err
}

// inlineOf tells an inline value that is empty from none.
func inlineOf(out model.PublishedOutput) any {
	if out.Inline == nil {
		return nil
	}
	return out.Inline
}

// putContent records what an output is stored as, and where. A content that is
// known must have the same size.
func (a *applier) putContent(ctx context.Context, out model.PublishedOutput) error {
	for _, c := range append([]model.Content{out.Content}, out.Files...) {
		var size int64
		if err := a.tx.row(ctx, `INSERT INTO content (digest, size, tree) VALUES (?, ?, ?)
			ON CONFLICT (digest) DO UPDATE SET size = size RETURNING size`, c.Digest, c.Size, c.Tree).Scan(&size); err != nil {
			return fmt.Errorf("insert content: %w", err)
		}
		if size != c.Size {
			return a.conflict("content %s has %d bytes, and is known with %d", c.Digest, c.Size, size)
		}
	}
	for _, f := range out.Files {
		if _, err := a.tx.exec(ctx, `INSERT INTO tree_file (tree, digest) VALUES (?, ?) ON CONFLICT DO NOTHING`,
			out.Content.Digest, f.Digest); err != nil {
			return fmt.Errorf("insert tree file: %w", err)
		}
	}
	for _, l := range out.Locations {
		if _, err := a.tx.exec(ctx, `INSERT INTO location (digest, store_id, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			l.Digest, l.StoreID, l.Key); err != nil {
			if isConstraint(err) {
				return a.conflict("a location is given for %s, which output %s has not", l.Digest, out.Output)
			}
			return fmt.Errorf("insert location: %w", err)
		}
	}
	return nil
}
