package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

const runReference = `
A run is named by its id or a unique beginning of it, by its name, as 'latest', or
as the latest of a pipeline: training@latest.`

func (c *cli) runCommand() *cobra.Command {
	cmd := c.noun("run", "Follow, resume and look into runs",
		`A run is one execution of a pipeline on a stack. A pipeline program starts its
runs itself; these commands follow them, look into them and go on with them.
`+runReference,
		c.runList(), c.runDescribe(), c.runLogs(), c.runWatch(), c.runWait(), c.runCancel(), c.runResume(), c.runDelete())
	cmd.Example = `  cairn run list
  cairn run describe latest
  cairn run logs latest train --follow
  cairn run resume latest`
	return cmd
}

// pageSize is how many runs or artifacts are asked for at once, at most.
const pageSize = 1000

// limitFlag gives a list verb --limit.
func limitFlag(cmd *cobra.Command, limit *int, what string) {
	cmd.Flags().IntVar(limit, "limit", 50, "list at most `N` "+what+"; 0 for all")
}

// pages asks for page after page until limit is reached; 0 is no limit. It
// reports whether there was more.
func pages[M any](limit int, ask func(limit uint32, page string) ([]M, string, error)) ([]M, bool, error) {
	if limit < 0 {
		return nil, false, usageError("--limit cannot be negative")
	}
	var all []M
	page := ""
	for {
		size := pageSize
		if limit > 0 {
			size = min(size, limit-len(all))
		}
		got, next, err := ask(uint32(size), page)
		if err != nil {
			return nil, false, err
		}
		all = append(all, got...)
		if next == "" || len(got) == 0 {
			return all, false, nil
		}
		if limit > 0 && len(all) >= limit {
			return all, true, nil
		}
		page = next
	}
}

func (c *cli) runList() *cobra.Command {
	var pipeline, state string
	var limit int
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, the newest first",
		Long:  "List the runs of the project, the newest first." + exits(exitInvalid, exitNotFound),
		Example: `  cairn run list
  cairn run list --pipeline training --state failed
  cairn run list --limit 0 --output json`,
		Args: needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			runs, more, err := pages(limit, func(limit uint32, page string) ([]*apiv1.Run, string, error) {
				res, err := svc.ListRuns(cmd.Context(), &apiv1.ListRunsRequest{
					Context: c.context(), Pipeline: pipeline, State: state, Stack: c.stack,
					AllProjects: all, Limit: limit, Page: page,
				})
				return res.GetRuns(), res.GetNextPage(), err
			})
			if err != nil {
				return err
			}
			views := viewsOf(runs, runOf)
			if err := c.show(views, func(p *page) { p.runs(views, c.now()) }); err != nil {
				return err
			}
			switch {
			case more:
				c.note("There are more: --limit %d, or --limit 0 for all.", limit*4)
			case len(views) == 0:
				c.note("No runs. A pipeline program starts one: go run . or python run.py")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "only runs of this pipeline, a `NAME`")
	cmd.Flags().StringVar(&state, "state", "", "only runs in this `STATE`")
	cmd.Flags().BoolVar(&all, "all-projects", false, "runs of every project")
	limitFlag(cmd, &limit, "runs")
	c.addStackFlag(cmd, "only runs on the stack `NAME`")
	completeFlag(cmd, "pipeline", c.completeAll(c.pipelineNames))
	completeFlag(cmd, "state", fixed("running", "completed", "failed", "cancelled", "interrupted"))
	return cmd
}

func (p *page) runs(views []runView, now time.Time) {
	var rows [][]string
	for _, v := range views {
		end := v.EndedAt
		took := tookText(v.CreatedAt, end, now)
		if end == nil && v.State != "running" {
			took = "" // nobody knows when an interrupted run stopped
		}
		rows = append(rows, []string{
			p.style.bold(v.Name), p.style.state(v.State), v.stepsText(), v.Stack, whenText(v.CreatedAt), took,
		})
	}
	p.table([]string{"RUN", "STATE", "STEPS", "STACK", "STARTED", "TOOK"}, rows)
}

// getRun is a run with all that is known of it.
func (c *cli) getRun(ctx context.Context, svc api.Service, run string) (*apiv1.GetRunResponse, error) {
	return svc.GetRun(ctx, &apiv1.GetRunRequest{Context: c.context(), Run: run})
}

func (c *cli) runCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel RUN",
		Short: "Cancel a run",
		Long: `Cancel a run: its steps are stopped, and no more are started. 'cairn run resume'
goes on with it later.` + runReference + exits(exitInvalid, exitNotFound, exitRefused+" (it is over)"),
		Example: "  cairn run cancel latest",
		Args:    needs("RUN"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.CancelRun(cmd.Context(), &apiv1.CancelRunRequest{Context: c.context(), Run: args[0]})
			if err != nil {
				return err
			}
			v := runOf(res.GetRun())
			if !v.final() {
				return c.done(v, "Asked run %s to stop. Wait for it: cairn run wait %s", v.Name, v.Name)
			}
			return c.done(v, "Run %s is %s.", v.Name, v.State)
		},
	}
}

func (c *cli) runDelete() *cobra.Command {
	return &cobra.Command{
		Use:   "delete RUN",
		Short: "Delete a run and its logs",
		Long: `Delete a run and its logs. The artifacts that it made stay. A run that is not over
cannot be deleted.` + runReference + exits(exitInvalid, exitNotFound, exitRefused),
		Example: "  cairn run delete training-3\n  cairn run delete training-3 --yes",
		Args:    needs("RUN"), ValidArgsFunction: c.complete(c.runNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			run, err := c.getRun(cmd.Context(), svc, args[0])
			if err != nil {
				return err
			}
			v := runOf(run.GetRun())
			if err := c.confirm(fmt.Sprintf("delete run %s and its logs", v.Name)); err != nil {
				return err
			}
			if _, err := svc.DeleteRun(cmd.Context(), &apiv1.DeleteRunRequest{Context: c.context(), Run: v.ID}); err != nil {
				return err
			}
			return c.done(deletedView{Deleted: v.Name}, "Deleted run %s.", v.Name)
		},
	}
}
