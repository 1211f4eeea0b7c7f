package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/api"
	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/host/pluginhost"
	"github.com/cairn-stack/cairn/host/registry"
	"github.com/cairn-stack/cairn/host/store"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// storeSetting is the key under which the id of the component that reached a
// store last is kept.
func storeSetting(storeID string) string { return "store/" + storeID }

// rememberStore records which component reaches a store; it writes only what is
// new.
func (h *Host) rememberStore(ctx context.Context, storeID, componentID string) error {
	h.mu.Lock()
	o, err := h.writable(ctx)
	h.mu.Unlock()
	if err != nil {
		return err
	}
	known, ok, err := o.store.Setting(ctx, storeSetting(storeID))
	if err != nil || ok && known == componentID {
		return err
	}
	return o.store.SetSetting(ctx, storeSetting(storeID), componentID)
}

// stores opens artifact stores for reading. Each component is opened once and
// stays open until the host closes its plugins.
type stores struct {
	host     *Host
	registry *registry.Registry
	store    *store.Store

	mu sync.Mutex
	// open are stores by id, and tried what became of each component.
	open  map[string]*reader
	tried map[string]error
}

// OpenStore opens the component that reached the store last, then the others,
// until one reaches it.
func (s *stores) OpenStore(ctx context.Context, storeID string) (api.ObjectReader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.open[storeID]; ok {
		return r, nil
	}
	candidates, err := s.candidates(ctx, storeID)
	if err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if _, done := s.tried[c.ID]; done {
			continue
		}
		err := s.openComponent(ctx, c)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if s.tried == nil {
			s.tried = map[string]error{}
		}
		s.tried[c.ID] = err
		if r, ok := s.open[storeID]; ok {
			return r, nil
		}
	}
	return nil, s.unreached(storeID, candidates)
}

// candidates are the artifact stores, the likely one first.
func (s *stores) candidates(ctx context.Context, storeID string) ([]model.Component, error) {
	list, err := s.registry.ListComponents(ctx, model.ArtifactStore)
	if err != nil {
		return nil, err
	}
	likely, _, err := s.store.Setting(ctx, storeSetting(storeID))
	if err != nil {
		return nil, fmt.Errorf("look for store %s: %w", storeID, err)
	}
	slices.SortStableFunc(list, func(a, b model.Component) int {
		switch likely {
		case a.ID:
			return -1
		case b.ID:
			return 1
		}
		return 0
	})
	return list, nil
}

// openComponent opens an artifact store beside the built-in orchestrator, which
// costs nothing: a stack has both.
func (s *stores) openComponent(ctx context.Context, c model.Component) error {
	m, err := s.host.plugins(ctx)
	if err != nil {
		return err
	}
	orchestrator, err := s.registry.GetComponent(ctx, model.Orchestrator, model.DefaultOrchestratorID)
	if err != nil {
		return err
	}
	var resolved []pluginhost.ResolvedComponent
	for _, c := range []model.Component{orchestrator, c} {
		rc, err := s.host.resolve(ctx, m, c)
		if err != nil {
			return err
		}
		resolved = append(resolved, rc)
	}
	st, err := m.OpenStack(ctx, resolved)
	if err != nil {
		return err
	}
	if s.open == nil {
		s.open = map[string]*reader{}
	}
	s.open[st.ArtifactStore().ID()] = &reader{component: c.Name, store: st.ArtifactStore(), staging: s.host.stagingDir()}
	return nil
}

func (s *stores) unreached(storeID string, candidates []model.Component) error {
	var why []string
	for _, c := range candidates {
		if err := s.tried[c.ID]; err != nil {
			why = append(why, fmt.Sprintf("'%s': %s", c.Name, err))
		} else {
			why = append(why, fmt.Sprintf("'%s' is another store", c.Name))
		}
	}
	return &diag.Error{
		Code: diag.Plugin, Summary: "no artifact store component reaches store " + storeID,
		Detail: strings.Join(why, "; "),
		Hint:   "register the artifact store that the run used again: 'cairn run describe RUN' shows its flavor",
	}
}

// reader reads an open artifact store.
type reader struct {
	component string
	store     *pluginhost.ArtifactStore
	staging   string
}

func (r *reader) Component() string { return r.component }

// Close leaves the store open for the next reader.
func (r *reader) Close() error { return nil }

// LocalPath is where a view of an object stands, if the store gives one.
func (r *reader) LocalPath(ctx context.Context, o model.Object) string {
	if !r.store.Facts().LocalView {
		return ""
	}
	target, drop, err := r.target()
	if err != nil {
		return ""
	}
	defer drop()
	res, err := r.store.GetFiles(ctx, []model.GetItem{{Key: o.Key, Path: target, Size: o.Size, Transfer: model.TransferView}})
	if err != nil || res[0].Err != nil || res[0].Path == target {
		return ""
	}
	return res[0].Path
}

// target is an unused path for an object, and what removes what came there.
func (r *reader) target() (path string, drop func(), err error) {
	dir := r.store.Facts().StagingDir
	if dir == "" {
		dir = r.staging
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("make staging directory: %w", err)
	}
	path = filepath.Join(dir, "read-"+ulid.Make().String())
	return path, func() { _ = os.Remove(path) }, nil
}

// Fetch opens objects: the stored files themselves where the store shows them,
// else private copies, which are gone when they are closed.
func (r *reader) Fetch(ctx context.Context, objects []model.Object) []api.Fetched {
	out := make([]api.Fetched, len(objects))
	items := make([]model.GetItem, len(objects))
	for i, o := range objects {
		path, drop, err := r.target()
		if err != nil {
			return allFailed(out, err)
		}
		defer drop()
		items[i] = model.GetItem{Key: o.Key, Path: path, Size: o.Size, Transfer: model.TransferCopy}
		if r.store.Facts().LocalView {
			items[i].Transfer = model.TransferView
		}
	}
	results, err := r.store.GetFiles(ctx, items)
	if err != nil {
		return allFailed(out, err)
	}
	for i, res := range results {
		if res.Err != nil {
			out[i].Err = res.Err
			continue
		}
		path := res.Path
		if path == "" {
			path = items[i].Path
		}
		var f io.ReadCloser
		if f, err = os.Open(path); errors.Is(err, os.ErrNotExist) {
			err = &diag.PluginError{Reason: diag.ErrNotFound, Fault: diag.FaultBackend, Summary: path + " does not exist"}
		}
		out[i] = api.Fetched{File: f, Err: err}
	}
	return out
}

func allFailed(out []api.Fetched, err error) []api.Fetched {
	for i := range out {
		out[i].Err = err
	}
	return out
}
