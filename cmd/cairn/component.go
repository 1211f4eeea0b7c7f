package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// componentType is a type of component as people type it. A further type is one
// entry in componentTypes.
type componentType struct {
	// name is the noun on the command line and the type in the API.
	name string
	// title and plural are for texts.
	title, plural string
	// short is the letter of its flag in stack register and update.
	short string
	// example is an option of its local flavor, for help texts.
	example string
}

func componentTypes() []componentType {
	return []componentType{
		{name: "orchestrator", title: "orchestrator", plural: "orchestrators", short: "o", example: "--max-parallel 4"},
		{name: "artifact-store", title: "artifact store", plural: "artifact stores", short: "a", example: "--path ./elsewhere"},
	}
}

func (c *cli) componentCommand(t componentType) *cobra.Command {
	cmd := c.noun(t.name, "Register and look after "+t.plural,
		fmt.Sprintf("A component is a configured flavor with a name of its own. These commands look\nafter the %s that stacks are made of.", t.plural),
		c.componentRegister(t), c.componentList(t), c.componentDescribe(t), c.componentUpdate(t),
		c.componentRename(t), c.componentCopy(t), c.componentDelete(t), c.componentFlavors(t))
	cmd.Example = fmt.Sprintf("  cairn %s list\n  cairn %s register my_%s --flavor local %s", t.name, t.name, short(t), t.example)
	return cmd
}

// short is the last word of a type, for names in examples.
func short(t componentType) string { return t.name[strings.LastIndex(t.name, "-")+1:] }

func (c *cli) componentRegister(t componentType) *cobra.Command {
	var labels []string
	cmd := &cobra.Command{
		Use:   "register NAME --flavor FLAVOR [--OPTION VALUE ...]",
		Short: "Register " + article(t.title),
		Long: "Register " + article(t.title) + `. The options are those of its flavor: name the flavor to see
them, with --flavor F --help. A secret option takes a reference to a secret,
{{NAME.KEY}}, and never a value.` + exits(exitInvalid, exitNotFound+" (no such flavor)", exitRefused, exitPlugin),
		Example: fmt.Sprintf("  cairn %[1]s register my_%[2]s --flavor local %[3]s\n  cairn %[1]s register --flavor local --help\n  cairn %[1]s register my_%[2]s --flavor local --config options.yaml", t.name, short(t), t.example),
		Args:    needs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			flavor := cmd.Flag("flavor").Value.String()
			if flavor == "" {
				return usageError("'%s' needs --flavor", cmd.CommandPath()).WithHint("cairn %s flavor list", t.name)
			}
			set, err := parseLabels(labels)
			if err != nil {
				return err
			}
			config, err := configFrom(cmd)
			if err != nil {
				return err
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.RegisterComponent(cmd.Context(), &apiv1.RegisterComponentRequest{
				Type: t.name, Name: args[0], Flavor: flavor, Config: config, Labels: set,
			})
			if err != nil {
				return err
			}
			return c.done(componentOf(res.GetComponent()), "Registered %s %s (flavor %s).", t.title, res.GetComponent().GetName(), res.GetComponent().GetFlavor())
		},
	}
	cmd.Flags().StringP("flavor", "f", "", "flavor of the "+t.title+", a `NAME`")
	completeFlag(cmd, "flavor", c.completeAll(flavorNames(t.name)))
	addLabelFlag(cmd, &labels)
	addConfigFlag(cmd)
	optionsBy(cmd, t.name, byFlavor)
	return cmd
}

func (c *cli) componentList(t componentType) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the " + t.plural,
		Long:    "List the " + t.plural + ", and the stacks that they are in." + exits(exitInvalid),
		Example: fmt.Sprintf("  cairn %[1]s list\n  cairn %[1]s list --output json", t.name),
		Args:    needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListComponents(cmd.Context(), &apiv1.ListComponentsRequest{Type: t.name})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetComponents(), componentOf)
			return c.show(views, func(p *page) {
				var rows [][]string
				for _, v := range views {
					state := mapText(v.Labels)
					if v.Attention != "" {
						state = p.style.yellow("needs attention")
					}
					rows = append(rows, []string{p.style.bold(v.Name), v.Flavor, fmt.Sprint(v.Revision), strings.Join(v.Stacks, ", "), state})
				}
				p.table([]string{"NAME", "FLAVOR", "REVISION", "STACKS", "LABELS"}, rows)
			})
		},
	}
}

func (c *cli) componentDescribe(t componentType) *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME",
		Aliases:           []string{"get"},
		Short:             "Show " + article(t.title) + " with its options",
		Long:              "Show " + article(t.title) + " with its options as they were registered. References to\nsecrets are shown as references." + exits(exitInvalid, exitNotFound),
		Example:           fmt.Sprintf("  cairn %[1]s describe default\n  cairn %[1]s describe default --output yaml", t.name),
		Args:              needs("NAME"),
		ValidArgsFunction: c.complete(componentNames(t.name)),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetComponent(cmd.Context(), &apiv1.GetComponentRequest{Type: t.name, Name: args[0]})
			if err != nil {
				return err
			}
			v := componentOf(res.GetComponent())
			return c.show(v, func(p *page) {
				p.fields(
					field{"Name", p.style.bold(v.Name)}, field{"Type", t.title}, field{"Flavor", v.Flavor},
					field{"Revision", fmt.Sprint(v.Revision)}, field{"Built in", yesText(v.BuiltIn)},
					field{"Stacks", strings.Join(v.Stacks, ", ")}, field{"Labels", mapText(v.Labels)}, field{"Id", v.ID},
					field{"Created", whenText(v.CreatedAt)}, field{"Updated", whenText(v.UpdatedAt)},
					field{"Attention", p.style.yellow(v.Attention)})
				p.section("Options")
				p.config(v.Config)
			})
		},
	}
}

func (c *cli) componentUpdate(t componentType) *cobra.Command {
	var labels, removeLabels, unset []string
	cmd := &cobra.Command{
		Use:   "update NAME [--OPTION VALUE ...]",
		Short: "Change the options or labels of " + article(t.title),
		Long: "Change the options or labels of " + article(t.title) + `. What is not named stays as it is.
Each change is a new revision; runs keep the one that they were made with.` + exits(exitInvalid, exitNotFound, exitRefused, exitPlugin),
		Example: fmt.Sprintf("  cairn %[1]s update my_%[2]s %[3]s\n  cairn %[1]s update my_%[2]s --label team=vision --remove-label old\n  cairn %[1]s update my_%[2]s --help", t.name, short(t), t.example),
		Args:    needs("NAME"), ValidArgsFunction: c.complete(componentNames(t.name)),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, err := parseLabels(labels)
			if err != nil {
				return err
			}
			config, err := configFrom(cmd)
			if err != nil {
				return err
			}
			if config, err = withNulls(config, unset); err != nil {
				return err
			}
			if len(set)+len(removeLabels) == 0 && string(config) == "{}" {
				return usageError("there is nothing to change in %s '%s'", t.title, args[0]).
					WithHint("%s %s --help", cmd.CommandPath(), args[0])
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.UpdateComponent(cmd.Context(), &apiv1.UpdateComponentRequest{
				Type: t.name, Name: args[0], Config: config, SetLabels: set, RemoveLabels: removeLabels,
			})
			if err != nil {
				return err
			}
			return c.done(componentOf(res.GetComponent()), "Updated %s %s (revision %d).", t.title, res.GetComponent().GetName(), res.GetComponent().GetRevision())
		},
	}
	addLabelFlag(cmd, &labels)
	cmd.Flags().StringArrayVar(&removeLabels, "remove-label", nil, "take the label `KEY` away; may be repeated")
	cmd.Flags().StringArrayVar(&unset, "unset", nil, "set an `OPTION` back to its default; may be repeated")
	addConfigFlag(cmd)
	optionsBy(cmd, t.name, byComponent)
	return cmd
}

func (c *cli) componentRename(t componentType) *cobra.Command {
	return &cobra.Command{
		Use:               "rename NAME NEW_NAME",
		Short:             "Give " + article(t.title) + " another name",
		Long:              "Give " + article(t.title) + " another name. Stacks that it is in keep it." + exits(exitInvalid, exitNotFound, exitRefused),
		Example:           fmt.Sprintf("  cairn %s rename my_%[2]s team_%[2]s", t.name, short(t)),
		Args:              needs("NAME", "NEW_NAME"),
		ValidArgsFunction: c.complete(componentNames(t.name)),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.RenameComponent(cmd.Context(), &apiv1.RenameComponentRequest{Type: t.name, Name: args[0], NewName: args[1]})
			if err != nil {
				return err
			}
			return c.done(componentOf(res.GetComponent()), "Renamed %s %s to %s.", t.title, args[0], args[1])
		},
	}
}

func (c *cli) componentCopy(t componentType) *cobra.Command {
	return &cobra.Command{
		Use:               "copy NAME NEW_NAME",
		Short:             "Register a copy of " + article(t.title),
		Long:              "Register a copy of " + article(t.title) + " under another name, with the same options\nand labels." + exits(exitInvalid, exitNotFound, exitRefused),
		Example:           fmt.Sprintf("  cairn %s copy default my_%s", t.name, short(t)),
		Args:              needs("NAME", "NEW_NAME"),
		ValidArgsFunction: c.complete(componentNames(t.name)),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.CopyComponent(cmd.Context(), &apiv1.CopyComponentRequest{Type: t.name, Name: args[0], NewName: args[1]})
			if err != nil {
				return err
			}
			return c.done(componentOf(res.GetComponent()), "Copied %s %s to %s.", t.title, args[0], args[1])
		},
	}
}

func (c *cli) componentDelete(t componentType) *cobra.Command {
	return &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete " + article(t.title),
		Long:              "Delete " + article(t.title) + ". One that a stack uses cannot be deleted; what it stores\nstays where it is." + exits(exitInvalid, exitNotFound, exitRefused),
		Example:           fmt.Sprintf("  cairn %[1]s delete my_%[2]s\n  cairn %[1]s delete my_%[2]s --yes", t.name, short(t)),
		Args:              needs("NAME"),
		ValidArgsFunction: c.complete(componentNames(t.name)),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			// Looked up first, so that nobody is asked about what is not there.
			if _, err := svc.GetComponent(cmd.Context(), &apiv1.GetComponentRequest{Type: t.name, Name: args[0]}); err != nil {
				return err
			}
			if err := c.confirm("delete " + t.title + " " + args[0]); err != nil {
				return err
			}
			if _, err := svc.DeleteComponent(cmd.Context(), &apiv1.DeleteComponentRequest{Type: t.name, Name: args[0]}); err != nil {
				return err
			}
			return c.done(deletedView{Deleted: args[0]}, "Deleted %s %s.", t.title, args[0])
		},
	}
}

func (c *cli) componentFlavors(t componentType) *cobra.Command {
	list := c.flavorList(t.name)
	list.Example = fmt.Sprintf("  cairn %s flavor list", t.name)
	describe := c.flavorDescribe(t.name)
	describe.Example = fmt.Sprintf("  cairn %s flavor describe local", t.name)
	cmd := c.noun("flavor", "List the flavors of "+t.plural, "Flavors are the implementations of a component type; plugins bring them.", list, describe)
	cmd.Example = fmt.Sprintf("  cairn %s flavor list", t.name)
	return cmd
}

// article puts "a" or "an" before a noun.
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func addLabelFlag(cmd *cobra.Command, labels *[]string) {
	cmd.Flags().StringArrayVarP(labels, "label", "l", nil, "label as `KEY=VALUE`; may be repeated")
}

func parseLabels(labels []string) (map[string]string, error) {
	if len(labels) == 0 {
		return nil, nil
	}
	set := make(map[string]string, len(labels))
	for _, l := range labels {
		key, value, found := strings.Cut(l, "=")
		if !found || key == "" {
			return nil, usageError("--label takes KEY=VALUE, not '%s'", l)
		}
		set[key] = value
	}
	return set, nil
}
