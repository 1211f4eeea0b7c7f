package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
)

// RunFilter says which runs to list. Empty fields mean all.
type RunFilter struct {
	Project, Pipeline string
	State             model.RunState
	Stack             string
	// Owners limits the list to runs of these hosts.
	Owners []string
	// Limit is at most 1000; 0 is 50.
	Limit int
	// Page is from a former answer; empty from the newest on.
	Page string
}

// where collects conditions and their arguments.
type where struct {
	parts []string
	args  []any
}

func (w *where) add(condition string, args ...any) {
	w.parts = append(w.parts, condition)
	w.args = append(w.args, args...)
}

// equal adds a condition for a value that is not empty.
func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

func (w *where) String() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// ListRuns lists runs, newest first, and gives the page that goes on; empty at
// the end.
func (s *Store) ListRuns(ctx context.Context, f RunFilter) ([]model.Run, string, error) {
	var w where
	w.equal("r.project", f.Project)
	w.equal("r.pipeline", f.Pipeline)
	w.equal("r.state", string(f.State))
	w.equal("r.stack", f.Stack)
	if len(f.Owners) > 0 {
		args := make([]any, len(f.Owners))
		for i, o := range f.Owners {
			args[i] = o
		}
		w.add("r.owner IN (?"+strings.Repeat(", ?", len(args)-1)+")", args...)
	}
	if f.Page != "" {
		w.add("r.id < ?", f.Page)
	}
	limit := pageSize(f.Limit)
	runs, err := collect(ctx, s.read, scanRun, runSelect+w.String()+` ORDER BY r.id DESC LIMIT ?`, append(w.args, limit+1)...)
	if err != nil {
		return nil, "", s.explain(err)
	}
	next := ""
	if len(runs) > limit {
		runs = runs[:limit]
		next = runs[limit-1].ID
	}
	return runs, next, nil
}

// StepCounts counts the steps of runs by state.
func (s *Store) StepCounts(ctx context.Context, runIDs []string) (map[string]map[model.StepState]int, error) {
	counts := map[string]map[model.StepState]int{}
	for _, id := range runIDs {
		counts[id] = map[model.StepState]int{}
	}
	if len(runIDs) == 0 {
		return counts, nil
	}
	args := make([]any, len(runIDs))
	for i, id := range runIDs {
		args[i] = id
	}
	rows, err := s.read.db.QueryContext(ctx, `SELECT run_id, state, count(*) FROM step_run
		WHERE run_id IN (?`+strings.Repeat(", ?", len(args)-1)+`) GROUP BY run_id, state`, args...)
	if err != nil {
		return nil, s.explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var state model.StepState
		var n int
		if err := rows.Scan(&id, &state, &n); err != nil {
			return nil, err
		}
		counts[id][state] = n
	}
	return counts, s.explain(rows.Err())
}

// PipelineSummary is a pipeline of a project with its runs that are still there.
type PipelineSummary struct {
	Name   string
	Runs   int
	Latest model.Run
}

// Pipelines lists the pipelines of a project that have runs, by name.
func (s *Store) Pipelines(ctx context.Context, project string) ([]PipelineSummary, error) {
	var all []PipelineSummary
	err := s.view(ctx, func(q querier) (err error) {
		all, err = collect(ctx, q, func(r scanner) (PipelineSummary, error) {
			var p PipelineSummary
			err := r.Scan(&p.Name, &p.Runs)
			return p, err
		}, `SELECT name, runs FROM pipeline WHERE project = ? AND runs > 0 ORDER BY name`, project)
		if err != nil {
			return err
		}
		for i := range all {
			all[i].Latest, err = scanRun(q.row(ctx, runSelect+` WHERE r.project = ? AND r.pipeline = ? ORDER BY r.id DESC LIMIT 1`,
				project, all[i].Name))
			if err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// ArtifactFilter says which artifact versions to list. Empty fields mean all.
type ArtifactFilter struct {
	Project, Name string
	// AllVersions lists every version, not only the latest of each name.
	AllVersions bool
	// Limit is at most 1000; 0 is 50.
	Limit int
	// Page is from a former answer.
	Page string
}

// ListArtifacts lists artifact versions by project and name, newest version
// first, and gives the page that goes on; empty at the end.
func (s *Store) ListArtifacts(ctx context.Context, f ArtifactFilter) ([]model.ArtifactVersion, string, error) {
	var w where
	w.equal("v.project", f.Project)
	w.equal("v.name", f.Name)
	if !f.AllVersions {
		w.add("v.version = (SELECT max(n.version) FROM artifact_version n WHERE n.project = v.project AND n.name = v.name)")
	}
	if f.Page != "" {
		last, err := s.artifactByID(ctx, f.Page)
		if err != nil {
			return nil, "", fmt.Errorf("read page: %w", err)
		}
		w.add("(v.project, v.name) >= (?, ?)", last.Project, last.Name)
		w.add("((v.project, v.name) > (?, ?) OR v.version < ?)", last.Project, last.Name, last.Version)
	}
	limit := pageSize(f.Limit)
	all, err := collect(ctx, s.read, scanArtifact, artifactSelect+w.String()+` ORDER BY v.project, v.name, v.version DESC LIMIT ?`,
		append(w.args, limit+1)...)
	if err != nil {
		return nil, "", s.explain(err)
	}
	next := ""
	if len(all) > limit {
		all = all[:limit]
		next = all[limit-1].ID
	}
	return all, next, nil
}
