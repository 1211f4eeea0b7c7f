package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func (c *cli) stackCommand() *cobra.Command {
	cmd := c.noun("stack", "Register, choose and look after stacks",
		`A stack is a named set of components: exactly one orchestrator and one artifact
store, and any of the further types. One stack is active; runs use it.`,
		c.stackRegister(), c.stackList(), c.stackDescribe(), c.stackUpdate(), c.stackRename(), c.stackCopy(),
		c.stackDelete(), c.stackSet(), c.stackGet(), c.stackValidate(), c.stackRemoveComponent())
	cmd.Example = `  cairn stack list
  cairn stack register my_stack -o default -a my_store
  cairn stack set my_stack`
	return cmd
}

// addComponentFlags gives a verb a flag for each type of component.
func (c *cli) addComponentFlags(cmd *cobra.Command) func() []*apiv1.ComponentChoice {
	chosen := map[string]*string{}
	for _, t := range componentTypes() {
		chosen[t.name] = cmd.Flags().StringP(t.name, t.short, "", "`NAME` of the "+t.title)
		completeFlag(cmd, t.name, c.completeAll(componentNames(t.name)))
	}
	return func() []*apiv1.ComponentChoice {
		var choices []*apiv1.ComponentChoice
		for _, t := range componentTypes() {
			if *chosen[t.name] != "" {
				choices = append(choices, &apiv1.ComponentChoice{Type: t.name, Name: *chosen[t.name]})
			}
		}
		return choices
	}
}

func (c *cli) stackRegister() *cobra.Command {
	var labels []string
	cmd := &cobra.Command{
		Use:   "register NAME -o ORCHESTRATOR -a ARTIFACT_STORE",
		Short: "Register a stack from components",
		Long:  "Register a stack from components that are registered." + exits(exitInvalid, exitNotFound+" (no such component)", exitRefused),
		Example: `  cairn stack register my_stack -o default -a my_store
  cairn stack register my_stack --orchestrator default --artifact-store my_store --label team=vision`,
		Args: needs("NAME"),
	}
	choices := c.addComponentFlags(cmd)
	addLabelFlag(cmd, &labels)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := parseLabels(labels)
		if err != nil {
			return err
		}
		svc, err := c.host(cmd.Context())
		if err != nil {
			return err
		}
		res, err := svc.RegisterStack(cmd.Context(), &apiv1.RegisterStackRequest{Name: args[0], Components: choices(), Labels: set})
		if err != nil {
			return err
		}
		if err := c.done(stackOf(res.GetStack()), "Registered stack %s.", args[0]); err != nil {
			return err
		}
		c.note("Make it the active one: cairn stack set %s", args[0])
		return nil
	}
	return cmd
}

func (c *cli) stackList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the stacks",
		Long:  "List the stacks; a * marks the active one." + exits(exitInvalid),
		Example: `  cairn stack list
  cairn stack list --output json`,
		Args: needs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.ListStacks(cmd.Context(), &apiv1.ListStacksRequest{Context: c.context()})
			if err != nil {
				return err
			}
			views := viewsOf(res.GetStacks(), stackOf)
			return c.show(views, func(p *page) { p.stacks(views) })
		},
	}
	c.addStackFlag(cmd, "the stack to take as the active one")
	return cmd
}

func (p *page) stacks(views []stackView) {
	header := []string{" ", "NAME"}
	types := componentTypes()
	for _, t := range types {
		header = append(header, strings.ToUpper(t.title))
	}
	header = append(header, "LABELS")
	var rows [][]string
	for _, v := range views {
		mark := ""
		if v.Active {
			mark = p.style.green("*")
		}
		row := []string{mark, p.style.bold(v.Name)}
		for _, t := range types {
			row = append(row, v.member(t.name))
		}
		rows = append(rows, append(row, mapText(v.Labels)))
	}
	p.table(header, rows)
}

// member is the name of the component of a type.
func (v stackView) member(componentType string) string {
	for _, m := range v.Components {
		if m.Type == componentType {
			return m.Name
		}
	}
	return ""
}

func (c *cli) stackDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe [NAME]",
		Short: "Show a stack and its components",
		Long:  "Show a stack and its components with their options; the active one where no\nname is given." + exits(exitInvalid, exitNotFound),
		Example: `  cairn stack describe
  cairn stack describe default --output yaml`,
		Args: needs("[NAME]"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetStack(cmd.Context(), &apiv1.GetStackRequest{Name: arg(args, 0, ""), Context: c.context()})
			if err != nil {
				return err
			}
			v := stackOf(res.GetStack()).withComponents(res.GetComponents())
			return c.show(v, func(p *page) { p.stack(v) })
		},
	}
	c.addStackFlag(cmd, "the stack to take as the active one")
	return cmd
}

func (p *page) stack(v stackView) {
	p.fields(
		field{"Name", p.style.bold(v.Name)}, field{"Active", yesText(v.Active)}, field{"Built in", yesText(v.BuiltIn)},
		field{"Revision", fmt.Sprint(v.Revision)}, field{"Labels", mapText(v.Labels)}, field{"Id", v.ID},
		field{"Created", whenText(v.CreatedAt)}, field{"Updated", whenText(v.UpdatedAt)})
	for _, m := range v.Components {
		p.section(titleOf(m.Type) + " " + m.Name)
		p.fields(field{"Flavor", m.Flavor}, field{"Attention", p.style.yellow(m.Attention)})
		p.config(m.Config)
	}
}

// titleOf is a component type in words.
func titleOf(componentType string) string {
	for _, t := range componentTypes() {
		if t.name == componentType {
			return strings.ToUpper(t.title[:1]) + t.title[1:]
		}
	}
	return componentType
}

func (c *cli) stackUpdate() *cobra.Command {
	var labels, removeLabels []string
	cmd := &cobra.Command{
		Use:   "update NAME",
		Short: "Put other components into a stack, or change its labels",
		Long:  "Put other components into a stack, or change its labels. What is not named stays.\nEach change is a new revision." + exits(exitInvalid, exitNotFound, exitRefused),
		Example: `  cairn stack update my_stack -a another_store
  cairn stack update my_stack --label team=vision --remove-label old`,
		Args: needs("NAME"), ValidArgsFunction: c.complete(c.stackNames),
	}
	choices := c.addComponentFlags(cmd)
	addLabelFlag(cmd, &labels)
	cmd.Flags().StringArrayVar(&removeLabels, "remove-label", nil, "take the label `KEY` away; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := parseLabels(labels)
		if err != nil {
			return err
		}
		if len(choices())+len(set)+len(removeLabels) == 0 {
			return usageError("there is nothing to change in stack '%s'", args[0]).WithHint("cairn stack update --help")
		}
		svc, err := c.host(cmd.Context())
		if err != nil {
			return err
		}
		res, err := svc.UpdateStack(cmd.Context(), &apiv1.UpdateStackRequest{
			Name: args[0], Set: choices(), SetLabels: set, RemoveLabels: removeLabels,
		})
		if err != nil {
			return err
		}
		return c.done(stackOf(res.GetStack()), "Updated stack %s (revision %d).", args[0], res.GetStack().GetRevision())
	}
	return cmd
}

func (c *cli) stackRename() *cobra.Command {
	return &cobra.Command{
		Use:     "rename NAME NEW_NAME",
		Short:   "Give a stack another name",
		Long:    "Give a stack another name. Where it is the active one, it stays so." + exits(exitInvalid, exitNotFound, exitRefused),
		Example: "  cairn stack rename my_stack team_stack",
		Args:    needs("NAME", "NEW_NAME"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.RenameStack(cmd.Context(), &apiv1.RenameStackRequest{Name: args[0], NewName: args[1]})
			if err != nil {
				return err
			}
			return c.done(stackOf(res.GetStack()), "Renamed stack %s to %s.", args[0], args[1])
		},
	}
}

func (c *cli) stackCopy() *cobra.Command {
	return &cobra.Command{
		Use:     "copy NAME NEW_NAME",
		Short:   "Register a copy of a stack",
		Long:    "Register a copy of a stack under another name, with the same components." + exits(exitInvalid, exitNotFound, exitRefused),
		Example: "  cairn stack copy default my_stack",
		Args:    needs("NAME", "NEW_NAME"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.CopyStack(cmd.Context(), &apiv1.CopyStackRequest{Name: args[0], NewName: args[1]})
			if err != nil {
				return err
			}
			return c.done(stackOf(res.GetStack()), "Copied stack %s to %s.", args[0], args[1])
		},
	}
}

func (c *cli) stackDelete() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a stack",
		Long: `Delete a stack. Its components stay, save with --recursive, which deletes those
that no other stack uses. Runs and artifacts stay in any case.` + exits(exitInvalid, exitNotFound, exitRefused),
		Example: `  cairn stack delete my_stack
  cairn stack delete my_stack --recursive --yes`,
		Args: needs("NAME"), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			req := &apiv1.DeleteStackRequest{Name: args[0], Recursive: recursive, DryRun: true, Context: c.context()}
			plan, err := svc.DeleteStack(cmd.Context(), req)
			if err != nil {
				return err
			}
			what := "delete stack " + args[0]
			if list := choiceTexts(plan.GetDeletedComponents()); len(list) > 0 {
				what += " and " + strings.Join(list, ", ")
			}
			if err := c.confirm(what); err != nil {
				return err
			}
			req.DryRun = false
			res, err := svc.DeleteStack(cmd.Context(), req)
			if err != nil {
				return err
			}
			return c.stackDeleted(args[0], res)
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "delete its components too, save those that another stack uses")
	return cmd
}

func (c *cli) stackDeleted(name string, res *apiv1.DeleteStackResponse) error {
	v := deletedView{Deleted: name, Components: choiceTexts(res.GetDeletedComponents()), Kept: choiceTexts(res.GetKeptComponents())}
	message := "Deleted stack " + name
	if len(v.Components) > 0 {
		message += " and " + strings.Join(v.Components, ", ")
	}
	if err := c.done(v, "%s.", message); err != nil {
		return err
	}
	if len(v.Kept) > 0 {
		c.note("Kept, in use elsewhere or built in: %s", strings.Join(v.Kept, ", "))
	}
	return nil
}

// choiceTexts gives components as TYPE/NAME.
func choiceTexts(choices []*apiv1.ComponentChoice) []string {
	var texts []string
	for _, x := range choices {
		texts = append(texts, x.GetType()+"/"+x.GetName())
	}
	return texts
}

func (c *cli) stackRemoveComponent() *cobra.Command {
	return &cobra.Command{
		Use:   "remove-component STACK TYPE[/NAME]...",
		Short: "Take components out of a stack",
		Long: `Take components out of a stack. They stay registered. The orchestrator and the
artifact store cannot be taken out, since every stack has them; put another in
their place with 'cairn stack update'.` + exits(exitInvalid, exitNotFound, exitRefused),
		Example: "  cairn stack remove-component my_stack experiment-tracker",
		Args:    needs("STACK", "TYPE..."), ValidArgsFunction: c.complete(c.stackNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var remove []*apiv1.ComponentChoice
			for _, a := range args[1:] {
				componentType, name, _ := strings.Cut(a, "/")
				remove = append(remove, &apiv1.ComponentChoice{Type: componentType, Name: name})
			}
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.UpdateStack(cmd.Context(), &apiv1.UpdateStackRequest{Name: args[0], Remove: remove})
			if err != nil {
				return err
			}
			return c.done(stackOf(res.GetStack()), "Took %s out of stack %s.", strings.Join(args[1:], ", "), args[0])
		},
	}
}
