package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/internal/fault"
	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// boundOutput is an output of a completed step, as its consumers need it.
type boundOutput struct {
	id       string
	content  model.Content
	typ      model.DataType
	inline   []byte
	metadata map[string]json.RawMessage
	// keys of contents in the run's store, by digest; empty after a resume, when
	// the journal is asked.
	keys map[string]string
}

// offer is the result of one attempt on its way into the store.
type offer struct {
	r       *run
	id      string
	dir     string
	staging string
	step    *model.Node
	// incarnation that was handed out; empty where this host does not know it.
	incarnation string
	inputs      []handedInput

	claims []*artifact.Claim
	// values are the outputs that stand in the result itself, by digest.
	values map[string][]byte
	keys   map[string]string
	op     model.PublishStep
}

// startOffer has a goroutine look at an attempt's result; called by loop.
func (r *run) startOffer(a *attempt) {
	a.offered = true
	r.offers++
	o := &offer{
		r: r, id: a.id, dir: r.dir(a.id), staging: r.staging(), step: a.step.node,
		incarnation: a.incarnation, keys: map[string]string{}, values: map[string][]byte{},
	}
	if job := r.jobs[a.id]; job != nil {
		o.inputs = job.handed
	}
	inputs := r.bind(a.step.node)
	r.goes(func() {
		f := o.take(r.ctx)
		for _, in := range inputs {
			o.op.Inputs = append(o.op.Inputs, model.StepInput{Step: a.step.node.Name, Input: in.input.Name, ArtifactID: in.from.id})
		}
		if !r.post(func() { r.offerTaken(a, o, f) }) {
			o.release()
		}
	})
}

// offerTaken goes on with an offer that was read and stored; called by loop.
func (r *run) offerTaken(a *attempt, o *offer, f *failure) {
	r.offers--
	now := r.e.cfg.Now()
	switch {
	case a.state.Final() || r.ctx.Err() != nil:
		// Fenced meanwhile, or the host ends and a resume looks again.
		o.release()
	case f != nil && f.cancelled && a.stopBy.IsZero():
		// The program gave up without being told to: its host was gone.
		o.release()
		r.m.lose(a, "the program stopped it when it lost its host", now)
		r.m.settle(now)
	case f != nil:
		o.release()
		if a.timedOut || f.timedOut {
			f.message, f.timedOut = fmt.Sprintf("timed out after %s: %s", a.step.node.Step.Timeout, f.message), true
		}
		r.m.fail(a, *f, now)
	default:
		r.bindOutputs(a.step.node.Name, o)
		r.m.publish(a, o.op, now)
		r.after = append(r.after, func(committed bool) {
			if committed {
				r.goes(o.seal)
			} else {
				o.release()
			}
		})
	}
	r.after = append(r.after, func(committed bool) {
		if !committed {
			return
		}
		for _, w := range r.waiters[a.id] {
			w <- answer(r.completion(a.id))
		}
		delete(r.waiters, a.id)
		if f != nil {
			r.dropFiles(a)
		}
	})
}

// bindOutputs remembers what consumers of a step need.
func (r *run) bindOutputs(step string, o *offer) {
	r.outputs[step] = map[string]boundOutput{}
	for _, out := range o.op.Outputs {
		r.outputs[step][out.Output] = boundOutput{
			id: out.ID, content: out.Content, typ: out.Type, inline: out.Inline, metadata: out.Metadata, keys: o.keys,
		}
	}
}

// take reads the result and has the store hold its outputs. The failure is why
// there is nothing to publish.
func (o *offer) take(ctx context.Context) *failure {
	if err := fault.Hit("engine.offer.read"); err != nil {
		return &failure{message: err.Error()}
	}
	res, err := artifact.ReadResult(filepath.Join(o.dir, artifact.ResultFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &failure{message: "the program ended the step and left no result"}
	}
	if err != nil {
		return &failure{message: "the step's result cannot be used: " + text(err.Error())}
	}
	if f := o.check(res); f != nil {
		return f
	}
	if name := changedInput(o.inputs); name != "" {
		return &failure{
			message: fmt.Sprintf("input changed: the step wrote to its input '%s'", name), permanent: true,
			hint: "Inputs are read-only. Copy what you want to change into the step's scratch directory.",
		}
	}
	if res.Failure != nil {
		return userFailure(res.Failure)
	}
	o.op = model.PublishStep{
		Step: o.step.Name, Attempt: o.id, Incarnation: res.Incarnation,
		Metrics: model.Metrics(res.Metrics), Metadata: rawJSON(res.Metadata), Parameters: rawJSON(res.Parameters),
	}
	if res.StartedUS > 0 {
		o.op.StartedAt = res.StartedUS.Time()
	}
	if f := o.claim(ctx, res); f != nil {
		return f
	}
	return o.put(ctx)
}

// check compares an untrusted result with the attempt that it says it is of.
func (o *offer) check(res *artifact.Result) *failure {
	wrong := func(what, got, want string) *failure {
		return &failure{message: fmt.Sprintf("the step's result is of another attempt: its %s is %q, not %q", what, got, want)}
	}
	switch {
	case res.Run != o.r.id:
		return wrong("run", res.Run, o.r.id)
	case res.Step != o.step.Name:
		return wrong("step", res.Step, o.step.Name)
	case res.Attempt != o.id:
		return wrong("attempt", res.Attempt, o.id)
	case o.incarnation != "" && res.Incarnation != o.incarnation:
		return wrong("incarnation", res.Incarnation, o.incarnation)
	}
	if res.Failure != nil {
		return nil
	}
	declared := make([]string, len(o.step.Step.Outputs))
	for i, d := range o.step.Step.Outputs {
		declared[i] = d.Name
	}
	var made []string
	for _, out := range res.Outputs {
		made = append(made, out.Name)
		if !slices.Contains(declared, out.Name) {
			return &failure{message: fmt.Sprintf("the step left an output '%s' that it does not declare%s", out.Name, diag.DidYouMean(out.Name, declared))}
		}
	}
	for _, d := range declared {
		if !slices.Contains(made, d) {
			return &failure{message: fmt.Sprintf("the step left no output '%s', which it declares", d)}
		}
	}
	return nil
}

func userFailure(f *artifact.Failure) *failure {
	message := text(f.Message)
	if message == "" {
		message = "the step failed without a message"
	}
	if f.Kind == artifact.FailurePanic {
		message = "panic: " + strings.TrimPrefix(message, "panic: ")
	}
	return &failure{
		message: message, trace: clip(strings.ToValidUTF8(f.Trace, "?"), 64<<10), permanent: f.Permanent,
		timedOut: f.Kind == artifact.FailureTimeout, cancelled: f.Kind == artifact.FailureCancelled,
	}
}

// text makes untrusted text fit for one message.
func text(s string) string { return clip(strings.ToValidUTF8(s, "?"), 8<<10) }

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "..."
}

func rawJSON(values map[string]string) map[string]json.RawMessage {
	if len(values) == 0 {
		return nil
	}
	raw := make(map[string]json.RawMessage, len(values))
	for k, v := range values {
		raw[k] = json.RawMessage(v)
	}
	return raw
}

// claim makes each output's bytes safe from change, and names them.
func (o *offer) claim(ctx context.Context, res *artifact.Result) *failure {
	for _, d := range o.step.Step.Outputs {
		i := slices.IndexFunc(res.Outputs, func(out artifact.ResultOutput) bool { return out.Name == d.Name })
		out := res.Outputs[i]
		p := model.PublishedOutput{
			ID: o.r.e.newID(), Output: d.Name, Artifact: d.Artifact, Type: d.Type, Metadata: rawJSON(out.Metadata),
		}
		if p.Artifact == "" {
			p.Artifact = o.step.Name + "." + d.Name
		}
		if p.Type.MediaType == "" {
			p.Type = model.DataType{MediaType: out.Type.MediaType, LanguageType: out.Type.LanguageType}
		}
		var err error
		switch {
		case out.Tree:
			err = o.claimTree(ctx, out.Path, &p)
		case out.Path != "":
			err = o.claimFile(ctx, out.Path, &p)
		default:
			o.addValue(out.Inline, &p)
		}
		if err != nil {
			return &failure{message: fmt.Sprintf("output '%s' cannot be stored: %s", d.Name, text(err.Error()))}
		}
		o.op.Outputs = append(o.op.Outputs, p)
	}
	return nil
}

func (o *offer) options() artifact.ClaimOptions {
	return artifact.ClaimOptions{Dir: o.dir, Staging: o.staging, Owner: o.id, NoMove: !o.r.stack.ArtifactStore().Facts().Move}
}

func (o *offer) claimFile(ctx context.Context, path string, p *model.PublishedOutput) error {
	c, err := artifact.ClaimFile(ctx, path, o.options())
	if err != nil {
		return err
	}
	o.add(c, p)
	p.Content = model.Content{Digest: c.Digest, Size: c.Size}
	if c.Size > artifact.MaxInline {
		return nil
	}
	if p.Inline, err = os.ReadFile(c.Path); err != nil {
		return err
	}
	if p.Inline == nil {
		p.Inline = []byte{}
	}
	return nil
}

// addValue has a value of the result stored: it is in memory, so that nobody
// can change it.
func (o *offer) addValue(value []byte, p *model.PublishedOutput) {
	p.Inline = append([]byte{}, value...)
	p.Content = model.Content{Digest: artifact.HashBytes(p.Inline), Size: int64(len(p.Inline))}
	o.values[p.Content.Digest] = p.Inline
	o.locate(p.Content.Digest, p)
}

func (o *offer) claimTree(ctx context.Context, path string, p *model.PublishedOutput) error {
	t, err := artifact.ClaimTree(ctx, path, o.options())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range t.Files {
		if seen[c.Digest] {
			c.Release()
			continue
		}
		seen[c.Digest] = true
		o.add(c, p)
		p.Files = append(p.Files, model.Content{Digest: c.Digest, Size: c.Size})
	}
	o.add(t.Manifest, p)
	p.Content = model.Content{Digest: t.Manifest.Digest, Size: t.Manifest.Size, Tree: true}
	return nil
}

func (o *offer) add(c *artifact.Claim, p *model.PublishedOutput) {
	o.claims = append(o.claims, c)
	o.locate(c.Digest, p)
}

// locate says where a content of an output will be.
func (o *offer) locate(digest string, p *model.PublishedOutput) {
	key := o.r.e.contentKey(digest)
	o.keys[digest] = key
	p.Locations = append(p.Locations, model.Location{Digest: digest, StoreID: o.r.stack.ArtifactStore().ID(), Key: key})
}

// put has the store hold the values and the claims, and proves that nobody
// reached the claims meanwhile.
func (o *offer) put(ctx context.Context) *failure {
	if err := fault.Hit("engine.put.before"); err != nil {
		return &failure{message: err.Error()}
	}
	store := o.r.stack.ArtifactStore()
	limit := store.Facts().MaxObject
	tooLarge := func(size int64) *failure {
		if limit <= 0 || size <= limit {
			return nil
		}
		return &failure{message: fmt.Sprintf("an output of %d bytes is larger than the artifact store takes (%d)", size, limit), permanent: true}
	}
	for _, value := range o.values {
		if f := tooLarge(int64(len(value))); f != nil {
			return f
		}
	}
	var items []model.PutItem
	sent := map[string]bool{}
	for _, c := range o.claims {
		if f := tooLarge(c.Size); f != nil {
			return f
		}
		if !sent[c.Digest] {
			sent[c.Digest] = true
			o.r.seen.put(c.Digest, c.Path)
			items = append(items, o.item(c))
		}
	}
	err := o.putValues(ctx, store)
	if err == nil && len(items) > 0 {
		err = putAll(ctx, store, items)
	}
	if err != nil {
		return &failure{message: "the artifact store did not take an output: " + text(err.Error()), hint: hintOf(err)}
	}
	if err := fault.Hit("engine.put.after"); err != nil {
		return &failure{message: err.Error()}
	}
	for i, c := range o.claims {
		if c.Intact() == nil {
			continue
		}
		if err := o.replace(ctx, i); err != nil {
			return &failure{message: "an output was written to while it was stored: " + text(err.Error()),
				hint: "Close an output before the step ends, and let no other process write to it."}
		}
	}
	return nil
}

// putValues stores the values, side by side where there are several.
func (o *offer) putValues(ctx context.Context, store ArtifactStore) error {
	put := func(ctx context.Context, digest string, value []byte) error {
		return again(ctx, func() error { return store.PutBytes(ctx, o.keys[digest], value, digest) })
	}
	if len(o.values) == 1 {
		for digest, value := range o.values {
			return put(ctx, digest, value)
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, store.Facts().Parallel))
	for digest, value := range o.values {
		g.Go(func() error { return put(gctx, digest, value) })
	}
	return g.Wait()
}

func (o *offer) item(c *artifact.Claim) model.PutItem {
	return model.PutItem{
		Key: o.keys[c.Digest], Path: c.Path, Size: c.Size, Digest: c.Digest, Transfer: model.Transfer(c.Transfer),
	}
}

// replace puts a private copy in the place of bytes that somebody reached.
func (o *offer) replace(ctx context.Context, i int) error {
	old := o.claims[i]
	fresh, err := old.Copy(ctx)
	if err != nil {
		o.r.deleteKey(ctx, o.keys[old.Digest])
		return err
	}
	if err := o.r.deleteKey(ctx, o.keys[old.Digest]); err != nil {
		fresh.Release()
		return err
	}
	err = putAll(ctx, o.r.stack.ArtifactStore(), []model.PutItem{o.item(fresh)})
	old.Release()
	o.claims[i] = fresh
	return err
}

func (r *run) deleteKey(ctx context.Context, key string) error {
	res, err := r.stack.ArtifactStore().Delete(ctx, []string{key})
	if err == nil && len(res) == 1 {
		err = res[0].Err
	}
	return err
}

// seal ends the program's way to what was published, after the commit, and
// removes the attempt's files.
func (o *offer) seal() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.r.ctx), time.Minute)
	defer cancel()
	for i, c := range o.claims {
		if err := c.Seal(); errors.Is(err, artifact.ErrTouched) {
			err = o.replace(ctx, i)
			if err != nil {
				o.r.log.Error("a published output was written to and could not be replaced", "step", o.step.Name, "key", o.keys[c.Digest], "error", err)
			}
		} else if err != nil {
			o.r.log.Warn("seal output", "step", o.step.Name, "error", err)
		}
	}
	o.release()
	o.r.removeFiles(o.id)
}

func (o *offer) release() {
	for _, c := range o.claims {
		c.Release()
	}
}

// putAll puts items, and again those that failed in a way that may pass.
func putAll(ctx context.Context, store ArtifactStore, items []model.PutItem) error {
	return again(ctx, func() error {
		results, err := store.PutFiles(ctx, items)
		if err != nil {
			return err
		}
		if len(results) != len(items) {
			return fmt.Errorf("the store answered %d of %d items", len(results), len(items))
		}
		var rest []model.PutItem
		for i, res := range results {
			if res.Err != nil {
				rest = append(rest, items[i])
				if err == nil || !passes(res.Err) {
					err = res.Err
				}
			}
		}
		items = rest
		return err
	})
}

// again calls f up to four times, while its error may pass.
func again(ctx context.Context, f func() error) error {
	wait := 100 * time.Millisecond
	for n := 1; ; n++ {
		err := f()
		if err == nil || n == 4 || !passes(err) {
			return err
		}
		var pe *diag.PluginError
		if errors.As(err, &pe) && pe.Wait > wait {
			wait = min(pe.Wait, 10*time.Second)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait *= 4
	}
}

// passes reports whether the same call may succeed when it is made again.
func passes(err error) bool {
	var pe *diag.PluginError
	return errors.As(err, &pe) && (pe.Retry != "" && pe.Retry != diag.RetryNever ||
		pe.Reason == diag.ErrUnavailable || pe.Reason == diag.ErrThrottled || pe.Reason == diag.ErrTimeout)
}

func hintOf(err error) string {
	var pe *diag.PluginError
	if errors.As(err, &pe) {
		return pe.Hint
	}
	return ""
}
