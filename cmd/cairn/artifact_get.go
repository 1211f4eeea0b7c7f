package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func (c *cli) artifactGet() *cobra.Command {
	var to string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "get ARTIFACT --to FILE",
		Short: "Write an artifact's content to a file or folder",
		Long: `Write the content of an artifact version to a file, or to a folder where it is one.
The digest is checked on the way. '--to -' writes a file's content to standard
output. What is there is not replaced, save with --overwrite.` + artifactReference + exits(exitInvalid, exitNotFound, exitRefused, exitPlugin, "8 the content is corrupt"),
		Example: `  cairn artifact get model:1 --to model.json
  cairn artifact get latest/evaluate/output --to - | jq .accuracy`,
		Args: needs("ARTIFACT"), ValidArgsFunction: c.complete(c.artifactNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if to == "" {
				return usageError("'%s' needs --to", cmd.CommandPath()).WithHint("cairn artifact get %s --to FILE, or --to - for standard output", args[0])
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			if to == "-" {
				return svc.ReadArtifact(cmd.Context(), &apiv1.ReadArtifactRequest{Context: c.context(), Artifact: args[0]},
					func(res *apiv1.ReadArtifactResponse) error {
						_, err := c.stdout.Write(res.GetData())
						return err
					})
			}
			path, err := filepath.Abs(to)
			if err != nil {
				return diag.Errorf(diag.Invalid, "find '%s': %w", to, err)
			}
			res, err := svc.FetchArtifact(cmd.Context(), &apiv1.FetchArtifactRequest{
				Context: c.context(), Artifact: args[0], Path: path, Overwrite: overwrite,
			})
			if err != nil {
				return err
			}
			v := fetchedView{artifactOf(res.GetArtifact()), res.GetPath()}
			return c.done(v, "Wrote %s (%s) to %s.", v.Artifact.Reference, sizeText(v.Artifact.SizeBytes), v.Path)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "`FILE` or folder to write; - for standard output")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace what is there")
	return cmd
}
