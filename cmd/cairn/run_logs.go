package main

import (
	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func (c *cli) runLogs() *cobra.Command {
	var follow bool
	var attempt uint32
	var offset int64
	cmd := &cobra.Command{
		Use:   "logs [RUN] [STEP]",
		Short: "Print the log of a step, or of the run",
		Long: `Print the log of a step, or the run's own log where no step is named: what the
program wrote to its standard output and error. With --follow it goes on until
the step or the run ends. The latest run where none is named.` + runReference + exits(exitInvalid, exitNotFound, "130 interrupted by Ctrl-C"),
		Example: `  cairn run logs latest train
  cairn run logs latest train --follow
  cairn run logs training-3 train --attempt 1`,
		Args: needs("[RUN]", "[STEP]"), ValidArgsFunction: c.complete(c.runNames, c.stepNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if attempt > 0 && len(args) < 2 {
				return usageError("--attempt needs a STEP").WithHint("cairn run logs %s STEP --attempt %d", arg(args, 0, "latest"), attempt)
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			return svc.ReadLog(cmd.Context(), &apiv1.ReadLogRequest{
				Context: c.context(), Run: arg(args, 0, "latest"), Step: arg(args, 1, ""),
				Attempt: attempt, Offset: offset, Follow: follow,
			}, func(res *apiv1.ReadLogResponse) error {
				_, err := c.stdout.Write(res.GetData())
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the step or the run ends")
	cmd.Flags().Uint32Var(&attempt, "attempt", 0, "the attempt with number `N`; the newest where none is given")
	cmd.Flags().Int64Var(&offset, "offset", 0, "begin at byte `N`")
	return cmd
}
