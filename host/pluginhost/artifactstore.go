package pluginhost

import (
	"context"
	"io"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// ArtifactStore is an open artifact store. Its errors are *diag.PluginError,
// or *diag.Error where the plugin died. Safe for concurrent use.
type ArtifactStore struct {
	i      *instance
	client *wire.ArtifactStoreClient
	facts  model.StoreFacts
	roots  []string
}

func newArtifactStore(i *instance) (*ArtifactStore, error) {
	f, err := wire.StoreFactsFromJSON(i.facts)
	if err != nil {
		return nil, badFacts(i, err)
	}
	roots := i.request.ExchangeRoots
	if f.StagingDir != "" {
		roots = append(roots[:len(roots):len(roots)], f.StagingDir)
	}
	return &ArtifactStore{
		i: i, client: wire.NewArtifactStoreClient(i.proc.Conn(), i.request.Instance), roots: roots,
		facts: model.StoreFacts{
			StagingDir: f.StagingDir, MaxObject: f.MaxObject, LocalView: f.LocalView, Move: f.Move, Parallel: f.Parallel,
		},
	}, nil
}

// ID is the identity of the store, as its marker has it.
func (s *ArtifactStore) ID() string { return s.i.identity }

// Facts of the store.
func (s *ArtifactStore) Facts() model.StoreFacts { return s.facts }

// PutFiles stores files that lie below an exchange root or the staging
// directory. A result for each item, in order.
func (s *ArtifactStore) PutFiles(ctx context.Context, items []model.PutItem) ([]model.ItemResult, error) {
	sent := make([]wire.PutItem, 0, len(items))
	for _, i := range items {
		if err := s.checkPath(i.Path); err != nil {
			return nil, err
		}
		sent = append(sent, wire.PutItem{
			Key: i.Key, Path: i.Path, Size: i.Size, Digest: i.Digest, Transfer: wire.Transfer(i.Transfer),
		})
	}
	return s.results(ctx, func() ([]wire.ItemResult, error) { return s.client.PutFiles(ctx, sent, nil) })
}

// PutBytes stores a small object, at most 1 MiB.
func (s *ArtifactStore) PutBytes(ctx context.Context, key string, data []byte, digest string) error {
	return s.i.do(ctx, func() error {
		_, err := s.client.PutBytes(ctx, key, data, digest)
		return err
	})
}

// GetFiles brings objects to paths below an exchange root or the staging
// directory. A result for each item, in order.
func (s *ArtifactStore) GetFiles(ctx context.Context, items []model.GetItem) ([]model.ItemResult, error) {
	sent := make([]wire.GetItem, 0, len(items))
	for _, i := range items {
		if err := s.checkPath(i.Path); err != nil {
			return nil, err
		}
		sent = append(sent, wire.GetItem{Key: i.Key, Path: i.Path, Size: i.Size, Transfer: wire.Transfer(i.Transfer)})
	}
	return s.results(ctx, func() ([]wire.ItemResult, error) { return s.client.GetFiles(ctx, sent, nil) })
}

// Stat looks up objects. A result for each key, in order.
func (s *ArtifactStore) Stat(ctx context.Context, keys []string) ([]model.ItemResult, error) {
	return s.results(ctx, func() ([]wire.ItemResult, error) { return s.client.Stat(ctx, keys) })
}

// Delete removes objects; an absent key is success.
func (s *ArtifactStore) Delete(ctx context.Context, keys []string) ([]model.ItemResult, error) {
	return s.results(ctx, func() ([]wire.ItemResult, error) { return s.client.Delete(ctx, keys) })
}

// ReadRange writes length bytes of an object from offset to w, or all that
// follows for length 0, and gives their number.
func (s *ArtifactStore) ReadRange(ctx context.Context, key string, offset, length int64, w io.Writer) (int64, error) {
	var n int64
	err := s.i.do(ctx, func() (err error) {
		// An unknown instance answers before the first byte.
		n, err = s.client.ReadRange(ctx, key, offset, length, w)
		return err
	})
	return n, err
}

func (s *ArtifactStore) results(ctx context.Context, call func() ([]wire.ItemResult, error)) ([]model.ItemResult, error) {
	var got []wire.ItemResult
	err := s.i.do(ctx, func() (err error) {
		got, err = call()
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]model.ItemResult, 0, len(got))
	for _, r := range got {
		m := model.ItemResult{
			Path:   r.Path,
			Object: model.Object{Key: r.Object.Key, Size: r.Object.Size, Digest: r.Object.Digest},
		}
		if r.Err != nil {
			m.Err = r.Err
		}
		out = append(out, m)
	}
	return out, nil
}

// checkPath refuses a path that host and plugin do not share.
func (s *ArtifactStore) checkPath(path string) error {
	for _, root := range s.roots {
		if strings.HasPrefix(path, filepath.Clean(root)+string(filepath.Separator)) && filepath.Clean(path) == path {
			return nil
		}
	}
	return diag.Errorf(diag.Internal, "%s lies outside the directories that are shared with the artifact store '%s'", path, s.i.what.Component.Name)
}
