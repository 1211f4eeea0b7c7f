package pipeline

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-stack/cairn/sdk/diag"
)

// ColumnType is the type of a table's column.
type ColumnType string

// The column types.
const (
	FloatColumn  ColumnType = "float64"
	IntColumn    ColumnType = "int64"
	StringColumn ColumnType = "string"
	BoolColumn   ColumnType = "bool"
)

// Column is a named column of a table. Make one with Floats, Ints, Strings or
// Bools.
type Column struct {
	Name    string
	typ     ColumnType
	floats  []float64
	ints    []int64
	strings []string
	bools   []bool
}

// Floats makes a column of numbers; NaN stands for a missing one.
func Floats(name string, values []float64) Column {
	return Column{Name: name, typ: FloatColumn, floats: values}
}

// Ints makes a column of whole numbers.
func Ints(name string, values []int64) Column {
	return Column{Name: name, typ: IntColumn, ints: values}
}

// Strings makes a column of texts.
func Strings(name string, values []string) Column {
	return Column{Name: name, typ: StringColumn, strings: values}
}

// Bools makes a column of truth values.
func Bools(name string, values []bool) Column {
	return Column{Name: name, typ: BoolColumn, bools: values}
}

// Type is the type of the column's values.
func (c Column) Type() ColumnType { return c.typ }

// Len is the number of values.
func (c Column) Len() int {
	return len(c.floats) + len(c.ints) + len(c.strings) + len(c.bools)
}

func (c Column) pick(rows []int) Column {
	out := Column{Name: c.Name, typ: c.typ}
	switch c.typ {
	case FloatColumn:
		out.floats = pick(c.floats, rows)
	case IntColumn:
		out.ints = pick(c.ints, rows)
	case StringColumn:
		out.strings = pick(c.strings, rows)
	case BoolColumn:
		out.bools = pick(c.bools, rows)
	}
	return out
}

func pick[T any](values []T, rows []int) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = values[r]
	}
	return out
}

func (c Column) cell(i int) string {
	switch c.typ {
	case FloatColumn:
		return strconv.FormatFloat(c.floats[i], 'g', -1, 64)
	case IntColumn:
		return strconv.FormatInt(c.ints[i], 10)
	case BoolColumn:
		return strconv.FormatBool(c.bools[i])
	}
	return c.strings[i]
}

func (c *Column) add(cell string) (err error) {
	switch c.typ {
	case FloatColumn:
		var v float64
		v, err = strconv.ParseFloat(cell, 64)
		c.floats = append(c.floats, v)
	case IntColumn:
		var v int64
		v, err = strconv.ParseInt(cell, 10, 64)
		c.ints = append(c.ints, v)
	case BoolColumn:
		var v bool
		v, err = strconv.ParseBool(cell)
		c.bools = append(c.bools, v)
	default:
		c.strings = append(c.strings, cell)
	}
	return err
}

// Table is columns of equal length. It is stored as CSV, with the types of its
// columns beside it, and comes back exactly as it was. The zero Table has no
// columns. A Table and its columns are not to be changed once they are made.
type Table struct{ columns []Column }

// NewTable makes a table of columns, which have different names and equal
// lengths.
func NewTable(columns ...Column) (Table, error) {
	seen := map[string]bool{}
	for _, c := range columns {
		switch {
		case c.typ == "":
			return Table{}, fmt.Errorf("column '%s' was not made by Floats, Ints, Strings or Bools", c.Name)
		case seen[c.Name]:
			return Table{}, fmt.Errorf("the table has two columns '%s'", c.Name)
		case c.Len() != columns[0].Len():
			return Table{}, fmt.Errorf("column '%s' has %d values, and column '%s' has %d", columns[0].Name, columns[0].Len(), c.Name, c.Len())
		}
		seen[c.Name] = true
	}
	return Table{slices.Clone(columns)}, nil
}

// Rows is the number of rows.
func (t Table) Rows() int {
	if len(t.columns) == 0 {
		return 0
	}
	return t.columns[0].Len()
}

// Columns gives the columns in their order.
func (t Table) Columns() []Column { return slices.Clone(t.columns) }

// Floats gives the values of a column of numbers, whole or not.
func (t Table) Floats(name string) ([]float64, error) {
	c, err := t.column(name)
	if err != nil {
		return nil, err
	}
	switch c.typ {
	case FloatColumn:
		return c.floats, nil
	case IntColumn:
		out := make([]float64, len(c.ints))
		for i, v := range c.ints {
			out[i] = float64(v)
		}
		return out, nil
	}
	return nil, wrongColumn(c, "numbers")
}

// Ints gives the values of a column of whole numbers.
func (t Table) Ints(name string) ([]int64, error) {
	c, err := t.column(name)
	if err == nil && c.typ != IntColumn {
		err = wrongColumn(c, "whole numbers")
	}
	return c.ints, err
}

// Strings gives the values of a column of texts.
func (t Table) Strings(name string) ([]string, error) {
	c, err := t.column(name)
	if err == nil && c.typ != StringColumn {
		err = wrongColumn(c, "texts")
	}
	return c.strings, err
}

// Bools gives the values of a column of truth values.
func (t Table) Bools(name string) ([]bool, error) {
	c, err := t.column(name)
	if err == nil && c.typ != BoolColumn {
		err = wrongColumn(c, "truth values")
	}
	return c.bools, err
}

func wrongColumn(c Column, wanted string) error {
	return fmt.Errorf("column '%s' holds %s, not %s", c.Name, c.typ, wanted)
}

func (t Table) column(name string) (Column, error) {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		if c.Name == name {
			return c, nil
		}
		names[i] = c.Name
	}
	return Column{}, fmt.Errorf("the table has no column '%s'%s", name, diag.DidYouMean(name, names))
}

// Pick makes a table of some rows, by their index, in the order given. An index
// out of range panics, as that of a slice does.
func (t Table) Pick(rows []int) Table {
	out := Table{make([]Column, len(t.columns))}
	for i, c := range t.columns {
		out.columns[i] = c.pick(rows)
	}
	return out
}

// ReadCSV reads a table whose first line names the columns. A column is of
// whole numbers, numbers or truth values where all its cells are, else of
// texts; an empty cell among numbers is NaN.
func ReadCSV(r io.Reader) (Table, error) {
	records, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return Table{}, fmt.Errorf("read CSV: %w", err)
	}
	if len(records) == 0 {
		return Table{}, errors.New("read CSV: it is empty; the first line names the columns")
	}
	columns := make([]Column, len(records[0]))
	for i, name := range records[0] {
		cells := make([]string, 0, len(records)-1)
		for _, record := range records[1:] {
			cells = append(cells, record[i])
		}
		columns[i] = guessColumn(name, cells)
	}
	return NewTable(columns...)
}

func guessColumn(name string, cells []string) Column {
	if len(cells) == 0 {
		return Strings(name, nil)
	}
	missing := false
	for _, typ := range []ColumnType{IntColumn, FloatColumn, BoolColumn} {
		c := Column{Name: name, typ: typ}
		ok := true
		for _, cell := range cells {
			cell = strings.TrimSpace(cell)
			if cell == "" && typ == FloatColumn {
				cell, missing = "NaN", true
			}
			if c.add(cell) != nil || typ == BoolColumn && len(cell) == 1 {
				ok = false
				break
			}
		}
		if ok && !(missing && !slices.ContainsFunc(cells, func(s string) bool { return strings.TrimSpace(s) != "" })) {
			return c
		}
	}
	return Strings(name, cells)
}

// columnInfo is what the sidecar says of a column.
type columnInfo struct {
	Name string     `json:"name"`
	Type ColumnType `json:"type"`
}

func encodeTable(v reflect.Value) (content, error) {
	t := v.Interface().(Table)
	var b strings.Builder
	infos := make([]columnInfo, len(t.columns))
	for i, c := range t.columns {
		infos[i] = columnInfo{c.Name, c.typ}
		writeCell(&b, i, c.Name, true)
	}
	for r := range t.Rows() {
		b.WriteString("\n")
		for i, c := range t.columns {
			writeCell(&b, i, c.cell(r), c.typ == StringColumn)
		}
	}
	if len(t.columns) > 0 {
		b.WriteString("\n")
	}
	return content{inline: []byte(b.String()), metadata: map[string]string{
		"columns": string(mustJSON(infos)), "rows": strconv.Itoa(t.Rows()),
	}}, nil
}

// writeCell quotes text always: so an empty text is not an empty line, and a
// carriage return stays one.
func writeCell(b *strings.Builder, i int, cell string, text bool) {
	if i > 0 {
		b.WriteByte(',')
	}
	if !text {
		b.WriteString(cell)
		return
	}
	b.WriteByte('"')
	b.WriteString(strings.ReplaceAll(cell, `"`, `""`))
	b.WriteByte('"')
}

func decodeTable(c content, v reflect.Value, _ func() (string, error)) error {
	data, err := c.bytes()
	if err != nil {
		return err
	}
	var infos []columnInfo
	if err := json.Unmarshal([]byte(c.metadata["columns"]), &infos); err != nil {
		return fmt.Errorf("the types of the table's columns are not known: %w", err)
	}
	columns := make([]Column, len(infos))
	for i, info := range infos {
		columns[i] = Column{Name: info.Name, typ: info.Type}
	}
	records, err := splitCSV(string(data), len(columns))
	if err != nil {
		return err
	}
	for r, record := range records {
		for i := range columns {
			if r == 0 && record[i] != columns[i].Name {
				return fmt.Errorf("column %d is called '%s' in the file, and '%s' beside it", i+1, record[i], columns[i].Name)
			}
			if r == 0 {
				continue
			}
			if err := columns[i].add(record[i]); err != nil {
				return fmt.Errorf("row %d, column '%s': %w", r, columns[i].Name, err)
			}
		}
	}
	table, err := NewTable(columns...)
	v.Set(reflect.ValueOf(table))
	return err
}

// splitCSV reads what encodeTable wrote. Unlike encoding/csv it leaves carriage
// returns inside quotes as they are.
func splitCSV(s string, width int) ([][]string, error) {
	var records [][]string
	for line := 1; s != ""; line++ {
		record := make([]string, 0, width)
		for {
			var cell string
			if strings.HasPrefix(s, `"`) {
				var b strings.Builder
				s = s[1:]
				for {
					end := strings.IndexByte(s, '"')
					if end < 0 {
						return nil, fmt.Errorf("record %d: a quote is not closed", line)
					}
					b.WriteString(s[:end])
					s = s[end+1:]
					if !strings.HasPrefix(s, `"`) {
						break
					}
					b.WriteByte('"')
					s = s[1:]
				}
				cell = b.String()
			} else {
				end := strings.IndexAny(s, ",\n")
				if end < 0 {
					end = len(s)
				}
				cell, s = strings.TrimSuffix(s[:end], "\r"), s[end:]
			}
			record = append(record, cell)
			if !strings.HasPrefix(s, ",") {
				break
			}
			s = s[1:]
		}
		if s = strings.TrimPrefix(strings.TrimPrefix(s, "\r"), "\n"); len(record) != width {
			return nil, fmt.Errorf("record %d has %d cells, not %d", line, len(record), width)
		}
		records = append(records, record)
	}
	return records, nil
}
