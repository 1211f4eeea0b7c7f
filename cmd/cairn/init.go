package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// initView is a project that a folder is the root of.
type initView struct {
	Project string `json:"project"`
	// Path is the file that says so.
	Path string `json:"path"`
	// Created is false where it was there before.
	Created bool `json:"created"`
}

func (c *cli) initCommand() *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Make a folder the root of a project",
		Long: `Make a folder the root of a project: a name space of its own for pipelines, runs
and artifacts. It writes .cairn/project.yaml, which is meant to be committed. The
folder is the one you are in, where none is given.` + exits(exitInvalid, exitRefused),
		Example: "  cairn init\n  cairn init . --project digits",
		Args:    needs("[FOLDER]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(arg(args, 0, "."))
			if err != nil {
				return diag.Errorf(diag.Invalid, "find '%s': %w", arg(args, 0, "."), err)
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.InitProject(cmd.Context(), &apiv1.InitProjectRequest{Dir: dir, Project: project})
			if err != nil {
				return err
			}
			v := initView{res.GetProject(), res.GetPath(), res.GetCreated()}
			if !v.Created {
				return c.done(v, "Project %s was there before: %s", v.Project, v.Path)
			}
			return c.done(v, "Project %s: %s", v.Project, v.Path)
		},
	}
	cmd.Flags().StringVar(&project, "project", "", "`ID` of the project; the folder's name where none is given")
	return cmd
}
