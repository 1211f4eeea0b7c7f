package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// readyJob is a job whose directory and inputs stand.
type readyJob struct {
	Job
	// told: the program that polls was told of it.
	told   bool
	handed []handedInput
}

// handedInput is a file that a step may read and not change.
type handedInput struct {
	input, path string
	identity    identity
}

// boundInput is an input with what it is bound to; from is zero for a literal.
type boundInput struct {
	input model.Input
	from  boundOutput
}

// bind gives what the inputs of a node are bound to; called by loop.
func (r *run) bind(n *model.Node) []boundInput {
	bound := make([]boundInput, len(n.Inputs))
	for i, in := range n.Inputs {
		bound[i] = boundInput{input: in}
		if in.Node != "" {
			bound[i].from = r.outputs[in.Node][in.Output]
		}
	}
	return bound
}

// prepare has a goroutine make an attempt's directory and inputs; called by
// loop.
func (r *run) prepare(a *attempt) {
	n := a.step.node
	inputs := r.bind(n)
	job := &readyJob{Job: Job{
		Run: r.id, Step: n.Name, Function: n.Step.Function, Attempt: a.id, Number: a.number,
		Incarnation: r.e.newID(), Dir: r.dir(a.id), LogPath: r.e.cfg.AttemptLog(r.id, a.id),
		Timeout: n.Step.Timeout, Secrets: n.Step.Secrets, Outputs: n.Step.Outputs,
	}}
	r.goes(func() {
		err := r.makeDirs(job)
		for _, in := range inputs {
			if err == nil {
				err = r.hand(r.ctx, job, in)
			}
		}
		if !r.post(func() { r.prepared(a, job, err) }) {
			r.removeFiles(a.id)
		}
	})
}

func (r *run) prepared(a *attempt, job *readyJob, err error) {
	switch {
	case a.state.Final():
		r.dropFiles(a)
	case err != nil && r.ctx.Err() != nil:
	case err != nil:
		var pe *diag.PluginError
		lasting := errors.As(err, &pe) && (pe.Reason == diag.ErrCorrupt || pe.Reason == diag.ErrNotFound) || errors.Is(err, artifact.ErrMismatch)
		hint := hintOf(err)
		if lasting && hint == "" {
			hint = "'cairn artifact verify' shows what else is not as it was stored; put it back from a backup and resume, or start the program again for a new run"
		}
		r.m.fail(a, failure{message: text(err.Error()), hint: hint, permanent: lasting}, r.e.cfg.Now())
		r.dropFiles(a)
	default:
		r.jobs[a.id] = job
	}
}

// makeDirs makes the working directory, which must not exist: an attempt runs
// once.
func (r *run) makeDirs(job *readyJob) error {
	err := os.Mkdir(job.Dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(job.Dir), 0o700); err == nil {
			err = os.Mkdir(job.Dir, 0o700)
		}
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(job.LogPath), 0o700)
	}
	if err == nil {
		err = fault.Hit("engine.job.prepared")
	}
	if err != nil {
		return fmt.Errorf("the step's working directory cannot be made: %w", err)
	}
	return nil
}

// hand gives a job one input: inline where the value is known, else by path.
func (r *run) hand(ctx context.Context, job *readyJob, in boundInput) error {
	out := JobInput{Name: in.input.Name, Type: in.input.Type}
	switch {
	case in.input.Node == "":
		out.Inline = in.input.Literal
	case in.from.inline != nil || in.from.content.Size == 0 && !in.from.content.Tree:
		out.Inline, out.Metadata = in.from.inline, in.from.metadata
	default:
		out.Metadata, out.Tree = in.from.metadata, in.from.content.Tree
		var err error
		if out.Tree {
			out.Path, err = r.handTree(ctx, job, in)
		} else {
			out.Path, err = r.handFile(ctx, job, in)
		}
		if err != nil {
			return fmt.Errorf("input '%s' (%s of step '%s') cannot be read: %w", in.input.Name, in.input.Output, in.input.Node, err)
		}
	}
	if in.input.Node != "" && out.Type.MediaType == "" {
		out.Type = in.from.typ
	}
	job.Inputs = append(job.Inputs, out)
	return nil
}

// views reports whether steps may be given stored files themselves.
func (r *run) views() bool {
	return *r.e.cfg.ReadOnlyFiles && r.stack.ArtifactStore().Facts().LocalView
}

func (r *run) handFile(ctx context.Context, job *readyJob, in boundInput) (string, error) {
	item := model.GetItem{Size: in.from.content.Size, Transfer: model.TransferCopy}
	if r.views() {
		item.Transfer = model.TransferView
	}
	var err error
	if item.Key, err = r.locate(ctx, in.from, in.from.content.Digest); err != nil {
		return "", err
	}
	dir := r.inputsDir(job.Attempt)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	item.Path = filepath.Join(dir, in.input.Name)
	paths, err := r.get(ctx, []model.GetItem{item}, []string{in.from.content.Digest}, []fs.FileMode{0o444})
	if err != nil {
		return "", err
	}
	return paths[0], job.remember(in.input.Name, paths[0])
}

// remember notes what a handed file is, to see whether the step changes it.
func (j *readyJob) remember(input, path string) error {
	id, err := identify(path)
	j.handed = append(j.handed, handedInput{input: input, path: path, identity: id})
	return err
}

// handTree brings a tree's manifest and its files, as copies.
func (r *run) handTree(ctx context.Context, job *readyJob, in boundInput) (string, error) {
	root := filepath.Join(r.inputsDir(job.Attempt), in.input.Name)
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	key, err := r.locate(ctx, in.from, in.from.content.Digest)
	if err != nil {
		return "", err
	}
	tree, err := r.manifest(ctx, key, root+".manifest", in.from.content)
	if err != nil {
		return "", err
	}
	var items []model.GetItem
	var digests []string
	var modes []fs.FileMode
	for _, f := range tree.Files {
		path := filepath.Join(root, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		if key, err = r.locate(ctx, in.from, f.Digest); err != nil {
			return "", err
		}
		items = append(items, model.GetItem{Key: key, Path: path, Size: f.Size, Transfer: model.TransferCopy})
		digests, modes = append(digests, f.Digest), append(modes, f.Perm()&^0o222)
	}
	for len(items) > 0 {
		n := min(len(items), 1000)
		paths, err := r.get(ctx, items[:n], digests[:n], modes[:n])
		if err != nil {
			return "", err
		}
		for _, p := range paths {
			if err := job.remember(in.input.Name, p); err != nil {
				return "", err
			}
		}
		items, digests, modes = items[n:], digests[n:], modes[n:]
	}
	return root, nil
}

func (r *run) manifest(ctx context.Context, key, path string, c model.Content) (artifact.Tree, error) {
	item := model.GetItem{Key: key, Path: path, Size: c.Size, Transfer: model.TransferCopy}
	if _, err := r.get(ctx, []model.GetItem{item}, []string{c.Digest}, []fs.FileMode{0o444}); err != nil {
		return artifact.Tree{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return artifact.Tree{}, err
	}
	defer f.Close()
	return artifact.ParseTree(f)
}

// locate gives the key of a content in the run's store.
func (r *run) locate(ctx context.Context, from boundOutput, digest string) (string, error) {
	if key := from.keys[digest]; key != "" {
		return key, nil
	}
	locations, err := r.e.cfg.Journal.LocateContent(ctx, digest)
	if err != nil {
		return "", fmt.Errorf("look up content: %w", err)
	}
	for _, l := range locations {
		if l.StoreID == r.stack.ArtifactStore().ID() {
			return l.Key, nil
		}
	}
	return "", &diag.PluginError{Reason: diag.ErrNotFound, Summary: fmt.Sprintf("no location of %s is known in this artifact store", digest)}
}

// get brings objects to paths and makes sure that their bytes are those of
// digests: a view by its identity at publication or, where that differs or is
// not known, as a copy: by its digest.
func (r *run) get(ctx context.Context, items []model.GetItem, digests []string, modes []fs.FileMode) ([]string, error) {
	paths := make([]string, len(items))
	err := again(ctx, func() error {
		for _, it := range items {
			os.Remove(it.Path)
		}
		results, err := r.stack.ArtifactStore().GetFiles(ctx, items)
		if err != nil {
			return err
		}
		if len(results) != len(items) {
			return fmt.Errorf("the store answered %d of %d items", len(results), len(items))
		}
		for i, res := range results {
			if res.Err != nil {
				return res.Err
			}
			if paths[i] = res.Path; paths[i] == "" {
				paths[i] = items[i].Path
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, it := range items {
		g.Go(func() error {
			if it.Transfer == model.TransferView {
				return r.seen.verifyView(gctx, paths[i], digests[i], it.Size)
			}
			if err := verify(gctx, paths[i], digests[i], it.Size); err != nil {
				return err
			}
			return os.Chmod(paths[i], modes[i])
		})
	}
	return paths, g.Wait()
}

func verify(ctx context.Context, path, digest string, size int64) error {
	f, err := artifact.OpenRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := artifact.VerifyFile(ctx, f, digest, size); err != nil {
		return fmt.Errorf("the stored bytes are corrupt: %w", err)
	}
	return nil
}

// changedInput names an input whose files are not what they were when they were
// handed over; empty where there is none.
func changedInput(handed []handedInput) string {
	for _, h := range handed {
		if id, err := identify(h.path); err != nil || id != h.identity {
			return h.input
		}
	}
	return ""
}

// identity is what tells a file from itself after a change.
type identity struct {
	inode uint64
	size  int64
	mtime time.Time
}

func identify(path string) (identity, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return identity{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, fmt.Errorf("%s: no inode is known", path)
	}
	return identity{inode: st.Ino, size: info.Size(), mtime: info.ModTime()}, nil
}

// identities remembers, by digest, the file that was seen to hold a content.
// Safe for concurrent use.
type identities struct {
	mu   sync.Mutex
	seen map[string]identity
}

func (s *identities) put(digest, path string) {
	id, err := identify(path)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]identity{}
	}
	s.seen[digest] = id
}

// verifyView compares a file with the one that was seen, and hashes it where
// they differ.
func (s *identities) verifyView(ctx context.Context, path, digest string, size int64) error {
	id, err := identify(path)
	if err != nil {
		return err
	}
	s.mu.Lock()
	known := s.seen[digest] == id
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := verify(ctx, path, digest, size); err != nil {
		return err
	}
	s.put(digest, path)
	return nil
}
