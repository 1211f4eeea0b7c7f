package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
)

//go:generate sh -c "go run ./internal/gensteps > steps.go.tmp && mv steps.go.tmp steps.go"

// definition is a step as the program defines it, before it stands in a
// pipeline.
type definition struct {
	// function names the definition for ever; name is the node's, and differs
	// after Named.
	function string
	name     string
	missing  bool
	call     func(ctx context.Context, in []any) (any, error)
	names    []string
	out      reflect.Type // nil without a result
	in       []reflect.Type
	where    string
}

func define(name string, missing bool, call func(context.Context, []any) (any, error), names []string, out reflect.Type, in ...reflect.Type) *definition {
	return &definition{
		function: name, name: name, missing: missing, call: call,
		names: names, out: out, in: in, where: caller(2),
	}
}

func (d *definition) named(name string) *definition {
	other := *d
	other.name = name
	return &other
}

// inputName is the name of the input at an index.
func (d *definition) inputName(i int) string {
	if i < len(d.names) {
		return d.names[i]
	}
	return fmt.Sprintf("in%d", i+1)
}

// caller is file:line of the skip-th caller of the function that asks.
func caller(skip int) string {
	_, file, line, ok := runtime.Caller(skip + 1)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s:%d", filepath.Base(file), line)
}
