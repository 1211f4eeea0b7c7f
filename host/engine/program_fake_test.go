package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// DirStore is an artifact store in a directory.
type DirStore struct {
	Root string
	mu   sync.Mutex
	// Fail, where it is set, is asked before each put.
	Fail func(model.PutItem) error
	Puts int
	Gets int
}

func (s *DirStore) ID() string { return "dir-store" }

func (s *DirStore) Facts() model.StoreFacts {
	return model.StoreFacts{StagingDir: filepath.Join(s.Root, "staging"), LocalView: true, Move: true}
}

func (s *DirStore) Path(key string) string { return filepath.Join(s.Root, "objects", key) }

func (s *DirStore) PutFiles(_ context.Context, items []model.PutItem) ([]model.ItemResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]model.ItemResult, len(items))
	for i, it := range items {
		s.Puts++
		results[i].Err = s.put(it)
	}
	return results, nil
}

func (s *DirStore) put(it model.PutItem) error {
	if s.Fail != nil {
		if err := s.Fail(it); err != nil {
			return err
		}
	}
	to := s.Path(it.Key)
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if it.Transfer == model.TransferMove {
		return os.Rename(it.Path, to)
	}
	return copyFile(it.Path, to)
}

func (s *DirStore) PutBytes(_ context.Context, key string, data []byte, digest string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Puts++
	if s.Fail != nil {
		if err := s.Fail(model.PutItem{Key: key, Size: int64(len(data)), Digest: digest}); err != nil {
			return err
		}
	}
	to := s.Path(key)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o400)
}

func (s *DirStore) GetFiles(_ context.Context, items []model.GetItem) ([]model.ItemResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]model.ItemResult, len(items))
	for i, it := range items {
		s.Gets++
		from := s.Path(it.Key)
		info, err := os.Stat(from)
		switch {
		case errors.Is(err, os.ErrNotExist):
			results[i].Err = &diag.PluginError{Reason: diag.ErrNotFound, Summary: "no object " + it.Key}
		case err != nil:
			results[i].Err = err
		case info.Size() != it.Size:
			results[i].Err = &diag.PluginError{Reason: diag.ErrCorrupt, Summary: "object " + it.Key + " has another size"}
		case it.Transfer == model.TransferView:
			results[i].Path = from
		default:
			results[i].Path, results[i].Err = it.Path, copyFile(from, it.Path)
		}
	}
	return results, nil
}

func (s *DirStore) Stat(_ context.Context, keys []string) ([]model.ItemResult, error) {
	results := make([]model.ItemResult, len(keys))
	for i, k := range keys {
		if _, err := os.Stat(s.Path(k)); err != nil {
			results[i].Err = &diag.PluginError{Reason: diag.ErrNotFound}
		}
	}
	return results, nil
}

func (s *DirStore) Delete(_ context.Context, keys []string) ([]model.ItemResult, error) {
	for _, k := range keys {
		os.Remove(s.Path(k))
	}
	return make([]model.ItemResult, len(keys)), nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// OneStack gives the same stack to every run.
type OneStack struct {
	Store    *DirStore
	Parallel int
	Findings []StepFinding
	mu       sync.Mutex
	Open     int
}

func (s *OneStack) OpenStack(context.Context, model.StackSnapshot) (Stack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Open++
	return openStack{s}, nil
}

type openStack struct{ s *OneStack }

func (o openStack) Orchestrator() Orchestrator   { return o }
func (o openStack) ArtifactStore() ArtifactStore { return o.s.Store }

func (o openStack) Close() error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	o.s.Open--
	return nil
}

func (o openStack) Facts() model.OrchestratorFacts {
	return model.OrchestratorFacts{Attached: true, MaxParallel: o.s.Parallel}
}

func (o openStack) CanRun(context.Context, []PlannedStep) ([]StepFinding, error) {
	return o.s.Findings, nil
}

// StepFunc is a step of a scripted program. It writes its result itself where it
// returns a nil Result and no error.
type StepFunc func(ctx context.Context, job Job) (*artifact.Result, error)

// Program is a pipeline program that runs jobs by function.
type Program struct {
	Engine  *Engine
	Run     string
	Session string
	Slots   int
	Steps   map[string]StepFunc

	mu      sync.Mutex
	held    map[string]context.CancelFunc
	changed chan struct{}
	working int
	Most    int // steps at once
	Started []string
	// Outcomes by step, of the last attempt.
	Outcomes map[string]Completion
	wg       sync.WaitGroup
}

// Play opens a session and runs jobs until the run is done.
func (p *Program) Play(ctx context.Context) (model.RunState, error) {
	p.held, p.changed, p.Outcomes = map[string]context.CancelFunc{}, make(chan struct{}, 1), map[string]Completion{}
	sess, err := p.Engine.OpenSession(ctx, p.Run, p.Session)
	if err != nil {
		return "", err
	}
	defer sess.End()
	ctx, cancel := context.WithCancel(ctx)
	defer p.wg.Wait()
	defer cancel()
	for {
		reply, err := p.next(ctx)
		if err != nil {
			return "", err
		}
		if reply.Done {
			return reply.RunState, nil
		}
		for _, job := range reply.Start {
			p.begin(ctx, job)
		}
		p.mu.Lock()
		for _, id := range reply.Stop {
			if stop := p.held[id]; stop != nil {
				stop()
			}
		}
		p.mu.Unlock()
	}
}

// next polls, and polls anew when the program has changed meanwhile.
func (p *Program) next(ctx context.Context) (JobReply, error) {
	p.mu.Lock()
	req := JobRequest{Run: p.Run, Session: p.Session, FreeSlots: p.Slots - len(p.held)}
	for id := range p.held {
		req.Held = append(req.Held, id)
	}
	p.mu.Unlock()
	pctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.changed:
			cancel()
		case <-pctx.Done():
		}
	}()
	reply, err := p.Engine.NextJob(pctx, req)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return JobReply{}, nil
	}
	return reply, err
}

func (p *Program) begin(ctx context.Context, job Job) {
	jctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	_, twice := p.held[job.Attempt]
	if !twice {
		p.held[job.Attempt] = cancel
		p.Started = append(p.Started, job.Step)
	}
	p.mu.Unlock()
	if twice {
		cancel()
		return
	}
	p.wg.Go(func() {
		defer cancel()
		p.count(1)
		res, err := p.Steps[job.Function](jctx, job)
		p.count(-1)
		if res != nil || err != nil {
			// The directory of an attempt that was fenced is gone.
			if werr := Leave(job, res, err); werr != nil && !errors.Is(werr, os.ErrNotExist) {
				panic(werr)
			}
		}
		c, err := p.Engine.CompleteJob(ctx, job.Run, p.Session, job.Attempt)
		p.mu.Lock()
		if err == nil {
			p.Outcomes[job.Step] = c
		}
		delete(p.held, job.Attempt)
		p.mu.Unlock()
		select {
		case p.changed <- struct{}{}:
		default:
		}
	})
}

func (p *Program) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working += n
	p.Most = max(p.Most, p.working)
}

// Leave writes a job's result.
func Leave(job Job, res *artifact.Result, err error) error {
	if res == nil {
		res = &artifact.Result{}
	}
	res.Format, res.Run, res.Step, res.Attempt, res.Incarnation = artifact.ResultFormat, job.Run, job.Step, job.Attempt, job.Incarnation
	if err != nil {
		res.Outputs, res.Failure = nil, &artifact.Failure{Message: err.Error(), Kind: artifact.FailureError}
		var f *artifactFailure
		if errors.As(err, &f) {
			res.Failure = &f.Failure
		}
	}
	return artifact.WriteResult(job.Dir, res)
}

type artifactFailure struct{ artifact.Failure }

func (f *artifactFailure) Error() string { return f.Message }

// Permanent is a step's error that another attempt cannot mend.
func Permanent(message string) error {
	return &artifactFailure{artifact.Failure{Message: message, Permanent: true, Kind: artifact.FailureError}}
}

// Value is a result with one inline output, called "out".
func Value(format string, args ...any) *artifact.Result {
	return &artifact.Result{Outputs: []artifact.ResultOutput{{Name: "out", Inline: fmt.Appendf(nil, format, args...)}}}
}

// StepNode is a step that gives "out" and takes the "out" of others.
func StepNode(name string, from ...string) model.Node {
	n := model.Node{Name: name, Kind: model.NodeStep, Step: &model.Step{
		Function: name, Outputs: []model.Output{{Name: "out", Type: model.DataType{MediaType: "application/json"}}},
	}}
	for _, f := range from {
		n.Inputs = append(n.Inputs, model.Input{Name: f, Node: f, Output: "out"})
	}
	return n
}

// Until waits for a condition.
func Until(what string, ok func() bool) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return nil
		}
	}
	return errors.New("never came: " + what)
}
