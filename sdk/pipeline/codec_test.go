package pipeline

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// roundTrip stores a value inline, or below a folder, and reads it again.
func roundTrip[T any](t interface{ Fatalf(string, ...any) }, v T) (T, content) {
	var back T
	c, err := codecOf(reflect.TypeFor[T](), "value")
	if err != nil {
		t.Fatalf("%v", err)
	}
	stored, err := c.encode(reflect.ValueOf(&v).Elem())
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if err := c.decode(stored, reflect.ValueOf(&back).Elem(), nil); err != nil {
		t.Fatalf("decode %q: %v", stored.inline, err)
	}
	return back, stored
}

type shapes struct {
	A map[int]string
	B []struct{ X, Y float64 }
	C *shapes
	D any
	E time.Time
	F [2]bool
	G string `json:"-"`
	h int    `json:"-"` // left out, and so no error
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	if got, _ := roundTrip(t, shapes{G: "g", h: 1}); got.G != "" || got.h != 0 {
		t.Errorf("fields that are left out came back: %+v", got)
	}
	at := time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC)
	s := shapes{A: map[int]string{-1: "ü\u2028<&>"}, B: []struct{ X, Y float64 }{{math.MaxFloat64, 5e-324}}, C: &shapes{B: nil}, D: map[string]any{"k": "v"}, E: at}
	if got, _ := roundTrip(t, s); !reflect.DeepEqual(got, s) {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"", "a\xffb", `\ufffd`} {
		if got, _ := roundTrip(t, text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	// The escape that stands for bad bytes, as text of its own.
	if got, _ := roundTrip(t, []string{`\ufffd`, "\ufffd"}); !reflect.DeepEqual(got, []string{`\ufffd`, "\ufffd"}) {
		t.Errorf("%q", got)
	}
}

func TestTableRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(0, 5).Draw(t, "rows")
		names := rapid.SliceOfNDistinct(rapid.String(), 0, 4, rapid.ID[string]).Draw(t, "names")
		var columns []Column
		for _, name := range names {
			switch rapid.IntRange(0, 3).Draw(t, "type") {
			case 0:
				columns = append(columns, Floats(name, rapid.SliceOfN(rapid.Float64(), rows, rows).Draw(t, "floats")))
			case 1:
				columns = append(columns, Ints(name, rapid.SliceOfN(rapid.Int64(), rows, rows).Draw(t, "ints")))
			case 2:
				text := rapid.StringOf(rapid.RuneFrom([]rune("a,\"\r\n \u00fc")))
				columns = append(columns, Strings(name, rapid.SliceOfN(text, rows, rows).Draw(t, "strings")))
			default:
				columns = append(columns, Bools(name, rapid.SliceOfN(rapid.Bool(), rows, rows).Draw(t, "bools")))
			}
		}
		table, err := NewTable(columns...)
		if err != nil {
			t.Fatalf("%v", err)
		}
		back, stored := roundTrip(t, table)
		if back.Rows() != table.Rows() || len(back.columns) != len(table.columns) {
			t.Fatalf("%d rows of %d columns became %d of %d:\n%s", table.Rows(), len(table.columns), back.Rows(), len(back.columns), stored.inline)
		}
		for i, c := range table.columns {
			b := back.columns[i]
			if b.Name != c.Name || b.Type() != c.Type() {
				t.Fatalf("column %q %s became %q %s", c.Name, c.Type(), b.Name, b.Type())
			}
			for r := range c.Len() {
				if b.cell(r) != c.cell(r) {
					t.Fatalf("cell %q became %q", c.cell(r), b.cell(r))
				}
			}
		}
	})
}

func TestWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	loop := &shapes{}
	loop.C = loop
	self := map[string]any{}
	self["me"] = self
	cases := []struct {
		value any
		want  string
	}{
		{shapes{B: []struct{ X, Y float64 }{{}, {Y: math.Inf(1)}}}, "shapes.B[1].Y is +Inf"},
		{shapes{A: map[int]string{7: "\xff"}}, "shapes.A[7] is text that is not UTF-8"},
		{shapes{D: make(chan int)}, "shapes.D is a chan int"},
		{shapes{D: map[string]any{"f": func() {}}}, "shapes.D[f] is a func()"},
		{loop, "C holds itself"},
		{self, "[me] holds itself"},
	}
	for _, c := range cases {
		_, err := toJSON(reflect.ValueOf(c.value))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: %v does not say %q", c.value, err, c.want)
		}
	}
	shared := &shapes{}
	if _, err := toJSON(reflect.ValueOf([]*shapes{shared, shared})); err != nil {
		t.Errorf("a value that is shared, not cyclic: %v", err)
	}
}

func TestReadCSV(t *testing.T) {
	t.Parallel()
	table, err := ReadCSV(strings.NewReader("i,f,s,b,m\n1,1.5,x,true,\n-2,2,1,false,3\n"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []ColumnType
	for _, c := range table.Columns() {
		kinds = append(kinds, c.Type())
	}
	want := []ColumnType{IntColumn, FloatColumn, StringColumn, BoolColumn, FloatColumn}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("column types %v, not %v", kinds, want)
	}
	if m, err := table.Floats("m"); err != nil || !math.IsNaN(m[0]) || m[1] != 3 {
		t.Errorf("%v, %v", m, err)
	}
	if f, err := table.Floats("i"); err != nil || f[1] != -2 {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := table.Ints("s"); err == nil || !strings.Contains(err.Error(), "column 's' holds string, not whole numbers") {
		t.Error(err)
	}
	if _, err := table.Bools("bb"); err == nil || !strings.Contains(err.Error(), "no column 'bb'; did you mean 'b'?") {
		t.Error(err)
	}
	if got := table.Pick([]int{1, 1}); got.Rows() != 2 || got.columns[2].strings[0] != "1" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "a,a\n1,2\n", "a,b\n1\n"} {
		if _, err := ReadCSV(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	if _, err := NewTable(Ints("a", []int64{1}), Ints("b", nil)); err == nil {
		t.Error("columns of different lengths are accepted")
	}
}
