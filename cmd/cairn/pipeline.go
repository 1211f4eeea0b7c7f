package main

import (
	"fmt"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func (c *cli) pipelineCommand() *cobra.Command {
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the pipelines that have been run",
		Long:    "List the pipelines of the project that have been run, with their latest run." + exits(exitInvalid),
		Example: "  cairn pipeline list\n  cairn pipeline list --output json",
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListPipelines(cmd.Context(), &apiv1.ListPipelinesRequest{Context: c.context()})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetPipelines(), pipelineOf)
			return c.show(views, func(p *page) {
				var rows [][]string
				for _, v := range views {
					row := []string{p.style.bold(v.Name), fmt.Sprint(v.Runs), "", "", ""}
					if v.Latest != nil {
						row[2], row[3], row[4] = v.Latest.Name, p.style.state(v.Latest.State), whenText(v.Latest.CreatedAt)
					}
					rows = append(rows, row)
				}
				p.table([]string{"PIPELINE", "RUNS", "LATEST", "STATE", "STARTED"}, rows)
			})
		},
	}
	cmd := c.noun("pipeline", "List pipelines", "A pipeline is known once it has been run; it is a program that starts itself.", list)
	cmd.Example = "  cairn pipeline list"
	return cmd
}
