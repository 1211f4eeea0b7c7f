package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

const artifactReference = `
An artifact version is named as NAME:VERSION, NAME:latest, NAME (its latest), or by
what made it: RUN/STEP/OUTPUT.`

func (c *cli) artifactCommand() *cobra.Command {
	cmd := c.noun("artifact", "List, fetch and verify artifacts",
		"An artifact is a named output of a step: a file or a folder. Each run that makes it\nanew makes its next version.\n"+artifactReference,
		c.artifactList(), c.artifactDescribe(), c.artifactGet(), c.artifactLineage(), c.artifactVerify())
	cmd.Example = `  cairn artifact list
  cairn artifact get model:latest --to model.json
  cairn artifact lineage model:latest`
	return cmd
}

func (c *cli) artifactList() *cobra.Command {
	var versions bool
	var limit int
	cmd := &cobra.Command{
		Use:   "list [NAME]",
		Short: "List artifacts",
		Long:  "List the project's artifacts with their latest versions, or the versions of one." + exits(exitInvalid, exitNotFound),
		Example: `  cairn artifact list
  cairn artifact list model
  cairn artifact list --all-versions --output json`,
		Args: needs("[NAME]"), ValidArgsFunction: c.complete(c.artifactNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			name := arg(args, 0, "")
			found, more, err := pages(limit, func(limit uint32, page string) ([]*apiv1.ArtifactVersion, string, error) {
				res, err := svc.ListArtifacts(cmd.Context(), &apiv1.ListArtifactsRequest{
					Context: c.context(), Name: name, AllVersions: versions || name != "", Limit: limit, Page: page,
				})
				return res.GetArtifacts(), res.GetNextPage(), err
			})
			if err != nil {
				return err
			}
			views := viewsOf(found, artifactOf)
			if err := c.show(views, func(p *page) { p.artifacts(views) }); err != nil {
				return err
			}
			if more {
				c.note("There are more: --limit %d, or --limit 0 for all.", limit*4)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&versions, "all-versions", false, "every version, not only the latest of each")
	limitFlag(cmd, &limit, "artifacts")
	return cmd
}

func (p *page) artifacts(views []artifactView) {
	var rows [][]string
	for _, v := range views {
		rows = append(rows, []string{p.style.bold(v.Reference), v.typeText(), sizeText(v.SizeBytes), v.producer(), whenText(v.CreatedAt)})
	}
	p.table([]string{"ARTIFACT", "TYPE", "SIZE", "MADE BY", "CREATED"}, rows)
}

func (c *cli) artifactDescribe() *cobra.Command {
	return &cobra.Command{
		Use:     "describe ARTIFACT",
		Short:   "Show an artifact version, and where its content is",
		Long:    "Show an artifact version: its type, size, digest and metadata, what made it, and\nwhere its content is." + artifactReference + exits(exitInvalid, exitNotFound),
		Example: "  cairn artifact describe model:latest\n  cairn artifact describe latest/train/output --output json",
		Args:    needs("ARTIFACT"), ValidArgsFunction: c.complete(c.artifactNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetArtifact(cmd.Context(), &apiv1.GetArtifactRequest{Context: c.context(), Artifact: args[0]})
			if err != nil {
				return err
			}
			v := artifactDetailView{artifactOf(res.GetArtifact()), viewsOf(res.GetLocations(), locationOf)}
			return c.show(v, func(p *page) { p.artifact(v, res.GetArtifact().GetMetadata()) })
		},
	}
}

func (p *page) artifact(v artifactDetailView, metadata map[string]string) {
	p.fields(
		field{"Artifact", p.style.bold(v.Reference)}, field{"Project", v.Project}, field{"Type", v.typeText()},
		field{"Language type", v.LanguageType}, field{"Size", fmt.Sprintf("%s (%d bytes)", sizeText(v.SizeBytes), v.SizeBytes)},
		field{"Digest", v.Digest}, field{"Made by", v.producer()}, field{"Created", whenText(v.CreatedAt)}, field{"Id", v.ID})
	if len(metadata) > 0 {
		p.section("Metadata")
		var fields []field
		for _, k := range slices.Sorted(maps.Keys(metadata)) {
			fields = append(fields, field{k, jsonText([]byte(metadata[k]))})
		}
		p.fields(fields...)
	}
	if len(v.Locations) > 0 {
		p.section("Where it is")
		for _, l := range v.Locations {
			p.line("%s", l.text())
		}
	}
}

func (c *cli) artifactVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [ARTIFACT]",
		Short: "Read stored content and compare its digest",
		Long: `Read the stored content of an artifact version, or of every one of the project, and
compare it with its digest.` + artifactReference + exits(exitInvalid, exitNotFound, "7 some content could not be reached", "8 some content is corrupt or missing"),
		Example: "  cairn artifact verify model:latest\n  cairn artifact verify",
		Args:    needs("[ARTIFACT]"), ValidArgsFunction: c.complete(c.artifactNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.VerifyArtifact(cmd.Context(), &apiv1.VerifyArtifactRequest{Context: c.context(), Artifact: arg(args, 0, "")})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetVerifications(), verificationOf)
			if err := c.show(views, func(p *page) { p.verifications(views) }); err != nil {
				return err
			}
			return verifyFailure(views)
		},
	}
}

func (p *page) verifications(views []verificationView) {
	var rows [][]string
	for _, v := range views {
		where := ""
		if v.Location != nil {
			where = v.Location.text()
		}
		rows = append(rows, []string{p.style.bold(v.Artifact.Reference), p.style.state(v.State), joinNonEmpty("; ", v.Detail, where)})
	}
	p.table([]string{"ARTIFACT", "STATE", "WHERE"}, rows)
}

// verifyFailure is the error of content that is not what it was; nil where all
// is well.
func verifyFailure(views []verificationView) error {
	bad, unreachable := 0, 0
	for _, v := range views {
		switch v.State {
		case "ok":
		case "unreachable":
			unreachable++
		default:
			bad++
		}
	}
	switch {
	case bad > 0:
		return diag.Errorf(diag.Difference, "%s of %d not what was stored", countText(bad, "content"), len(views)).
			WithHint("run the step again that made it: cairn artifact describe ARTIFACT names it")
	case unreachable > 0:
		return diag.Errorf(diag.Plugin, "%s of %d could not be reached", countText(unreachable, "content"), len(views))
	}
	return nil
}
