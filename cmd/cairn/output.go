package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// format is the value of --output.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

func formats() []string {
	return []string{string(formatTable), string(formatJSON), string(formatYAML)}
}

// String, Set and Type make it a flag.
func (f *format) String() string { return string(*f) }

func (f *format) Set(s string) error {
	for _, known := range formats() {
		if s == known {
			*f = format(s)
			return nil
		}
	}
	return fmt.Errorf("there is no format '%s', only %s%s", s, strings.Join(formats(), ", "), diag.DidYouMean(s, formats()))
}

func (f *format) Type() string { return "format" }

// encode writes a view as JSON or YAML: the same names, in the same order.
func encode(w io.Writer, f format, view any) error {
	data, err := json.MarshalIndent(view, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the output: %w", err)
	}
	if f == formatYAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encode the output: %w", err)
		}
	}
	if !strings.HasSuffix(string(data), "\n") {
		data = append(data, '\n')
	}
	_, err = w.Write(data)
	return err
}

// show writes what a read verb found: the view in the format asked for, or the
// text that table prints for people.
func (c *cli) show(view any, table func(*page)) error {
	if c.format != formatTable {
		return encode(c.stdout, c.format, view)
	}
	p := &page{style: c.styleFor(c.stdout), width: widthOf(c.stdout)}
	table(p)
	_, err := io.WriteString(c.stdout, p.b.String())
	return err
}

// done says that a verb that changes something did so: the object in a format
// for machines, else one line, which --quiet leaves out.
func (c *cli) done(view any, message string, args ...any) error {
	if c.format != formatTable {
		return encode(c.stdout, c.format, view)
	}
	if c.quiet {
		return nil
	}
	_, err := fmt.Fprintf(c.stdout, message+"\n", args...)
	return err
}

// note tells a person something beside the output, on stderr.
func (c *cli) note(message string, args ...any) {
	if !c.quiet && c.format == formatTable {
		fmt.Fprintf(c.stderr, message+"\n", args...)
	}
}
