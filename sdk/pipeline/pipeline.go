package pipeline

import (
	"reflect"
)

// Pipeline is a pipeline of the program. Make one with New; Main runs it.
type Pipeline struct {
	name   string
	build  func(b *B, params any)
	params reflect.Type
	mode   FailureMode
	where  string
}

// FailureMode says what a failed step does to the others.
type FailureMode int32

// The failure modes.
const (
	// StopOnFailure starts no more steps; those that run go on. The default.
	StopOnFailure FailureMode = 2
	// FailFast cancels the steps that run, too.
	FailFast FailureMode = 1
	// Continue runs all that does not depend on the failed step.
	Continue FailureMode = 3
)

// PipelineOption changes a pipeline as a whole.
type PipelineOption func(*Pipeline)

// OnFailure says what a failed step does to the others.
func OnFailure(mode FailureMode) PipelineOption {
	return func(p *Pipeline) { p.mode = mode }
}

// NoParams is the parameters of a pipeline that has none.
type NoParams struct{}

// New makes a pipeline. When the program runs, the function is called once with
// the parameters, to connect the steps; no step has run then, and it must do
// the same whenever it gets the same parameters.
//
// P is a struct. Each exported field is a parameter: a flag of the program, a
// key below parameters in the file of --config, and the environment variable
// CAIRN_PARAM_NAME; in this order of precedence, flag, environment, file,
// default. Fields are texts, numbers, bools, time.Duration, lists and structs
// of these, with the tags
//
//	default:"0.25"       the value where nothing else is given
//	doc:"..."           what it is, for --help
//	name:"ratio"         its name; otherwise made from the field's
//	enum:"a,b"           the values that it can have
//	min:"0" max:"1"      bounds; of a duration in seconds, of a text its length
//	required:"true"      there is no default
//	secret:"true"        never a flag, never recorded, and no literal of a step
func New[P any](name string, build func(b *B, params P), options ...PipelineOption) *Pipeline {
	p := &Pipeline{name: name, params: reflect.TypeFor[P](), mode: StopOnFailure, where: caller(1)}
	if build != nil {
		p.build = func(b *B, params any) { build(b, params.(P)) }
	}
	for _, o := range options {
		if o != nil {
			o(p)
		}
	}
	return p
}

// Check traces the pipeline as a run with these arguments of the command line
// would, and gives the error that the run would end with before it begins: for
// a test of the program.
func (p *Pipeline) Check(args ...string) error {
	o, err := parseOptions(p, args, func(string) (string, bool) { return "", false })
	if err != nil {
		return err
	}
	_, err = o.trace()
	return err
}
