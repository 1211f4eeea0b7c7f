package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// flavorOptionsKey is the annotation of a command that holds the help of the
// options that its flavor has.
const flavorOptionsKey = "flavor-options"

// usageTemplate is cobra's, in fewer words, with the options of a flavor.
const usageTemplate = `Usage:{{if not .HasAvailableSubCommands}}
  {{if .HasParent}}{{.Parent.CommandPath}} {{end}}{{.Use}}{{else}}
  {{.CommandPath}} COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding }} {{.Short}}{{end}}{{end}}{{end}}{{with index .Annotations "` + flavorOptionsKey + `"}}

{{. | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

More about one: {{.CommandPath}} COMMAND --help{{end}}
`

const rootLong = `cairn is the stack layer of machine-learning pipelines: you write a pipeline
once, and run it unchanged on whichever stack is active. A stack is a named set
of components; it always has an orchestrator and an artifact store.

A pipeline is a program that starts itself: go run . or python run.py. With
cairn you look after stacks, runs and artifacts.

Environment: CAIRN_HOME (where everything is kept), CAIRN_STACK (the active
stack), NO_COLOR.

Exit codes: 0 done, 1 internal error, 2 usage or invalid, 3 not found, 4 exists,
in use or refused, 5 the run failed, 6 interrupted or taken over, 7 a plugin or
its backend, 8 a difference was found, 130 cancelled.`

const rootExample = `  cairn stack list
  cairn artifact-store register my_store --flavor local --path ./elsewhere
  cairn stack register my_stack -o default -a my_store
  cairn stack set my_stack
  cairn run logs latest train --follow`

// execute carries out one command line and gives the exit code.
func (c *cli) execute(ctx context.Context, args []string) int {
	defer c.close()
	c.format = formatIn(args)
	root := c.newRoot()
	root.SetArgs(args)
	err := c.addFlavorOptions(ctx, root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err != nil {
		return c.fail(err)
	}
	return 0
}

// formatIn finds --output before anything is parsed, so that a mistake in the
// flags is told in the format that was asked for.
func formatIn(args []string) format {
	for i, a := range args {
		value, found := strings.CutPrefix(a, "--output=")
		if a == "--output" && i+1 < len(args) {
			value, found = args[i+1], true
		}
		if found && slices.Contains(formats(), value) {
			return format(value)
		}
	}
	return formatTable
}

func (c *cli) newRoot() *cobra.Command {
	root := c.noun("cairn", "The stack layer of machine-learning pipelines", rootLong)
	root.Example = rootExample
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetUsageTemplate(usageTemplate)
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())

	flags := root.PersistentFlags()
	flags.Var(&c.format, "output", "print as `FORMAT`: table, json or yaml")
	flags.BoolVarP(&c.quiet, "quiet", "q", false, "print errors and what was asked for, nothing else")
	flags.BoolVar(&c.noColor, "no-color", false, "print without colour")
	flags.BoolVarP(&c.yes, "yes", "y", false, "do not ask for confirmation")
	completeFlag(root, "output", fixed(formats()...))

	for _, t := range componentTypes() {
		root.AddCommand(c.componentCommand(t))
	}
	root.AddCommand(
		c.stackCommand(), c.secretCommand(), c.flavorCommand(), c.pluginCommand(),
		c.runCommand(), c.artifactCommand(), c.pipelineCommand(),
		c.initCommand(), c.statusCommand(), c.versionCommand(),
	)
	return root
}

// helpCommand is cobra's, which says of an unknown command that all is well.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND...]", Short: "Explain a command", Hidden: true, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(found, rest[0])
			}
			return found.Help()
		},
	}
}

// noun is a command that only groups others.
func (c *cli) noun(use, short, long string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
		// Its own arguments are judged in RunE, where near misses are known.
		Args: cobra.ArbitraryArgs,
	}
	cmd.AddCommand(verbs...)
	return cmd
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usageError("there is no command '%s %s'%s", cmd.CommandPath(), name, diag.DidYouMean(name, names)).
		WithHint("%s --help", cmd.CommandPath())
}

// flagError says what is wrong with a flag, and what was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() {
		if args := cmd.Flags().Args(); len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
	}
	hint := cmd.CommandPath() + " --help"
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		name := unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			return usageError("'%s' has no flag -%s", cmd.CommandPath(), name).WithHint("%s", hint)
		}
		e := usageError("'%s' has no flag --%s%s", cmd.CommandPath(), name, nearFlags(cmd, name)).WithHint("%s", hint)
		if wantsFlavor(cmd) {
			e.WithDetail("The options of a flavor are known once --flavor names it.")
		}
		return e
	case errors.As(err, &missing):
		return usageError("--%s needs a value", missing.GetFlag().Name).WithHint("%s", hint)
	case errors.As(err, &invalid):
		var d *diag.Error
		if errors.As(invalid.Unwrap(), &d) {
			return d
		}
		return usageError("--%s: %w", invalid.GetFlag().Name, invalid.Unwrap()).WithHint("%s", hint)
	}
	return usageError("%w", err).WithHint("%s", hint)
}

// nearFlags is the end of a sentence with the flags that name is near to.
func nearFlags(cmd *cobra.Command, name string) string {
	var names []string
	add := func(f *pflag.Flag) {
		if f.Deprecated == "" {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	slices.Sort(names)
	misses := diag.NearMisses(strings.ReplaceAll(name, "_", "-"), slices.Compact(names))
	if len(misses) == 0 {
		return ""
	}
	return "; did you mean --" + strings.Join(misses, " or --") + "?"
}

// needs says which arguments a verb takes: each name stands for one that must
// be there; "[NAME]" may be left out; "NAME..." is one or more.
func needs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		least, most := 0, len(names)
		for _, n := range names {
			if !strings.HasPrefix(n, "[") {
				least++
			}
			if strings.HasSuffix(strings.TrimSuffix(n, "]"), "...") {
				most = len(args)
			}
		}
		if len(args) < least {
			return usageError("'%s' needs %s", cmd.CommandPath(), names[len(args)]).
				WithHint("%s --help", cmd.CommandPath())
		}
		if len(args) > most {
			return usageError("'%s' does not take '%s'", cmd.CommandPath(), args[most]).
				WithHint("%s --help", cmd.CommandPath())
		}
		return nil
	}
}

// arg is the i-th argument, or fallback where it was left out.
func arg(args []string, i int, fallback string) string {
	if i < len(args) {
		return args[i]
	}
	return fallback
}

// exits ends the long help of a verb with the exit codes that matter to it.
func exits(codes ...string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields("Exit codes: 0 done, " + strings.Join(codes, ", ") + ".") {
		if column+len(word) >= 80 {
			b.WriteString("\n")
			column = 0
		} else if column > 0 {
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return "\n\n" + b.String()
}

// The exit codes as help texts name them.
const (
	exitInvalid  = "2 usage or invalid"
	exitNotFound = "3 not found"
	exitRefused  = "4 exists, in use or refused"
	exitPlugin   = "7 a plugin or its backend"
)

// addStackFlag gives a verb --stack.
func (c *cli) addStackFlag(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar(&c.stack, "stack", "", usage)
	completeFlag(cmd, "stack", c.completeAll(c.stackNames))
}

// confirm asks before a verb destroys something. Where nobody can answer, it
// refuses without --yes.
func (c *cli) confirm(what string) error {
	if c.yes {
		return nil
	}
	if !isTerminal(c.stdin) {
		return diag.Errorf(diag.Refused, "this would %s, and nobody can be asked", what).
			WithHint("the same command with --yes")
	}
	fmt.Fprintf(c.stderr, "This will %s. Go on? [y/N] ", what)
	var answer string
	if _, err := fmt.Fscanln(c.stdin, &answer); err != nil {
		answer = "" // an empty line is a no
	}
	if a := strings.ToLower(answer); a != "y" && a != "yes" {
		return diag.Errorf(diag.Refused, "nothing was done")
	}
	return nil
}
