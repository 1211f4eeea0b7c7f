package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// latest is the name that stands for the newest.
const latest = "latest"

// idLength is the length of a ULID.
const idLength = 26

// FindRun gives the run that a reference means in a project: its name, its id,
// a unique prefix of that, "latest", or PIPELINE@latest. Ids are found in every
// project. A *diag.Error, which wraps model.ErrNotFound where there is none,
// and which names the candidates where there are several.
func (s *Store) FindRun(ctx context.Context, project, ref string) (model.Run, error) {
	run, err := s.findRun(ctx, project, ref)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.noRun(ctx, project, ref)
	}
	return run, s.explain(err)
}

func (s *Store) findRun(ctx context.Context, project, ref string) (model.Run, error) {
	if ref == latest {
		return scanRun(s.read.row(ctx, runSelect+` WHERE r.project = ? ORDER BY r.id DESC LIMIT 1`, project))
	}
	if pipeline, ok := strings.CutSuffix(ref, "@"+latest); ok {
		return scanRun(s.read.row(ctx, runSelect+` WHERE r.project = ? AND r.pipeline = ? ORDER BY r.id DESC LIMIT 1`, project, pipeline))
	}
	run, err := scanRun(s.read.row(ctx, runSelect+` WHERE r.project = ? AND r.name = ?`, project, ref))
	if !errors.Is(err, sql.ErrNoRows) {
		return run, err
	}
	prefix := strings.ToUpper(ref)
	if prefix == "" || len(prefix) > idLength || strings.Trim(prefix, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
		return run, sql.ErrNoRows
	}
	const candidates = 6
	found, err := collect(ctx, s.read, scanRun, runSelect+` WHERE r.id >= ? AND r.id < ? ORDER BY r.id DESC LIMIT ?`,
		prefix, prefix+"~", candidates)
	switch {
	case err != nil:
		return run, err
	case len(found) == 0:
		return run, sql.ErrNoRows
	case len(found) == 1:
		return found[0], nil
	}
	return run, ambiguous(ref, found, candidates)
}

func ambiguous(ref string, found []model.Run, limit int) error {
	e := diag.Errorf(diag.Invalid, "%q is the beginning of more than one run id", ref)
	names := make([]string, 0, len(found))
	for _, r := range found {
		names = append(names, fmt.Sprintf("%s (%s)", r.ID, r.Name))
	}
	if len(found) == limit {
		names[limit-1] = "and more"
	}
	return e.WithDetail("%s", strings.Join(names, ", ")).WithHint("give more of the id, or the run's name")
}

// noRun says that there is no such run, and what was probably meant.
func (s *Store) noRun(ctx context.Context, project, ref string) error {
	e := &diag.Error{Code: diag.NotFound, Err: model.ErrNotFound, Hint: "list the runs with: cairn run list"}
	recent, _, err := s.ListRuns(ctx, RunFilter{Project: project, Limit: maxPage})
	if err != nil {
		return err
	}
	pipeline, ofPipeline := strings.CutSuffix(ref, "@"+latest)
	var names []string
	for _, r := range recent {
		if ofPipeline {
			names = append(names, r.Pipeline)
		} else {
			names = append(names, r.Name)
		}
	}
	switch {
	case len(recent) == 0:
		e.Summary = fmt.Sprintf("project %s has no run yet", project)
		e.Hint = "start one by running a pipeline program, such as: go run ."
	case ofPipeline:
		e.Summary = fmt.Sprintf("pipeline %q has no run in project %s%s", pipeline, project, diag.DidYouMean(pipeline, names))
	default:
		e.Summary = fmt.Sprintf("there is no run %q in project %s%s", ref, project, diag.DidYouMean(ref, names))
	}
	return e
}

// FindArtifact gives the artifact version that a reference means in a project:
// NAME:VERSION, NAME:latest, NAME, or RUN/STEP/OUTPUT. A *diag.Error, which
// wraps model.ErrNotFound where there is none.
func (s *Store) FindArtifact(ctx context.Context, project, ref string) (model.ArtifactVersion, error) {
	if strings.Contains(ref, "/") {
		return s.findOutput(ctx, project, ref)
	}
	name, version, given := strings.Cut(ref, ":")
	query, args := artifactSelect+` WHERE v.project = ? AND v.name = ?`, []any{project, name}
	if given && version != latest {
		n, err := strconv.Atoi(version)
		if err != nil {
			return model.ArtifactVersion{}, diag.Errorf(diag.Invalid, "%q is no version of an artifact", version).
				WithHint("an artifact version is named NAME:NUMBER, NAME:latest or RUN/STEP/OUTPUT")
		}
		query, args = query+` AND v.version = ?`, append(args, n)
	}
	v, err := scanArtifact(s.read.row(ctx, query+` ORDER BY v.version DESC LIMIT 1`, args...))
	if errors.Is(err, sql.ErrNoRows) {
		err = s.noArtifact(ctx, project, name, ref)
	}
	return v, s.explain(err)
}

func (s *Store) findOutput(ctx context.Context, project, ref string) (model.ArtifactVersion, error) {
	parts := strings.Split(ref, "/")
	if len(parts) != 3 {
		return model.ArtifactVersion{}, diag.Errorf(diag.Invalid, "%q does not name an artifact", ref).
			WithHint("an output of a run is named RUN/STEP/OUTPUT, such as latest/train/model")
	}
	run, err := s.FindRun(ctx, project, parts[0])
	if err != nil {
		return model.ArtifactVersion{}, err
	}
	v, err := scanArtifact(s.read.row(ctx, artifactSelect+` WHERE v.run_id = ? AND v.step = ? AND v.output = ?`, run.ID, parts[1], parts[2]))
	if !errors.Is(err, sql.ErrNoRows) {
		return v, s.explain(err)
	}
	outputs, err := collect(ctx, s.read, scanText, `SELECT step || '/' || output FROM artifact_version WHERE run_id = ? ORDER BY 1`, run.ID)
	if err != nil {
		return v, s.explain(err)
	}
	return v, &diag.Error{Code: diag.NotFound, Err: model.ErrNotFound,
		Summary: fmt.Sprintf("run %s has stored no output %s/%s%s", run.Name, parts[1], parts[2], diag.DidYouMean(parts[1]+"/"+parts[2], outputs)),
		Hint:    "see its steps and outputs with: cairn run describe " + run.Name}
}

// noArtifact says that there is no such artifact version, and what was
// probably meant.
func (s *Store) noArtifact(ctx context.Context, project, name, ref string) error {
	names, err := collect(ctx, s.read, scanText, `SELECT name FROM artifact WHERE project = ? ORDER BY name LIMIT 1000`, project)
	if err != nil {
		return err
	}
	e := &diag.Error{Code: diag.NotFound, Err: model.ErrNotFound, Hint: "list the artifacts with: cairn artifact list",
		Summary: fmt.Sprintf("there is no artifact %q in project %s%s", name, project, diag.DidYouMean(name, names))}
	for _, n := range names {
		if n == name {
			e.Summary = fmt.Sprintf("there is no artifact version %q in project %s", ref, project)
			e.Hint = fmt.Sprintf("list its versions with: cairn artifact list %s --all-versions", name)
		}
	}
	return e
}

// artifactByID reads an artifact version.
func (s *Store) artifactByID(ctx context.Context, id string) (model.ArtifactVersion, error) {
	v, err := scanArtifact(s.read.row(ctx, artifactSelect+` WHERE v.id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = notFound("artifact version", id)
	}
	return v, s.explain(err)
}
