package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/sdk/artifact"
)

// leftOver gives the attempt that an entry of a staging directory belongs to:
// its directory, its inputs' or a claim of its outputs; and whether it is a
// claim. Empty for what is not an attempt's.
func leftOver(name string) (attempt string, claim bool) {
	if id := artifact.OwnerOf(name); id != "" {
		return id, true
	}
	return strings.TrimSuffix(name, ".in"), false
}

// removeLeftOvers removes what former hosts left in staging of this run's
// attempts: files of ended ones, and claims, which only their host could use.
func (r *run) removeLeftOvers() {
	for _, name := range r.e.staged(r.staging()) {
		id, claim := leftOver(name)
		if a := r.m.attempts[id]; a != nil && (claim || a.state.Final()) {
			r.e.discard(filepath.Join(r.staging(), name))
		}
	}
}

// sweep removes from a staging directory what hosts that were killed left of
// attempts that have ended. Live attempts keep theirs, for a resume.
func (e *Engine) sweep(ctx context.Context, staging string) {
	names := e.staged(staging)
	var ids []string
	for _, name := range names {
		id, _ := leftOver(name)
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return
	}
	ended, err := e.cfg.Journal.EndedAttempts(ctx, ids)
	if err != nil {
		if ctx.Err() == nil {
			e.cfg.Logger.Warn("sweep staging", "dir", staging, "error", err)
		}
		return
	}
	for i, name := range names {
		if slices.Contains(ended, ids[i]) {
			e.discard(filepath.Join(staging, name))
		}
	}
}

func (e *Engine) staged(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.cfg.Logger.Warn("list staging", "dir", dir, "error", err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func (e *Engine) discard(path string) {
	if err := os.RemoveAll(path); err != nil {
		e.cfg.Logger.Warn("remove what a killed host left", "path", path, "error", err)
	}
}
