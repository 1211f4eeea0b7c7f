package pipeline

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/artifact"
)

// progress tells how a run goes: plain lines, and on a terminal, below them, one
// line that says what runs now.
type progress struct {
	mu      sync.Mutex
	w       io.Writer
	live    bool
	color   bool
	traced  *traced
	running map[string]time.Time // by step
	// unanswered are the attempts whose result stands and whose outcome the host
	// has not told yet, by step.
	unanswered map[string]*unanswered
	paused     string // why the run waits for its journal
	began      time.Time
	shown      bool // the live line stands there
	stop       chan struct{}
	stopped    bool
	run        *apiv1.Run
}

// unanswered is an attempt that has ended.
type unanswered struct {
	job    *apiv1.Job
	result *artifact.Result
}

func newProgress(w io.Writer, terminal bool, t *traced) *progress {
	_, noColor := os.LookupEnv("NO_COLOR")
	live := terminal && os.Getenv("TERM") != "dumb"
	return &progress{
		w: w, live: live, color: live && !noColor, traced: t,
		running: map[string]time.Time{}, unanswered: map[string]*unanswered{}, began: time.Now(), stop: make(chan struct{}),
	}
}

// begin says what runs where.
func (p *progress) begin(run *apiv1.Run, resumed bool) {
	p.run = run
	verb := "Run"
	if resumed {
		verb = "Going on with run"
	}
	steps := count(len(p.traced.byName), "step")
	if n := run.GetSteps()["completed"]; n > 0 {
		steps += fmt.Sprintf(", %d completed before", n)
	}
	p.line("%s %s of pipeline %s on stack %s: %s", verb, p.bold(run.GetName()), run.GetPipeline(), p.bold(run.GetStack()), steps)
	if p.live {
		go p.refresh()
	}
}

func (p *progress) refresh() {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// draw shows the live line. The caller holds the lock.
func (p *progress) draw() {
	if !p.live || p.stopped {
		return
	}
	p.erase()
	if len(p.running) == 0 {
		return
	}
	var parts []string
	for _, step := range slices.Sorted(maps.Keys(p.running)) {
		parts = append(parts, fmt.Sprintf("%s %s", step, seconds(time.Since(p.running[step]))))
	}
	const most = 3
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("and %d more", len(p.running)-most))
	}
	fmt.Fprintf(p.w, "  … %s", strings.Join(parts, ", "))
	p.shown = true
}

func (p *progress) erase() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[2K")
		p.shown = false
	}
}

// line prints a line above the live one.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print(format, args...)
}

func (p *progress) print(format string, args ...any) {
	p.erase()
	fmt.Fprintf(p.w, format+"\n", args...)
	p.draw()
}

// note says something that is about no step.
func (p *progress) note(format string, args ...any) { p.line("! "+format, args...) }

// pause says that the run waits, and why, or that it goes on again ("").
func (p *progress) pause(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case why == p.paused:
		return
	case why == "":
		p.print("! the run goes on")
	case p.paused == "":
		p.print("! the run pauses: %s\n  it is tried again until it works; steps that run go on; Ctrl-C cancels", oneLine(why))
	}
	p.paused = why
}

// started says that an attempt begins.
func (p *progress) started(job *apiv1.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What the step waits for is published, although the answer that says so may
	// still be on its way.
	for _, before := range p.traced.before(job.GetStep()) {
		if u := p.unanswered[before]; u != nil {
			p.published(u.job, u.result)
			delete(p.unanswered, before)
		}
	}
	p.running[job.GetStep()] = time.Now()
	attempt := ""
	if job.GetAttemptNumber() > 1 {
		attempt = fmt.Sprintf(" (attempt %d)", job.GetAttemptNumber())
	}
	if p.live && attempt == "" {
		p.draw()
		return
	}
	p.print("  %s %s%s", p.dim("·"), job.GetStep(), attempt)
}

// returned says that the result of an attempt stands.
func (p *progress) returned(job *apiv1.Job, r *artifact.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, job.GetStep())
	p.unanswered[job.GetStep()] = &unanswered{job, r}
}

func took(r *artifact.Result) string {
	return seconds(time.Duration(r.EndedUS-r.StartedUS) * time.Microsecond)
}

func (p *progress) published(job *apiv1.Job, r *artifact.Result) {
	p.print("  %s %s  %s%s", p.green("✓"), job.GetStep(), p.dim(took(r)), metricsText(r.Metrics))
}

// ended says how an attempt ended, as the host answered.
func (p *progress) ended(job *apiv1.Job, r *artifact.Result, res *apiv1.CompleteJobResponse, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := p.unanswered[job.GetStep()]
	told := u == nil || u.job != job
	if !told {
		delete(p.unanswered, job.GetStep())
	}
	switch {
	case told:
	case err != nil:
		p.print("  ! %s ended after %s, and the host did not answer: %v", job.GetStep(), took(r), err)
	case res.GetOutcome() == "published":
		p.published(job, r)
	case res.GetOutcome() == "failed":
		p.print("  %s %s  %s  %s", p.red("✗"), job.GetStep(), p.dim(took(r)), p.whyFailed(job, r, res))
	default:
		p.print("  - %s  %s  %s", job.GetStep(), p.dim(took(r)), firstNonEmpty(res.GetDetail(), res.GetOutcome()))
	}
}

func (p *progress) whyFailed(job *apiv1.Job, r *artifact.Result, res *apiv1.CompleteJobResponse) string {
	message := res.GetDetail()
	if r.Failure != nil {
		message = r.Failure.Message
	}
	text := oneLine(message)
	n := p.traced.byName[job.GetStep()]
	if n != nil && n.opts.retries != nil && *n.opts.retries > 0 {
		text = fmt.Sprintf("attempt %d of at most %d: %s", job.GetAttemptNumber(), *n.opts.retries+1, text)
	}
	return text
}

// end takes the live line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	if !p.stopped {
		p.stopped = true
		close(p.stop)
	}
}

// conclude says how the run ended, where its artifacts are, and what to do
// next.
func (p *progress) conclude(res *apiv1.GetRunResponse, logPath string) {
	run := res.GetRun()
	state := run.GetState()
	switch state {
	case "completed":
		state = p.green(state)
	case "failed":
		state = p.red(state)
	}
	p.line("Run %s %s in %s", p.bold(run.GetName()), state, seconds(time.Since(p.began)))
	failed := 0
	for _, s := range res.GetSteps() {
		if s.GetState() == "failed" {
			p.failedStep(s)
			failed++
		}
	}
	if failed == 0 && run.GetState() != "completed" && run.GetError() != "" {
		p.line("  %s", run.GetError())
	}
	p.artifacts(res)
	if logPath != "" && run.GetState() != "completed" {
		p.line("Log: %s", logPath)
	}
	p.next(res)
}

func (p *progress) failedStep(s *apiv1.StepRun) {
	p.line("\n%s step '%s' failed: %s", p.red("✗"), s.GetName(), strings.ReplaceAll(s.GetError(), "\n", "\n    "))
	if n := len(s.GetAttempts()); n > 0 {
		if trace := s.GetAttempts()[n-1].GetTrace(); trace != "" {
			p.line("    %s", strings.ReplaceAll(trace, "\n", "\n    "))
		}
	}
	if s.GetHint() != "" {
		p.line("  hint: %s", s.GetHint())
	}
}

func (p *progress) artifacts(res *apiv1.GetRunResponse) {
	var rows [][2]string
	for _, s := range res.GetSteps() {
		for _, a := range s.GetOutputs() {
			if a.GetArtifact() != "" {
				rows = append(rows, [2]string{fmt.Sprintf("%s:%d", a.GetArtifact(), a.GetVersion()), "of step " + s.GetName()})
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	where := ""
	for _, c := range res.GetStack() {
		if c.GetType() == "artifact_store" || c.GetType() == "artifact-store" {
			where = fmt.Sprintf(", in artifact store %s (%s)", c.GetName(), firstNonEmpty(c.GetDirectory(), c.GetFlavor()))
		}
	}
	p.line("\nArtifacts%s:", where)
	const most = 20
	if len(rows) > most {
		rows = append(rows[:most:most], [2]string{fmt.Sprintf("and %d more", len(rows)-most), ""})
	}
	var b strings.Builder
	printColumns(&b, rows)
	p.line("%s", strings.TrimSuffix(b.String(), "\n"))
}

// next says what to try now.
func (p *progress) next(res *apiv1.GetRunResponse) {
	run := res.GetRun()
	rows := [][2]string{{"cairn run describe " + run.GetName(), "steps, parameters, what made it"}}
	if run.GetState() == "completed" {
		rows = append(rows, [2]string{"cairn artifact list", "all artifacts and their versions"})
		if a := lastArtifact(res); a != "" {
			rows = append(rows, [2]string{"cairn artifact get " + a + " --to FILE", "the content"},
				[2]string{"cairn artifact lineage " + a, "what it was made from"})
		}
	} else {
		for _, s := range res.GetSteps() {
			if s.GetState() == "failed" {
				rows = append(rows, [2]string{"cairn run logs " + run.GetName() + " " + s.GetName(), "the log of the step"})
			}
		}
		rows = append(rows, [2]string{firstNonEmpty(res.GetResumeCommand(), "cairn run resume "+run.GetName()), "go on with it, once it is mended"})
	}
	p.line("\nNext:")
	var b strings.Builder
	printColumns(&b, rows)
	p.line("%s", strings.TrimSuffix(b.String(), "\n"))
}

// lastArtifact is the last one with a name of its own, else the last one.
func lastArtifact(res *apiv1.GetRunResponse) string {
	last, named := "", ""
	for _, s := range res.GetSteps() {
		for _, a := range s.GetOutputs() {
			if a.GetArtifact() == "" {
				continue
			}
			last = fmt.Sprintf("%s:%d", a.GetArtifact(), a.GetVersion())
			if !strings.HasPrefix(a.GetArtifact(), s.GetName()+".") {
				named = last
			}
		}
	}
	return firstNonEmpty(named, last)
}

func metricsText(metrics artifact.Metrics) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		fmt.Fprintf(&b, "  %s=%.4g", name, metrics[name])
	}
	return b.String()
}

func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func firstNonEmpty(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func (p *progress) paint(code, s string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *progress) bold(s string) string  { return p.paint("1", s) }
func (p *progress) dim(s string) string   { return p.paint("2", s) }
func (p *progress) green(s string) string { return p.paint("32", s) }
func (p *progress) red(s string) string   { return p.paint("31", s) }
