package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func (c *cli) flavorCommand() *cobra.Command {
	cmd := c.noun("flavor", "List and describe flavors",
		"A flavor is one implementation of a component type. Plugins bring them.",
		c.flavorList(""), c.flavorDescribe(""))
	cmd.Example = "  cairn flavor list\n  cairn flavor describe artifact-store local"
	return cmd
}

// flavorList lists the flavors of a type; of every type where it is empty.
func (c *cli) flavorList(componentType string) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the flavors",
		Long:    "List the flavors that the plugins found here bring." + exits(exitInvalid, exitPlugin),
		Example: "  cairn flavor list\n  cairn flavor list --output json",
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListFlavors(cmd.Context(), &apiv1.ListFlavorsRequest{Type: componentType})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetFlavors(), func(f *apiv1.Flavor) flavorView { return flavorOf(f, false) })
			return c.show(views, func(p *page) {
				var rows [][]string
				for _, v := range views {
					rows = append(rows, []string{v.Type, p.style.bold(v.Name), v.Plugin, v.Summary})
				}
				p.table([]string{"TYPE", "FLAVOR", "PLUGIN", "SUMMARY"}, rows)
			})
		},
	}
}

// flavorDescribe describes a flavor; its type is the first argument where it is
// not given here.
func (c *cli) flavorDescribe(componentType string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "describe TYPE NAME",
		Short:   "Show a flavor with its options",
		Long:    "Show a flavor with its options. With --output json, config_schema is the JSON\nSchema of its config." + exits(exitInvalid, exitNotFound, exitPlugin),
		Example: "  cairn flavor describe artifact-store local",
		Args:    needs("TYPE", "NAME"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return fixed(typeNames()...)(cmd, args, word)
			}
			return c.complete(nil, flavorNames(args[0]))(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			typeName, name := componentType, args[len(args)-1]
			if typeName == "" {
				typeName = args[0]
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			return c.describeFlavor(cmd, svc, typeName, name)
		},
	}
	if componentType != "" {
		cmd.Use, cmd.Args = "describe NAME", needs("NAME")
		cmd.ValidArgsFunction = c.complete(flavorNames(componentType))
	}
	return cmd
}

func (c *cli) describeFlavor(cmd *cobra.Command, svc api.Service, typeName, name string) error {
	res, err := svc.DescribeFlavor(cmd.Context(), &apiv1.DescribeFlavorRequest{Type: typeName, Name: name})
	if err != nil {
		return err
	}
	v := flavorOf(res.GetFlavor(), true)
	fields, err := optionFields(v.ConfigSchema)
	if err != nil {
		return fmt.Errorf("read the options of flavor %s: %w", name, err)
	}
	return c.show(v, func(p *page) {
		p.fields(field{"Flavor", p.style.bold(v.Name)}, field{"Type", v.Type}, field{"Plugin", v.Plugin},
			field{"Summary", v.Summary}, field{"Features", strings.Join(v.Features, ", ")},
			field{"Bound to this machine", yesText(v.MachineBound)})
		p.section("Options")
		if len(fields) == 0 {
			p.line("(none)")
			return
		}
		var rows [][]string
		for _, f := range fields {
			flag := optionFlag(f, func(string) bool { return false })
			rows = append(rows, []string{"--" + flag.Name, flag.Value.Type(), optionUsage(f)})
		}
		p.table([]string{"OPTION", "TYPE", "WHAT IT IS"}, rows)
	})
}

func typeNames() []string {
	var names []string
	for _, t := range componentTypes() {
		names = append(names, t.name)
	}
	return names
}
