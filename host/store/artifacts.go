package store

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
)

const artifactSelect = `SELECT v.id, v.project, v.name, v.version, v.digest, c.size, c.tree, v.media_type, v.language_type,
	v.run_id, coalesce(r.name, ''), v.step, v.output, v.metadata, v.inline, v.created_at
	FROM artifact_version v JOIN content c ON c.digest = v.digest LEFT JOIN run r ON r.id = v.run_id`

func scanArtifact(r scanner) (model.ArtifactVersion, error) {
	var v model.ArtifactVersion
	err := r.Scan(&v.ID, &v.Project, &v.Name, &v.Version, &v.Digest, &v.Size, &v.Tree, &v.Type.MediaType, &v.Type.LanguageType,
		&v.RunID, &v.RunName, &v.Step, &v.Output, jsonInto{&v.Metadata}, &v.Inline, timeInto{&v.CreatedAt})
	return v, err
}

// LocateContent gives where a content is stored; empty where nowhere.
func (s *Store) LocateContent(ctx context.Context, digest string) ([]model.Location, error) {
	all, err := collect(ctx, s.read, func(r scanner) (model.Location, error) {
		var l model.Location
		err := r.Scan(&l.Digest, &l.StoreID, &l.Key)
		return l, err
	}, `SELECT digest, store_id, key FROM location WHERE digest = ? ORDER BY store_id, key`, digest)
	return all, s.explain(err)
}

// TreeFiles gives the contents of the files of a tree, by digest.
func (s *Store) TreeFiles(ctx context.Context, digest string) ([]model.Content, error) {
	all, err := collect(ctx, s.read, func(r scanner) (model.Content, error) {
		var c model.Content
		err := r.Scan(&c.Digest, &c.Size, &c.Tree)
		return c, err
	}, `SELECT c.digest, c.size, c.tree FROM tree_file f JOIN content c ON c.digest = f.digest WHERE f.tree = ? ORDER BY c.digest`, digest)
	return all, s.explain(err)
}

// BoundInput is an input of a step run with the version that it was bound to.
type BoundInput struct {
	Input string
	// Artifact has no ID where the input was a literal.
	Artifact model.ArtifactVersion
}

// StepInputs gives what a step run read, by input.
func (s *Store) StepInputs(ctx context.Context, runID, step string) ([]BoundInput, error) {
	var all []BoundInput
	err := s.view(ctx, func(q querier) error {
		inputs, err := collect(ctx, q, scanInput, `SELECT step, input, coalesce(artifact_id, '') FROM step_input
			WHERE run_id = ? AND step = ? ORDER BY input`, runID, step)
		if err != nil {
			return err
		}
		all = make([]BoundInput, len(inputs))
		for i, in := range inputs {
			all[i].Input = in.Input
			if in.ArtifactID == "" {
				continue
			}
			if all[i].Artifact, err = scanArtifact(q.row(ctx, artifactSelect+` WHERE v.id = ?`, in.ArtifactID)); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// Consumer is a step run that read an artifact version.
type Consumer struct {
	RunID, RunName, Step, Input string
	State                       model.StepState
}

// Consumers gives the step runs that read an artifact version, oldest run first.
func (s *Store) Consumers(ctx context.Context, artifactID string) ([]Consumer, error) {
	all, err := collect(ctx, s.read, func(r scanner) (Consumer, error) {
		var c Consumer
		err := r.Scan(&c.RunID, &c.RunName, &c.Step, &c.Input, &c.State)
		return c, err
	}, `SELECT i.run_id, r.name, i.step, i.input, s.state FROM step_input i
		JOIN run r ON r.id = i.run_id JOIN step_run s ON s.run_id = i.run_id AND s.name = i.step
		WHERE i.artifact_id = ? ORDER BY i.run_id, i.step, i.input`, artifactID)
	return all, s.explain(err)
}

// StepOutputs gives what a step run published, in the order of its outputs.
func (s *Store) StepOutputs(ctx context.Context, runID, step string) ([]model.ArtifactVersion, error) {
	all, err := collect(ctx, s.read, scanArtifact, artifactSelect+` WHERE v.run_id = ? AND v.step = ? ORDER BY v.position`, runID, step)
	return all, s.explain(err)
}
