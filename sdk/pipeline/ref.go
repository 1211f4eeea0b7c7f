package pipeline

import (
	"reflect"
	"runtime"
)

// Arg is what an input of type T can be given: a Ref[T] to another step's
// result, or a literal from Lit.
type Arg[T any] interface {
	// holds makes the compiler hold a connection to its type.
	holds(T)
	argument() argument
}

// wholeResult is the field of a reference to a step's whole result.
const wholeResult = -1

// Ref refers to the result of a step of the pipeline, or with Field to a part
// of it. It has no value while the pipeline is traced.
type Ref[T any] struct {
	node  *node
	field int
}

func (Ref[T]) holds(T) {}

func (r Ref[T]) argument() argument { return argument{node: r.node, field: r.field} }

func (r Ref[T]) stepNode() *node { return r.node }

// Done refers to a step without a result; for After.
type Done struct{ node *node }

func (d Done) stepNode() *node { return d.node }

// Node is a Ref or a Done; for After.
type Node interface{ stepNode() *node }

// Literal is a value known when the pipeline is traced.
type Literal[T any] struct{ value T }

// Lit makes an input of a value that is known when the pipeline is traced, such
// as a parameter. It is recorded with the run as JSON.
func Lit[T any](value T) Literal[T] { return Literal[T]{value} }

func (Literal[T]) holds(T) {}

func (l Literal[T]) argument() argument {
	return argument{literal: true, value: reflect.ValueOf(&l.value).Elem(), field: wholeResult}
}

// argument is an Arg without its type.
type argument struct {
	node    *node
	field   int
	literal bool
	value   reflect.Value
}

// argOf gives the argument of an Arg, which may be nil.
func argOf[T any](a Arg[T]) argument {
	if a == nil {
		return argument{field: wholeResult}
	}
	return a.argument()
}

// Field refers to one field of a step's result: each exported field of the
// result is then an output, and an artifact, of its own. The function gives the
// address of a field of its argument and does nothing else:
//
//	train := pipeline.Field(split, func(s *Split) *pipeline.Table { return &s.Train })
func Field[S, T any](ref Ref[S], field func(*S) *T) Ref[T] {
	n := ref.node
	if n == nil || n.b == nil {
		return Ref[T]{n, wholeResult}
	}
	index, why := fieldIndex(field)
	if ref.field != wholeResult {
		why = "it is a field already: a field's own fields are not outputs"
	}
	if why != "" {
		n.b.fail(caller(1), "Field of step '%s' does not select an output of %s: %s", n.name, typeName(reflect.TypeFor[S]()), why)
		return Ref[T]{}
	}
	n.fields = true
	return Ref[T]{n, index}
}

// fieldIndex is the index of the field of S whose address the function gives;
// otherwise, why there is none.
func fieldIndex[S, T any](field func(*S) *T) (index int, why string) {
	t := reflect.TypeFor[S]()
	if t.Kind() != reflect.Struct {
		return 0, "it is not a struct"
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				panic(r)
			}
			why = "the function must only give the address of a field: return &s.Name"
		}
	}()
	var s S
	p := reflect.ValueOf(field(&s))
	base := reflect.ValueOf(&s).Pointer()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Type == p.Type().Elem() && f.Type.Size() > 0 && p.Pointer() == base+f.Offset {
			if !f.IsExported() {
				return 0, "field " + f.Name + " is not exported"
			}
			return i, ""
		}
	}
	return 0, "the function must give the address of one of its own exported fields: return &s.Name"
}
