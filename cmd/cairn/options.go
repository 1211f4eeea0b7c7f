package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// How the flavor of a verb's options is found.
const (
	byFlavor    = "flavor"    // --flavor names it
	byComponent = "component" // the component that is the first argument has it
)

const (
	optionsTypeKey = "options-type"
	optionsByKey   = "options-by"
)

// optionsBy marks a verb that takes the options of a flavor of a type.
func optionsBy(cmd *cobra.Command, componentType, by string) {
	cmd.Annotations = map[string]string{optionsTypeKey: componentType, optionsByKey: by}
}

// wantsFlavor reports whether a verb takes a flavor's options and was not told
// the flavor.
func wantsFlavor(cmd *cobra.Command) bool {
	return cmd.Annotations[optionsByKey] == byFlavor && cmd.Annotations[flavorOptionsKey] == ""
}

// addFlavorOptions gives the verb that args name the options of its flavor as
// flags. It comes before the real parsing, since the flags to parse depend on
// what one of them says. An unknown flavor is an error here, save for help and
// completion, which then do without.
func (c *cli) addFlavorOptions(ctx context.Context, root *cobra.Command, args []string) error {
	completing := len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd)
	if completing {
		args = args[1:]
	}
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Annotations[optionsByKey] == "" {
		return nil
	}
	flavor, err := c.flavorFor(ctx, cmd, rest)
	helping := slices.Contains(rest, "--help") || slices.Contains(rest, "-h")
	if err != nil && (completing || helping && diag.CodeOf(err) != diag.NotFound) {
		return nil
	}
	if err != nil || flavor == nil {
		return err
	}
	fields, err := optionFields(flavor.GetConfigSchema())
	if err != nil {
		return fmt.Errorf("read the options of flavor %s: %w", flavor.GetName(), err)
	}
	own := pflag.NewFlagSet("options", pflag.ContinueOnError)
	own.SortFlags = false
	for _, field := range fields {
		f := optionFlag(field, func(name string) bool { return cmd.Flag(name) != nil })
		own.AddFlag(f)
		cmd.Flags().AddFlag(f)
		if values := choicesOf(field); len(values) > 0 {
			completeFlag(cmd, f.Name, fixed(values...))
		} else if field.Format != config.FormatPath {
			completeFlag(cmd, f.Name, cobra.NoFileCompletions)
		}
	}
	title := "Options of flavor " + flavor.GetName() + ":\n"
	cmd.Annotations[flavorOptionsKey] = title + own.FlagUsages()
	if len(fields) == 0 {
		cmd.Annotations[flavorOptionsKey] = title + "  (none)"
	}
	// They have a section of their own in the help; a hidden flag would not be
	// completed, though.
	own.VisitAll(func(f *pflag.Flag) { f.Hidden = !completing })
	return nil
}

// flavorFor finds the flavor whose options a verb takes; nil where the words do
// not say yet.
func (c *cli) flavorFor(ctx context.Context, cmd *cobra.Command, words []string) (*apiv1.Flavor, error) {
	componentType := cmd.Annotations[optionsTypeKey]
	flavor, names := scanWords(words)
	if cmd.Annotations[optionsByKey] == byComponent {
		if len(names) == 0 {
			return nil, nil
		}
		svc, err := c.host(ctx)
		if err != nil {
			return nil, err
		}
		res, err := svc.GetComponent(ctx, &apiv1.GetComponentRequest{Type: componentType, Name: names[0]})
		if err != nil {
			return nil, err
		}
		flavor = res.GetComponent().GetFlavor()
	}
	if flavor == "" {
		return nil, nil
	}
	svc, err := c.host(ctx)
	if err != nil {
		return nil, err
	}
	res, err := svc.DescribeFlavor(ctx, &apiv1.DescribeFlavorRequest{Type: componentType, Name: flavor})
	if err != nil {
		return nil, err
	}
	return res.GetFlavor(), nil
}

// scanWords finds the value of --flavor, and what may be arguments: words that
// stand behind no flag first, then those that could be a flag's value.
func scanWords(words []string) (flavor string, names []string) {
	var doubtful []string
	for i, w := range words {
		before := ""
		if i > 0 {
			before = words[i-1]
		}
		if w == "--" {
			break
		}
		switch {
		case strings.HasPrefix(w, "--flavor="):
			flavor = strings.TrimPrefix(w, "--flavor=")
		case strings.HasPrefix(w, "-f="):
			flavor = strings.TrimPrefix(w, "-f=")
		case strings.HasPrefix(w, "-"):
		case before == "--flavor" || before == "-f":
			flavor = w
		case strings.HasPrefix(before, "-") && !strings.Contains(before, "="):
			doubtful = append(doubtful, w)
		default:
			names = append(names, w)
		}
	}
	return flavor, append(names, doubtful...)
}

func addConfigFlag(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "YAML or JSON `FILE` with options, its paths relative to it; flags win over it")
}

// configFrom is the config that a verb's flags say, as a JSON object: the file of
// --config with the options over it.
func configFrom(cmd *cobra.Command) ([]byte, error) {
	values := map[string]any{}
	var options []*optionValue
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if v, ok := f.Value.(*optionValue); ok {
			options = append(options, v)
		}
	})
	if file := cmd.Flag("config").Value.String(); file != "" {
		if err := readConfigFile(file, &values); err != nil {
			return nil, err
		}
		if err := absolutePaths(values, filepath.Dir(file), options); err != nil {
			return nil, err
		}
	}
	for _, v := range options {
		if v.set {
			config.Put(values, v.field, v.value)
		}
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil, usageError("the options cannot be written as JSON: %w", err)
	}
	return data, nil
}

func readConfigFile(path string, values *map[string]any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return diag.Errorf(diag.NotFound, "--config: there is no file '%s'", path)
	}
	if err != nil {
		return diag.Errorf(diag.Invalid, "--config: %w", err)
	}
	if err := yaml.Unmarshal(data, values); err != nil {
		return usageError("--config: '%s' is no YAML or JSON object", path).WithDetail("%s", yaml.FormatError(err, false, true))
	}
	return nil
}

// absolutePaths makes the paths in a file's values absolute: they are relative to
// the file, wherever cairn is called.
func absolutePaths(values map[string]any, dir string, options []*optionValue) error {
	for _, v := range options {
		text, ok := valueAt(values, v.field.Name).(string)
		if _, reference := config.ParseReference(text); v.field.Format != config.FormatPath || !ok || text == "" || reference {
			continue
		}
		if !filepath.IsAbs(text) && !strings.HasPrefix(text, "~/") {
			text = filepath.Join(dir, text)
		}
		path, err := config.ParseValue(v.field, text)
		if err != nil {
			return err
		}
		config.Put(values, v.field, path)
	}
	return nil
}

// valueAt is the value of an attribute, whose name may be a path with dots.
func valueAt(values map[string]any, name string) any {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		return values[first]
	}
	inner, ok := values[first].(map[string]any)
	if !ok {
		return nil
	}
	return valueAt(inner, rest)
}

// withNulls adds the options to remove, which a JSON null stands for.
func withNulls(data []byte, unset []string) ([]byte, error) {
	if len(unset) == 0 {
		return data, nil
	}
	values := map[string]any{}
	if err := json.Unmarshal(data, &values); err != nil {
		return nil, fmt.Errorf("read the options: %w", err)
	}
	for _, name := range unset {
		if valueAt(values, name) != nil {
			return nil, usageError("option '%s' is both set and unset", name)
		}
		config.Put(values, config.Field{Name: name}, nil)
	}
	return json.Marshal(values)
}
