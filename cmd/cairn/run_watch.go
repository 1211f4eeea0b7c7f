package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// lookEvery is how often a run is looked at while its events are awaited: the
// death of its owner makes no event, and a live view shows time going by.
const lookEvery = 500 * time.Millisecond

func (c *cli) runWatch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch [RUN]",
		Short: "Show a run's progress until it is over",
		Long: `Show a run's progress until it is over: on a terminal a live view of the steps,
elsewhere a line for each event; with --output json a JSON object a line. The
latest where none is named. How the run ends does not change the exit code; see
'cairn run wait'.` + runReference + exits(exitInvalid, exitNotFound, "130 interrupted by Ctrl-C (the run goes on)"),
		Example: `  cairn run watch
  cairn run watch training@latest --output json`,
		Args: needs("[RUN]"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := c.watcherFor(cmd.Context(), arg(args, 0, "latest"))
			if err != nil {
				return err
			}
			if c.format == formatTable && isTerminal(c.stdout) {
				err = w.live(cmd.Context())
			} else {
				err = w.plain(cmd.Context())
			}
			if err != nil {
				return err
			}
			c.note("Run %s is %s.", w.run.Name, c.styleFor(c.stderr).state(w.run.State))
			return nil
		},
	}
}

func (c *cli) runWait() *cobra.Command {
	return &cobra.Command{
		Use:   "wait [RUN]",
		Short: "Wait until a run is over, and exit as it did",
		Long: `Wait until a run is over, and exit with a code that says how it ended. The latest
where none is named.` + runReference + `

Exit codes: 0 the run completed, 2 usage or invalid, 3 not found, 5 the run
failed, 6 it was interrupted (resume it), 130 it was cancelled, or you pressed
Ctrl-C.`,
		Example: "  cairn run wait latest && echo well done",
		Args:    needs("[RUN]"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, err := c.watcherFor(cmd.Context(), arg(args, 0, "latest"))
			if err != nil {
				return err
			}
			if err := w.follow(cmd.Context(), nil, nil); err != nil {
				return err
			}
			if w.run.State == "completed" {
				return c.done(w.run, "Run %s is completed.", w.run.Name)
			}
			if c.format != formatTable {
				if err := encode(c.stdout, c.format, w.run); err != nil {
					return err
				}
			}
			return w.run.failure()
		},
	}
}

// failure is the error of a run that is over and did not complete.
func (v runView) failure() error {
	var code diag.Code
	switch v.State {
	case "completed":
		return nil
	case "cancelled":
		code = diag.Cancelled
	case "interrupted":
		code = diag.Interrupted
	default:
		code = diag.RunFailed
	}
	e := diag.Errorf(code, "run %s is %s", v.Name, v.State)
	if v.Error != "" {
		e.WithDetail("%s", v.Error)
	}
	return e.WithHint("cairn run describe %s, or go on with it: cairn run resume %s", v.Name, v.Name)
}

// watcher follows one run.
type watcher struct {
	c   *cli
	svc api.Service
	// run is as it was seen last.
	run    runView
	detail *apiv1.GetRunResponse
}

func (c *cli) watcherFor(ctx context.Context, run string) (*watcher, error) {
	svc, err := c.host(ctx)
	if err != nil {
		return nil, err
	}
	w := &watcher{c: c, svc: svc, run: runView{ID: run}}
	return w, w.look(ctx)
}

// look reads the run anew; by its id, so that "latest" stays the same run.
func (w *watcher) look(ctx context.Context) error {
	res, err := w.c.getRun(ctx, w.svc, w.run.ID)
	if err != nil {
		return err
	}
	w.detail, w.run = res, runOf(res.GetRun())
	return nil
}

// follow returns once the run is over. It calls event for each event, from the
// first on, and looked after each look at the run; either may be nil.
func (w *watcher) follow(ctx context.Context, event func(*apiv1.Event) error, looked func()) error {
	streamCtx, stop := context.WithCancel(ctx)
	defer stop()
	events := make(chan *apiv1.Event)
	ended := make(chan error, 1)
	go func() {
		req := &apiv1.WatchRunRequest{Context: w.c.context(), Run: w.run.ID, NoFollow: w.run.final()}
		ended <- w.svc.WatchRun(streamCtx, req, func(res *apiv1.WatchRunResponse) error {
			select {
			case events <- res.GetEvent():
				return nil
			case <-streamCtx.Done():
				return streamCtx.Err()
			}
		})
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case e := <-events:
			if event != nil {
				if err := event(e); err != nil {
					return err
				}
			}
		case err := <-ended:
			return w.over(ctx, err, looked)
		case <-ticker.C:
			if err := w.look(ctx); err != nil {
				return err
			}
			if looked != nil {
				looked()
			}
			// An interrupted run makes no events; one that has just ended has
			// its last ones on the way, and its stream ends by itself.
			if w.run.State == "interrupted" {
				return nil
			}
		}
	}
}

func (w *watcher) over(ctx context.Context, streamErr error, looked func()) error {
	if err := ctx.Err(); err != nil {
		return &diag.Error{Code: diag.Cancelled, Summary: "stopped watching; run " + w.run.Name + " goes on"}
	}
	// The death of the run's owner is a state to show, not an error here.
	if streamErr != nil && diag.CodeOf(streamErr) != diag.Interrupted {
		return streamErr
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	if looked != nil {
		looked()
	}
	if !w.run.final() {
		return diag.Errorf(diag.Internal, "the events of run %s ended before the run", w.run.Name).
			WithHint("cairn run watch %s", w.run.Name)
	}
	return nil
}

// plain prints a line for each event.
func (w *watcher) plain(ctx context.Context) error {
	return w.follow(ctx, func(e *apiv1.Event) error {
		v := eventOf(e)
		if w.c.format == formatJSON {
			return json.NewEncoder(w.c.stdout).Encode(v)
		}
		if w.c.format == formatYAML {
			return encode(w.c.stdout, formatYAML, []eventView{v})
		}
		_, err := io.WriteString(w.c.stdout, eventLine(v)+"\n")
		return err
	}, nil)
}

func eventLine(v eventView) string {
	at := ""
	if v.At != nil {
		at = v.At.Local().Format("15:04:05")
	}
	message := v.Message
	if message == "" {
		message = strings.ReplaceAll(v.Kind, "_", " ")
	}
	if v.Step != "" && !strings.Contains(message, v.Step) {
		message = v.Step + ": " + message
	}
	return at + "  " + message
}

// live draws the steps, and draws them again in the same place.
func (w *watcher) live(ctx context.Context) error {
	drawn := 0
	draw := func() {
		text := w.frame()
		var b strings.Builder
		if drawn > 0 {
			fmt.Fprintf(&b, "\x1b[%dA\x1b[J", drawn)
		}
		b.WriteString(text)
		drawn = strings.Count(text, "\n")
		_, _ = io.WriteString(w.c.stdout, b.String()) // the next frame shows it
	}
	draw()
	return w.follow(ctx, func(*apiv1.Event) error {
		return nil
	}, draw)
}

// frame is the run and its steps, no wider than the terminal: a line that
// wraps would break the drawing.
func (w *watcher) frame() string {
	now := w.c.now()
	p := &page{style: w.c.styleFor(w.c.stdout), width: widthOf(w.c.stdout)}
	p.line("%s  %s  %s  %s", p.style.bold(w.run.Name), p.style.state(w.run.State), w.run.stepsText(),
		p.style.dim(tookText(w.run.CreatedAt, w.run.EndedAt, now)))
	steps := viewsOf(w.detail.GetSteps(), stepOf)
	shown := mostTelling(steps, heightOf(w.c.stdout)-frameLines)
	p.steps(shown, now)
	if hidden := len(steps) - len(shown); hidden > 0 {
		p.line("%s", p.style.dim("and "+countText(hidden, "more step")))
	}
	return p.b.String()
}

// frameLines are the lines of a frame beside the steps, and the cursor's.
const frameLines = 4

// mostTelling picks at most room of the steps: those that run or went wrong
// first, then those that ended last, then those to come. They stay in order.
func mostTelling(steps []stepView, room int) []stepView {
	if len(steps) <= max(room, 1) {
		return steps
	}
	ranked := make([]int, len(steps))
	for i := range ranked {
		ranked[i] = i
	}
	slices.SortStableFunc(ranked, func(a, b int) int { return stepRank(steps[a]) - stepRank(steps[b]) })
	ended := slices.IndexFunc(ranked, func(i int) bool { return steps[i].State == "completed" })
	if coming := slices.IndexFunc(ranked, func(i int) bool { return stepRank(steps[i]) > 1 }); ended >= 0 {
		if coming < 0 {
			coming = len(ranked)
		}
		slices.Reverse(ranked[ended:coming])
	}
	ranked = ranked[:max(room, 1)]
	slices.Sort(ranked)
	shown := make([]stepView, len(ranked))
	for i, at := range ranked {
		shown[i] = steps[at]
	}
	return shown
}

func stepRank(s stepView) int {
	switch s.State {
	case "running", "failed":
		return 0
	case "completed":
		return 1
	}
	return 2
}
