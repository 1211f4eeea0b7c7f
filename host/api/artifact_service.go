package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// findArtifact finds the artifact version of a reference for a client.
func (s *Server) findArtifact(ctx context.Context, c *apiv1.ClientContext, ref string) (model.ArtifactVersion, error) {
	client, err := s.client(c)
	if err != nil {
		return model.ArtifactVersion{}, err
	}
	v, err := s.Artifacts.FindArtifact(ctx, client.Project.ID, ref)
	return v, named(err, "artifact", ref, "'cairn artifact list' shows the artifacts of this project")
}

// ListArtifacts lists artifact versions, newest first.
func (s *Server) ListArtifacts(ctx context.Context, r *apiv1.ListArtifactsRequest) (*apiv1.ListArtifactsResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	list, next, err := s.Artifacts.ListArtifacts(ctx, model.ArtifactFilter{
		Project: client.Project.ID, Name: r.GetName(), AllVersions: r.GetAllVersions(),
		Limit: pageSize(r.GetLimit()), Page: r.GetPage(),
	})
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListArtifactsResponse{NextPage: next}
	for _, v := range list {
		out.Artifacts = append(out.Artifacts, artifactToProto(v))
	}
	return out, nil
}

// GetArtifact gives a version and where it is stored. It opens no store: which
// component reaches a location is known where it was opened before.
func (s *Server) GetArtifact(ctx context.Context, r *apiv1.GetArtifactRequest) (*apiv1.GetArtifactResponse, error) {
	v, err := s.findArtifact(ctx, r.GetContext(), r.GetArtifact())
	if err != nil {
		return nil, err
	}
	locations, err := s.Artifacts.LocateContent(ctx, v.Digest)
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetArtifactResponse{Artifact: artifactToProto(v)}
	for _, l := range locations {
		p := &apiv1.Location{StoreId: l.StoreID, Key: l.Key}
		if store, err := s.Stores.OpenStore(ctx, l.StoreID); err == nil {
			p.Component, p.Path = store.Component(), store.LocalPath(ctx, model.Object{Key: l.Key, Size: v.Size, Digest: v.Digest})
			_ = store.Close()
		}
		out.Locations = append(out.Locations, p)
	}
	return out, nil
}

// located is a content at one of its locations, and the open store that
// reaches it.
type located struct {
	content  model.Content
	location model.Location
	store    ObjectReader
}

// fromEach reads a version from each place where it is stored, until one read
// ends well; else it gives the error of the first.
func (s *Server) fromEach(ctx context.Context, v model.ArtifactVersion, read func(located) error) error {
	what := "artifact '" + title(v) + "'"
	locations, err := s.Artifacts.LocateContent(ctx, v.Digest)
	if err != nil {
		return err
	}
	if len(locations) == 0 {
		return nowhere(what)
	}
	var first error
	for _, l := range locations {
		store, err := s.Stores.OpenStore(ctx, l.StoreID)
		if err != nil {
			err = unreached(what, err)
		} else {
			err = read(located{content: contentOf(v), location: l, store: store})
			_ = store.Close()
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func unreached(what string, err error) error {
	e := AsError(err)
	return &diag.Error{Code: e.Code, Summary: "cannot reach " + what, Detail: e.Error(), Hint: e.Hint, Err: err}
}

func nowhere(what string) *diag.Error {
	return &diag.Error{
		Code: diag.NotFound, Summary: what + " is stored nowhere any more",
		Hint: "run the pipeline that made it again: 'cairn artifact lineage' shows which",
	}
}

// object is the content as its store knows it.
func (l located) object() model.Object {
	return model.Object{Key: l.location.Key, Size: l.content.Size, Digest: l.content.Digest}
}

// copyTo writes the content to w and verifies it meanwhile.
func (l located) copyTo(ctx context.Context, what string, w io.Writer) error {
	return copyObject(l.store.Fetch(ctx, []model.Object{l.object()})[0], l.content, what, w)
}

// copyObject writes a fetched object to w and verifies it meanwhile.
func copyObject(f Fetched, c model.Content, what string, w io.Writer) error {
	if f.Err != nil {
		return unfetched(f.Err, what)
	}
	defer f.File.Close()
	v := artifact.NewVerifier(c.Digest, c.Size)
	if _, err := io.Copy(io.MultiWriter(w, v), f.File); err != nil {
		if errors.Is(err, artifact.ErrMismatch) {
			return corrupt(what, err)
		}
		return fmt.Errorf("copy %s: %w", what, err)
	}
	if err := v.Verify(); err != nil {
		return corrupt(what, err)
	}
	return nil
}

func corrupt(what string, err error) error {
	return &diag.Error{
		Code: diag.Difference, Summary: what + " is corrupt: the stored bytes are not those that were published",
		Detail: err.Error(), Hint: "'cairn artifact verify' shows all that are; run the pipeline that made it again", Err: err,
	}
}

func unfetched(err error, what string) error {
	if errors.Is(err, diag.ErrNotFound) {
		return &diag.Error{
			Code: diag.NotFound, Summary: what + " is not in the artifact store any more", Detail: err.Error(),
			Hint: "put it back from a backup, or run the pipeline that made it again", Err: err,
		}
	}
	if errors.Is(err, diag.ErrCorrupt) {
		return corrupt(what, err)
	}
	e := AsError(err)
	return &diag.Error{Code: e.Code, Summary: "cannot read " + what, Detail: e.Error(), Hint: e.Hint, Err: err}
}

// ReadArtifact streams the content of a file. Its digest is known to be right
// when the stream ends without an error.
func (s *Server) ReadArtifact(ctx context.Context, r *apiv1.ReadArtifactRequest, send func(*apiv1.ReadArtifactResponse) error) error {
	v, err := s.findArtifact(ctx, r.GetContext(), r.GetArtifact())
	if err != nil {
		return err
	}
	if v.Tree {
		return diag.Errorf(diag.Invalid, "artifact '%s' is a tree of files, not a file", title(v)).
			WithHint("get it whole: cairn artifact get %s --to DIR", title(v))
	}
	var failed error
	sent := false
	return s.fromEach(ctx, v, func(l located) error {
		// What went out already cannot be taken back, so the next place is of no
		// use then.
		if !sent {
			failed = l.copyTo(ctx, "artifact '"+title(v)+"'", sender(func(m *apiv1.ReadArtifactResponse) error {
				sent = true
				return send(m)
			}))
		}
		return failed
	})
}

// sender is a stream as a writer.
type sender func(*apiv1.ReadArtifactResponse) error

func (send sender) Write(p []byte) (int, error) {
	if err := send(&apiv1.ReadArtifactResponse{Data: append([]byte(nil), p...)}); err != nil {
		return 0, fmt.Errorf("send artifact: %w", err)
	}
	return len(p), nil
}

// title is how people name a version.
func title(v model.ArtifactVersion) string { return fmt.Sprintf("%s:%d", v.Name, v.Version) }

func contentOf(v model.ArtifactVersion) model.Content {
	return model.Content{Digest: v.Digest, Size: v.Size, Tree: v.Tree}
}

// GetLineage gives what a version was made of, and what was made of it.
func (s *Server) GetLineage(ctx context.Context, r *apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error) {
	v, err := s.findArtifact(ctx, r.GetContext(), r.GetArtifact())
	if err != nil {
		return nil, err
	}
	g := &lineage{server: s, out: &apiv1.GetLineageResponse{Root: artifactNode(v.ID)}, seen: map[string]bool{}, edges: map[string]bool{}}
	g.artifact(v)
	if err := g.up(ctx, v); err != nil {
		return nil, err
	}
	if err := g.down(ctx, v); err != nil {
		return nil, err
	}
	return g.out, nil
}
