package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// secretInput is where the values of a secret come from; never the command line.
type secretInput struct {
	files  []string
	values string
}

func (in *secretInput) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&in.files, "from-file", nil, "take a file as the value of a key, `KEY=FILE`; may be repeated")
	cmd.Flags().StringVar(&in.values, "values", "", "YAML or JSON `FILE` of keys and values; - for standard input")
}

// read gives the values of a secret: from files first, then of each key from
// the terminal or standard input.
func (in *secretInput) read(c *cli, name string, keys []string) (map[string]string, error) {
	values := map[string]string{}
	for _, k := range keys {
		if key, _, found := strings.Cut(k, "="); found {
			return nil, usageError("the value of '%s' stands on the command line, where a secret never belongs", key).
				WithDetail("It may now be in your shell's history, and others may have seen it: think of it as known.").
				WithHint("%s", "name the key alone, and type the value when asked: cairn secret create "+name+" "+key)
		}
	}
	if err := in.readFiles(c, values); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return values, nil
	}
	if in.values == "-" {
		return nil, usageError("standard input is taken by --values").WithHint("put %s into it, too", strings.Join(keys, ", "))
	}
	if isTerminal(c.stdin) {
		return values, c.promptFor(keys, values)
	}
	if len(keys) > 1 {
		return nil, usageError("standard input can be the value of one key, not of %d", len(keys)).
			WithHint("cairn secret create %s --values FILE", name)
	}
	data, err := io.ReadAll(c.stdin)
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	values[keys[0]] = withoutNewline(string(data))
	if values[keys[0]] == "" {
		return nil, usageError("standard input is empty, so key '%s' has no value", keys[0])
	}
	return values, nil
}

func (in *secretInput) readFiles(c *cli, values map[string]string) error {
	if in.values != "" {
		data, err := c.readInput("--values", in.values)
		if err != nil {
			return err
		}
		// The parser's own message quotes the text, which is secret.
		var read map[string]string
		if err := yaml.Unmarshal(data, &read); err != nil {
			return usageError("--values: '%s' is no YAML or JSON object of keys and text values", in.values)
		}
		maps.Copy(values, read)
	}
	for _, f := range in.files {
		key, path, found := strings.Cut(f, "=")
		if !found || key == "" {
			return usageError("--from-file takes KEY=FILE")
		}
		data, err := c.readInput("--from-file", path)
		if err != nil {
			return err
		}
		values[key] = string(data)
	}
	return nil
}

// readInput reads a file, or standard input for "-".
func (c *cli) readInput(flag, path string) ([]byte, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(c.stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, diag.Errorf(diag.NotFound, "%s: there is no file '%s'", flag, path)
	}
	if err != nil {
		return nil, diag.Errorf(diag.Invalid, "%s: %w", flag, err)
	}
	return data, nil
}

func (c *cli) promptFor(keys []string, values map[string]string) error {
	terminal, ok := c.stdin.(*os.File)
	if !ok {
		return fmt.Errorf("standard input is no file")
	}
	for _, k := range keys {
		fmt.Fprintf(c.stderr, "Value of %s: ", k)
		data, err := term.ReadPassword(int(terminal.Fd()))
		fmt.Fprintln(c.stderr)
		if err != nil {
			return fmt.Errorf("read the value of %s: %w", k, err)
		}
		if len(data) == 0 {
			return usageError("key '%s' was given no value; nothing was changed", k)
		}
		values[k] = string(data)
	}
	return nil
}

// withoutNewline takes off the one newline that a text on standard input ends
// with.
func withoutNewline(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}
