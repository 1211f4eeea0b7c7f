package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// page is text for people: lines, named fields and tables.
type page struct {
	style style
	// width in columns; 0 for no limit.
	width int
	b     strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// section begins a part with a title.
func (p *page) section(title string) { p.line("\n%s", p.style.bold(title)) }

// field is a name with a value. A field without value is left out.
type field struct{ name, value string }

// fields prints names and values in two columns.
func (p *page) fields(fields ...field) {
	width := 0
	for _, f := range fields {
		if f.value != "" {
			width = max(width, len(f.name)+1)
		}
	}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		pad := strings.Repeat(" ", width-len(f.name)-1)
		value := strings.ReplaceAll(f.value, "\n", "\n"+strings.Repeat(" ", width+2))
		p.line("%s%s  %s", p.style.dim(f.name+":"), pad, value)
	}
}

const columnGap = "  "

// table prints rows below a header. On a terminal that is too narrow the widest
// columns give way first; elsewhere nothing is cut.
func (p *page) table(header []string, rows [][]string) {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = len(h)
		for _, r := range rows {
			widths[i] = max(widths[i], ansi.StringWidth(r[i]))
		}
	}
	if p.width > 0 {
		shrink(widths, p.width-len(columnGap)*(len(widths)-1))
	}
	styled := make([]string, len(header))
	for i, h := range header {
		styled[i] = p.style.dim(h)
	}
	p.row(styled, widths)
	for _, r := range rows {
		p.row(r, widths)
	}
}

func (p *page) row(cells []string, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		cell = strings.ReplaceAll(cell, "\n", " ")
		if ansi.StringWidth(cell) > widths[i] {
			cell = ansi.Truncate(cell, widths[i], "…")
		}
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)) + columnGap)
		}
	}
	p.line("%s", strings.TrimRight(line.String(), " "))
}

// minColumn is the least width that a column is cut to.
const minColumn = 6

// shrink takes columns off the widest until all fit into width.
func shrink(widths []int, width int) {
	total := 0
	for _, w := range widths {
		total += w
	}
	for total > width {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= minColumn {
			return
		}
		widths[widest]--
		total--
	}
}

// config prints a JSON object as fields, by name.
func (p *page) config(config json.RawMessage) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(config, &values); err != nil || len(values) == 0 {
		p.line("(all defaults)")
		return
	}
	var fields []field
	for _, name := range slices.Sorted(maps.Keys(values)) {
		fields = append(fields, field{name, jsonText(values[name])})
	}
	p.fields(fields...)
}

// jsonText is a JSON value for people: a string without quotes, the rest on one
// line.
func jsonText(value json.RawMessage) string {
	var s string
	if json.Unmarshal(value, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, value) != nil {
		return string(value)
	}
	return b.String()
}
