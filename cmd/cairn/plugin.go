package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func (c *cli) pluginCommand() *cobra.Command {
	cmd := c.noun("plugin", "List, describe and approve plugins",
		`A plugin is a program named cairn-plugin-NAME that brings flavors. Plugins beside
the cairn executable are trusted as they are; any other is approved once, and
again when it changed.`,
		c.pluginList(), c.pluginDescribe(), c.pluginApprove())
	cmd.Example = "  cairn plugin list\n  cairn plugin approve ~/plugins/cairn-plugin-mine"
	return cmd
}

func (c *cli) pluginList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the plugins that were found",
		Long:    "List the plugins that were found: beside the cairn executable, in the folders of\nCAIRN_PLUGIN_PATH, and in the plugins folder of the home." + exits(exitInvalid),
		Example: "  cairn plugin list\n  cairn plugin list --output json",
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListPlugins(cmd.Context(), &apiv1.ListPluginsRequest{})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetPlugins(), pluginOf)
			return c.show(views, func(p *page) {
				var rows [][]string
				for _, v := range views {
					rows = append(rows, []string{p.style.bold(v.Name), v.Version, p.style.state(v.Status), strings.Join(v.Flavors, ", "), v.Path})
				}
				p.table([]string{"PLUGIN", "VERSION", "STATUS", "FLAVORS", "PATH"}, rows)
				for _, v := range views {
					if v.Detail != "" {
						p.line("%s: %s", v.Name, v.Detail)
					}
				}
			})
		},
	}
}

func (c *cli) pluginDescribe() *cobra.Command {
	return &cobra.Command{
		Use:     "describe NAME",
		Short:   "Show a plugin, its flavors and what it is given",
		Long:    "Show a plugin: where it is, its digest, its flavors, and the environment variables\nthat it is given if they are set." + exits(exitInvalid, exitNotFound, exitPlugin),
		Example: "  cairn plugin describe local",
		Args:    needs("NAME"), ValidArgsFunction: c.complete(pluginNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.DescribePlugin(cmd.Context(), &apiv1.DescribePluginRequest{Name: args[0]})
			if err != nil {
				return err
			}
			v := pluginOf(res.GetPlugin())
			flavors := viewsOf(res.GetFlavors(), func(f *apiv1.Flavor) flavorView { return flavorOf(f, false) })
			return c.show(v, func(p *page) {
				p.fields(field{"Plugin", p.style.bold(v.Name)}, field{"Version", v.Version}, field{"Status", p.style.state(v.Status)},
					field{"Detail", v.Detail}, field{"Path", v.Path}, field{"Digest", v.Digest},
					field{"Beside cairn", yesText(v.BuiltIn)}, field{"Approved", whenText(v.ApprovedAt)},
					field{"Environment", strings.Join(v.Env, ", ")})
				p.section("Flavors")
				var rows [][]string
				for _, f := range flavors {
					rows = append(rows, []string{f.Type, p.style.bold(f.Name), f.Summary})
				}
				p.table([]string{"TYPE", "FLAVOR", "SUMMARY"}, rows)
			})
		},
	}
}

// approvedView is what came of approving a plugin.
type approvedView struct {
	Plugin pluginView `json:"plugin"`
	// PreviousDigest was approved before; absent for none.
	PreviousDigest string `json:"previous_digest,omitempty"`
	// Changed: something was approved that was not before.
	Changed bool `json:"changed"`
}

func (c *cli) pluginApprove() *cobra.Command {
	return &cobra.Command{
		Use:   "approve PATH",
		Short: "Accept a plugin as it is now",
		Long: `Accept a plugin as it is now: the digest of the file is kept, and cairn runs it
as long as the file has that digest. A plugin runs with your rights; approve only
what you trust.` + exits(exitInvalid, exitNotFound, exitRefused, exitPlugin),
		Example: "  cairn plugin approve ~/plugins/cairn-plugin-mine",
		Args:    needs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return diag.Errorf(diag.Invalid, "find '%s': %w", args[0], err)
			}
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				return diag.Errorf(diag.NotFound, "there is no file '%s'", args[0])
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			plan, err := svc.ApprovePlugin(cmd.Context(), &apiv1.ApprovePluginRequest{Path: path, DryRun: true})
			if err != nil {
				return err
			}
			if plan.GetChanged() && isTerminal(c.stdin) {
				if err := c.confirm(approvalText(plan)); err != nil {
					return err
				}
			}
			// The digest that was shown is the one that is approved.
			res, err := svc.ApprovePlugin(cmd.Context(), &apiv1.ApprovePluginRequest{Path: path, ExpectedDigest: plan.GetPlugin().GetDigest()})
			if err != nil {
				return err
			}
			v := approvedView{pluginOf(res.GetPlugin()), res.GetPreviousDigest(), res.GetChanged()}
			if !v.Changed {
				return c.done(v, "Plugin %s was approved before as it is (%s).", v.Plugin.Name, v.Plugin.Digest)
			}
			return c.done(v, "Approved plugin %s (%s).", v.Plugin.Name, v.Plugin.Digest)
		},
	}
}

func approvalText(plan *apiv1.ApprovePluginResponse) string {
	text := "let cairn run plugin " + plan.GetPlugin().GetName() + " with your rights\n  digest now:    " + plan.GetPlugin().GetDigest()
	if plan.GetPreviousDigest() != "" {
		text += "\n  digest before: " + plan.GetPreviousDigest()
	}
	return text + "\n"
}
