package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// fetchBatch is how many files of a tree are asked for at once.
const fetchBatch = 64

// FetchArtifact writes the content to a path on the host's machine: whole and
// verified, or not at all.
func (s *Server) FetchArtifact(ctx context.Context, r *apiv1.FetchArtifactRequest) (*apiv1.FetchArtifactResponse, error) {
	v, err := s.findArtifact(ctx, r.GetContext(), r.GetArtifact())
	if err != nil {
		return nil, err
	}
	if err := checkTarget(r.GetPath(), v.Tree, r.GetOverwrite()); err != nil {
		return nil, err
	}
	err = s.fromEach(ctx, v, func(l located) error {
		if v.Tree {
			return s.fetchTree(ctx, l, v, r.GetPath(), r.GetOverwrite())
		}
		return fetchFile(ctx, l, v, r.GetPath(), r.GetOverwrite())
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.FetchArtifactResponse{Artifact: artifactToProto(v), Path: r.GetPath()}, nil
}

func checkTarget(path string, tree, overwrite bool) error {
	if !filepath.IsAbs(path) {
		return diag.Errorf(diag.Invalid, "'%s' is not an absolute path", path)
	}
	parent := filepath.Dir(path)
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		return diag.Errorf(diag.Invalid, "cannot write %s: its directory does not exist", path).
			WithHint("make it first: mkdir -p %s", parent)
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diag.Errorf(diag.Refused, "cannot look at %s: %w", path, err)
	}
	switch {
	case !overwrite:
		return diag.Errorf(diag.Refused, "%s exists already", path).WithHint("choose another path, or replace it with --overwrite")
	case !tree && info.IsDir():
		return diag.Errorf(diag.Refused, "%s is a directory, and the artifact is a file", path).WithHint("name a file: --to %s", filepath.Join(path, "FILE"))
	case tree && !info.IsDir():
		return diag.Errorf(diag.Refused, "%s is a file, and the artifact is a tree of files", path).WithHint("name another path, for a directory")
	}
	return nil
}

func unwritable(path string, err error) error {
	return &diag.Error{
		Code: diag.Refused, Summary: "cannot write " + path, Detail: err.Error(),
		Hint: "check that you may write there and that there is room, or choose another path", Err: err,
	}
}

// fetchFile copies to a temporary file beside the target, and renames.
func fetchFile(ctx context.Context, l located, v model.ArtifactVersion, path string, overwrite bool) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return unwritable(path, err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := l.copyTo(ctx, "artifact '"+title(v)+"'", tmp); err != nil {
		return err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync()); err != nil {
		return unwritable(path, err)
	}
	if err := fault.Hit("api.fetch.before-rename"); err != nil {
		return err
	}
	if !overwrite {
		// A link fails where the name is there by now.
		if err := os.Link(tmp.Name(), path); err != nil {
			return unwritable(path, err)
		}
		return nil
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return unwritable(path, err)
	}
	return nil
}

// fetchTree restores a tree in a temporary directory beside the target, and
// renames.
func (s *Server) fetchTree(ctx context.Context, l located, v model.ArtifactVersion, path string, overwrite bool) error {
	tree, err := readTree(ctx, l, "artifact '"+title(v)+"'")
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return unwritable(path, err)
	}
	defer os.RemoveAll(tmp)
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return unwritable(path, err)
	}
	defer root.Close()
	if err := s.restore(ctx, l, tree, v, root); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return unwritable(path, err)
	}
	if err := fault.Hit("api.fetch.before-rename"); err != nil {
		return err
	}
	if overwrite {
		if err := os.RemoveAll(path); err != nil {
			return unwritable(path, err)
		}
	}
	if err := os.Rename(tmp, path); err != nil {
		return unwritable(path, err)
	}
	return nil
}

// readTree reads and verifies a tree's manifest.
func readTree(ctx context.Context, l located, what string) (artifact.Tree, error) {
	f := l.store.Fetch(ctx, []model.Object{l.object()})[0]
	if f.Err != nil {
		return artifact.Tree{}, unfetched(f.Err, what)
	}
	defer f.File.Close()
	var manifest bytes.Buffer
	if _, err := io.Copy(&manifest, io.LimitReader(f.File, artifact.MaxTreeManifest+1)); err != nil {
		return artifact.Tree{}, fmt.Errorf("read the list of files of %s: %w", what, err)
	}
	if got := artifact.HashBytes(manifest.Bytes()); got != l.content.Digest {
		return artifact.Tree{}, corrupt(what, fmt.Errorf("its list of files has digest %s, not %s", got, l.content.Digest))
	}
	tree, err := artifact.ParseTree(&manifest)
	if err != nil {
		return artifact.Tree{}, corrupt(what, err)
	}
	return tree, nil
}

// restore writes the files of a tree below root.
func (s *Server) restore(ctx context.Context, l located, tree artifact.Tree, v model.ArtifactVersion, root *os.Root) error {
	return s.eachFile(ctx, l, tree, func(file artifact.TreeFile, f Fetched) error {
		what := fmt.Sprintf("file '%s' of artifact '%s'", file.Path, title(v))
		if dir := filepath.Dir(filepath.FromSlash(file.Path)); dir != "." {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				closeFetched(f)
				return unwritable(file.Path, err)
			}
		}
		out, err := root.OpenFile(filepath.FromSlash(file.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, file.Perm())
		if err != nil {
			closeFetched(f)
			return unwritable(file.Path, err)
		}
		defer out.Close()
		if err := copyObject(f, model.Content{Digest: file.Digest, Size: file.Size}, what, out); err != nil {
			return err
		}
		if err := out.Sync(); err != nil {
			return unwritable(file.Path, err)
		}
		return nil
	})
}

func closeFetched(f Fetched) {
	if f.File != nil {
		_ = f.File.Close()
	}
}

// eachFile gives each file of a tree with its object to do, which closes it.
func (s *Server) eachFile(ctx context.Context, l located, tree artifact.Tree, do func(artifact.TreeFile, Fetched) error) error {
	for len(tree.Files) > 0 {
		batch := tree.Files[:min(fetchBatch, len(tree.Files))]
		tree.Files = tree.Files[len(batch):]
		objects := make([]model.Object, len(batch))
		for i, file := range batch {
			key, err := s.keyIn(ctx, l.location.StoreID, file.Digest)
			if err != nil {
				return err
			}
			objects[i] = model.Object{Key: key, Size: file.Size, Digest: file.Digest}
		}
		fetched := l.store.Fetch(ctx, objects)
		for i, file := range batch {
			if err := do(file, fetched[i]); err != nil {
				for _, rest := range fetched[i+1:] {
					closeFetched(rest)
				}
				return err
			}
		}
	}
	return nil
}

// keyIn is the key of a content in a store.
func (s *Server) keyIn(ctx context.Context, storeID, digest string) (string, error) {
	locations, err := s.Artifacts.LocateContent(ctx, digest)
	if err != nil {
		return "", err
	}
	for _, l := range locations {
		if l.StoreID == storeID {
			return l.Key, nil
		}
	}
	return "", &diag.Error{
		Code: diag.NotFound, Summary: "a file of the tree is stored nowhere any more", Detail: "its digest is " + digest,
		Hint: "run the pipeline that made it again",
	}
}

// The states of a verification.
const (
	verifyOK          = "ok"
	verifyCorrupt     = "corrupt"
	verifyMissing     = "missing"
	verifyUnreachable = "unreachable"
)

// VerifyArtifact reads the stored bytes, at each place where they are stored,
// and compares their digest.
func (s *Server) VerifyArtifact(ctx context.Context, r *apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error) {
	out := &apiv1.VerifyArtifactResponse{Ok: true}
	check := func(v model.ArtifactVersion) error {
		verdicts, err := s.verify(ctx, v)
		for _, verdict := range verdicts {
			out.Verifications = append(out.Verifications, verdict)
			out.Ok = out.Ok && verdict.GetState() == verifyOK
		}
		return err
	}
	if r.GetArtifact() != "" {
		v, err := s.findArtifact(ctx, r.GetContext(), r.GetArtifact())
		if err == nil {
			err = check(v)
		}
		if err != nil {
			return nil, err
		}
		return out, nil
	}
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	filter := model.ArtifactFilter{Project: client.Project.ID, AllVersions: true, Limit: maxPage}
	for {
		list, next, err := s.Artifacts.ListArtifacts(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			if err := check(v); err != nil {
				return nil, err
			}
		}
		if next == "" {
			return out, nil
		}
		filter.Page = next
	}
}

// verify reads one version whole, at each of its locations. An error is only
// one of the journal's.
func (s *Server) verify(ctx context.Context, v model.ArtifactVersion) ([]*apiv1.Verification, error) {
	locations, err := s.Artifacts.LocateContent(ctx, v.Digest)
	if err != nil {
		return nil, err
	}
	if len(locations) == 0 {
		return []*apiv1.Verification{{
			Artifact: artifactToProto(v), State: verifyMissing, Detail: nowhere("artifact '" + title(v) + "'").Error(),
		}}, nil
	}
	var out []*apiv1.Verification
	for _, l := range locations {
		verdict := &apiv1.Verification{
			Artifact: artifactToProto(v), State: verifyOK, Location: &apiv1.Location{StoreId: l.StoreID, Key: l.Key},
		}
		err := s.verifyAt(ctx, v, l, verdict.Location)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			verdict.Detail = AsError(err).Error()
			verdict.State = verifyState(err)
		}
		out = append(out, verdict)
	}
	return out, nil
}

func (s *Server) verifyAt(ctx context.Context, v model.ArtifactVersion, l model.Location, where *apiv1.Location) error {
	store, err := s.Stores.OpenStore(ctx, l.StoreID)
	if err != nil {
		return err
	}
	defer store.Close()
	at := located{content: contentOf(v), location: l, store: store}
	where.Component, where.Path = store.Component(), store.LocalPath(ctx, at.object())
	return s.readAll(ctx, at, v)
}

func verifyState(err error) string {
	switch diag.CodeOf(err) {
	case diag.Difference:
		return verifyCorrupt
	case diag.NotFound:
		return verifyMissing
	}
	return verifyUnreachable
}

// readAll reads and verifies all bytes of a version.
func (s *Server) readAll(ctx context.Context, l located, v model.ArtifactVersion) error {
	what := "artifact '" + title(v) + "'"
	if !v.Tree {
		return l.copyTo(ctx, what, io.Discard)
	}
	tree, err := readTree(ctx, l, what)
	if err != nil {
		return err
	}
	var bad []string
	var first error
	err = s.eachFile(ctx, l, tree, func(file artifact.TreeFile, f Fetched) error {
		err := copyObject(f, model.Content{Digest: file.Digest, Size: file.Size},
			fmt.Sprintf("file '%s' of %s", file.Path, what), io.Discard)
		if err != nil {
			if first == nil {
				first = err
			}
			bad = append(bad, file.Path)
		}
		return ctx.Err()
	})
	if err != nil || len(bad) <= 1 {
		return errors.Join(err, first)
	}
	return diag.Errorf(diag.CodeOf(first), "%d files of %s are not as published", len(bad), what).
		WithDetail("%s", strings.Join(bad[:min(5, len(bad))], ", "))
}
