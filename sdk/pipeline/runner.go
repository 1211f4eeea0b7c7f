package pipeline

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const (
	// manySlots is what a program asks for where the stack sets no limit.
	manySlots = 1000
	// lastAnswers bounds the wait for answers about attempts after the run's end.
	lastAnswers = 2 * time.Second
	// hostLeave bounds the wait for the host after the run's end.
	hostLeave = 2 * time.Second
	// provenanceWait bounds what provenance may hold up the run's end.
	provenanceWait = 2 * time.Second
)

// runPipeline runs a traced pipeline on a host of its own.
func (p *program) runPipeline(ctx context.Context, o *options, t *traced) error {
	cairn, err := findCairn(p.lookup, p.dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	made := make(chan *apiv1.Provenance, 1)
	go func() { made <- provenance(ctx, p.dir, p.args) }()
	stopWaiting := p.cancelOnSignal(cancel)
	host, err := p.startHost(ctx, cairn, o)
	if err != nil {
		stopWaiting()
		return err
	}
	defer host.stderr.Close()
	r := &runner{
		program: p, options: o, traced: t, host: host, client: dial(host.socket, host.gone),
		progress: newProgress(p.stdout, p.terminal, t), jobs: map[string]*job{}, held: map[string]*job{},
		provenance: made, provenanceDone: make(chan struct{}), leaves: t.leaves(),
	}
	err = r.create(ctx)
	stopWaiting()
	if err == nil {
		err = r.drive(ctx)
	}
	if p.tee != nil {
		p.tee.end(host.gone())
	}
	host.close()
	// A host that stays is the host's concern: it holds its own locks and ends by
	// itself.
	_ = host.wait(hostLeave)
	return err
}

// startHost starts the host, and lets it have what the process prints.
func (p *program) startHost(ctx context.Context, cairn string, o *options) (*hostProcess, error) {
	env := p.environ
	if o.stack != "" {
		// The host opens the stack that it expects ahead of the request.
		env = append(slices.Clone(env), "CAIRN_STACK="+o.stack)
	}
	if !p.ownsOutput {
		return startHost(ctx, cairn, env, nil)
	}
	t, err := newTee()
	if err != nil {
		return nil, err
	}
	host, err := startHost(ctx, cairn, env, t)
	if err == nil {
		err = t.begin()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	p.tee, p.stdout = t, t.streams[0].real
	go func() {
		<-host.exited
		t.end(true)
	}()
	return host, nil
}

// cancelOnSignal ends a context at the first signal; until the returned
// function is called.
func (p *program) cancelOnSignal(cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	var once sync.Once
	go func() {
		select {
		case <-p.signals:
			cancel(diag.Errorf(diag.Cancelled, "cancelled before the run began"))
		case <-done:
		}
	}()
	return func() { once.Do(func() { close(done) }) }
}

// runner drives one run: it asks the host for attempts, runs them, and says
// when they have ended. The host decides everything else.
type runner struct {
	*program
	options  *options
	traced   *traced
	host     *hostProcess
	client   *client
	progress *progress
	run      *apiv1.Run
	slots    int
	session  string
	logPath  string
	leaves   map[string]bool

	provenance     chan *apiv1.Provenance
	provenanceDone chan struct{}

	mu sync.Mutex
	// jobs has every attempt that was ever handed out.
	jobs map[string]*job
	// held are those of jobs that the host has not answered for.
	held map[string]*job
	// full cancels a request for jobs that was made when no slot was free.
	full context.CancelFunc
	wg   sync.WaitGroup
}

// job is an attempt that the program was given.
type job struct {
	stop context.CancelCauseFunc
	// working until the result stands.
	working bool
}

func (r *runner) clientContext() *apiv1.ClientContext {
	c := &apiv1.ClientContext{WorkingDir: r.dir, Stack: r.options.stack}
	c.StackEnv, _ = r.lookup("CAIRN_STACK")
	return c
}

// create makes the run, or takes up the one to resume.
func (r *runner) create(ctx context.Context) error {
	key, err := codeKey(r.executable)
	if err != nil {
		return err
	}
	r.traced.markCode(key)
	recipe := r.recipe(r.options, key)
	if r.options.resume != "" {
		return r.resume(ctx, recipe)
	}
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a run id: %w", err)
	}
	req := &apiv1.CreateRunRequest{
		Context: r.clientContext(), Pipeline: r.traced.spec, Name: r.options.name,
		Labels: r.options.labels, Recipe: recipe, RequestId: id.String(),
	}
	select {
	case req.Provenance = <-r.provenance:
		close(r.provenanceDone)
	default:
	}
	res, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.CreateRunResponse, error) {
		return r.client.CreateRun(ctx, req)
	})
	if err != nil {
		return r.explain(err)
	}
	r.run, r.slots = res.GetRun(), int(res.GetSlots())
	if req.Provenance == nil {
		go r.recordProvenance(ctx)
	}
	return nil
}

func (r *runner) resume(ctx context.Context, recipe *apiv1.Recipe) error {
	_, takeOver := r.lookup("CAIRN_TAKE_OVER")
	req := &apiv1.ResumeRunRequest{
		Context: r.clientContext(), Run: r.options.resume, Pipeline: r.traced.spec, TakeOver: takeOver, Recipe: recipe,
	}
	close(r.provenanceDone) // a run keeps the provenance of its first start
	res, err := r.client.ResumeRun(ctx, req)
	if err != nil {
		if known := problemOf(err); known != nil {
			return known
		}
		return r.explain(lostHost(err))
	}
	r.run, r.slots = res.GetRun(), int(res.GetSlots())
	return nil
}

// recordProvenance sends what CreateRun could not wait for.
func (r *runner) recordProvenance(ctx context.Context) {
	defer close(r.provenanceDone)
	req := &apiv1.RecordProvenanceRequest{Run: r.run.GetId(), Provenance: <-r.provenance}
	_, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.RecordProvenanceResponse, error) {
		return r.client.RecordProvenance(ctx, req)
	})
	if err != nil {
		r.progress.note("the run's provenance was not recorded: %v", err)
	}
}

// awaitProvenance holds up the end of a step that may be the run's last.
func (r *runner) awaitProvenance() {
	select {
	case <-r.provenanceDone:
	case <-time.After(provenanceWait):
	}
}

// drive runs attempts until the run is final.
func (r *runner) drive(ctx context.Context) error {
	r.session = rand.Text()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.progress.begin(r.run, r.options.resume != "")
	go r.holdSession(ctx)
	go r.handleSignals(ctx)
	go func() {
		select {
		case <-r.host.exited:
			cancel(lostHost(fmt.Errorf("it ended (%s)", r.host.cmd.ProcessState)))
		case <-ctx.Done():
		}
	}()
	state, err := r.takeJobs(ctx)
	if err != nil {
		r.stopAll()
		r.progress.end()
		return r.explain(err)
	}
	r.finishAnswers()
	r.progress.end()
	return r.conclude(ctx, state)
}

// holdSession keeps the stream whose end tells the host that the program is
// gone, and takes it up again where it breaks.
func (r *runner) holdSession(ctx context.Context) {
	for ctx.Err() == nil && !r.host.gone() {
		stream, err := r.client.OpenSession(ctx, &apiv1.OpenSessionRequest{Run: r.run.GetId(), Session: r.session})
		if err == nil {
			for stream.Receive() {
				r.mu.Lock()
				r.logPath = stream.Msg().GetRunLogPath()
				r.mu.Unlock()
				r.progress.pause(stream.Msg().GetPaused())
			}
			_ = stream.Close()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// handleSignals cancels the run at the first signal, and ends the program at
// the second.
func (r *runner) handleSignals(ctx context.Context) {
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-r.signals:
		}
		if n > 1 {
			r.progress.end()
			r.progress.note("stopped at once; go on with it: cairn run resume %s", r.run.GetName())
			r.exit(diag.Cancelled.ExitCode())
			return
		}
		r.progress.note("cancelling run %s; once more (Ctrl-C) to stop at once", r.run.GetName())
		go func() {
			_, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.CancelRunResponse, error) {
				return r.client.CancelRun(ctx, &apiv1.CancelRunRequest{Context: r.clientContext(), Run: r.run.GetId()})
			})
			if err != nil && ctx.Err() == nil {
				r.progress.note("the run could not be cancelled: %v", err)
			}
		}()
	}
}

// takeJobs asks for jobs, and starts and stops them, until the run is final.
func (r *runner) takeJobs(ctx context.Context) (state string, err error) {
	for {
		res, err := r.nextJobs(ctx)
		if err != nil {
			return "", err
		}
		if res == nil {
			continue
		}
		for _, j := range res.GetStart() {
			r.startJob(ctx, j)
		}
		r.mu.Lock()
		for _, attempt := range res.GetStop() {
			if j := r.jobs[attempt]; j != nil {
				j.stop(errStopped)
			}
		}
		r.mu.Unlock()
		if res.GetDone() {
			return res.GetRunState(), nil
		}
	}
}

// nextJobs makes one request for jobs; nil where a slot became free meanwhile,
// so that it must be made again.
func (r *runner) nextJobs(ctx context.Context) (*apiv1.NextJobResponse, error) {
	req := &apiv1.NextJobRequest{Run: r.run.GetId(), Session: r.session}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	busy := 0
	for attempt, j := range r.held {
		req.Held = append(req.Held, attempt)
		if j.working {
			busy++
		}
	}
	free := r.slots - busy
	if r.slots == 0 {
		free = manySlots
	}
	req.FreeSlots = uint32(max(0, free))
	r.full = nil
	if free <= 0 {
		r.full = cancel
	}
	r.mu.Unlock()
	res, err := repeat(asking, r.client, func(ctx context.Context) (*apiv1.NextJobResponse, error) {
		return r.client.NextJob(ctx, req)
	})
	if err != nil && asking.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return res, err
}

// startJob runs an attempt, unless it was handed out before.
func (r *runner) startJob(ctx context.Context, in *apiv1.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs[in.GetAttempt()] != nil {
		return
	}
	ctx, stop := context.WithCancelCause(ctx)
	j := &job{stop: stop, working: true}
	r.jobs[in.GetAttempt()], r.held[in.GetAttempt()] = j, j
	r.progress.started(in)
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		defer stop(nil)
		r.runJob(ctx, in, j)
	}()
}

func (r *runner) runJob(ctx context.Context, in *apiv1.Job, j *job) {
	result, err := r.traced.execute(ctx, in, r.askSecret)
	r.progress.returned(in, result)
	r.mu.Lock()
	j.working = false
	if r.full != nil {
		r.full()
	}
	r.mu.Unlock()
	if err != nil {
		r.progress.note("the result of step '%s' could not be written: %v", in.GetStep(), err)
	}
	if r.leaves[in.GetStep()] || result.Failure != nil {
		r.awaitProvenance()
	}
	// The host must hear of the end even when the attempt was stopped.
	ctx = context.WithoutCancel(ctx)
	res, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.CompleteJobResponse, error) {
		return r.client.CompleteJob(ctx, &apiv1.CompleteJobRequest{Run: in.GetRun(), Session: r.session, Attempt: in.GetAttempt()})
	})
	r.mu.Lock()
	delete(r.held, in.GetAttempt())
	r.mu.Unlock()
	r.progress.ended(in, result, res, err)
}

func (r *runner) askSecret(ctx context.Context, in *apiv1.Job, name string) (map[string]string, error) {
	res, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.GetStepSecretResponse, error) {
		return r.client.GetStepSecret(ctx, &apiv1.GetStepSecretRequest{Run: in.GetRun(), Attempt: in.GetAttempt(), Name: name})
	})
	if err != nil {
		return nil, err
	}
	return res.GetValues(), nil
}

func (r *runner) stopAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.jobs {
		j.stop(errLostHost)
	}
}

// finishAnswers waits for what is still to be said about attempts. A step that
// does not heed its context is left behind.
func (r *runner) finishAnswers() {
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(lastAnswers):
	}
}

// conclude says how the run ended.
func (r *runner) conclude(ctx context.Context, state string) error {
	res, err := repeat(ctx, r.client, func(ctx context.Context) (*apiv1.GetRunResponse, error) {
		return r.client.GetRun(ctx, &apiv1.GetRunRequest{Context: r.clientContext(), Run: r.run.GetId()})
	})
	if err != nil {
		return r.explain(err)
	}
	r.mu.Lock()
	logPath := r.logPath
	r.mu.Unlock()
	r.progress.conclude(res, logPath)
	name := r.run.GetName()
	switch state {
	case "completed":
		return nil
	case "cancelled":
		return &toldError{diag.Errorf(diag.Cancelled, "run %s was cancelled", name)}
	case "failed":
		return &toldError{diag.Errorf(diag.RunFailed, "run %s failed", name)}
	}
	return diag.Errorf(diag.Interrupted, "this program's host let go of run %s", name).
		WithHint("'cairn run describe %s' says how it stands; 'cairn run resume %s' goes on with it", name, name)
}

// explain adds to an error what the run's owner can do about it.
func (r *runner) explain(err error) error {
	var e *diag.Error
	if !errors.As(err, &e) {
		return err
	}
	if r.run != nil && e.Code == diag.Interrupted && e.Hint == "" {
		e.Hint = fmt.Sprintf("go on with it: cairn run resume %s", r.run.GetName())
	}
	if errors.Is(e, errHostLost) {
		if text := r.host.messages(); text != "" && r.host.gone() {
			e.Detail += "; it said: " + lastLine(text)
		}
		if r.run == nil && e.Hint == "" {
			e.Hint = "start the program again; 'cairn status' says where the host's log is"
		}
	}
	return e
}

// before are the steps that a step waits for.
func (t *traced) before(step string) []string {
	n := t.byName[step]
	if n == nil {
		return nil
	}
	var out []string
	for _, in := range n.inputs {
		if in.from != nil {
			out = append(out, in.from.name)
		}
	}
	for _, a := range n.opts.after {
		out = append(out, a.stepNode().name)
	}
	return out
}

// leaves are the steps that no other step waits for.
func (t *traced) leaves() map[string]bool {
	out := make(map[string]bool, len(t.byName))
	for name := range t.byName {
		out[name] = true
	}
	for name := range t.byName {
		for _, before := range t.before(name) {
			delete(out, before)
		}
	}
	return out
}
