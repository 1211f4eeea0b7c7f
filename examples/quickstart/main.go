// Command quickstart is a pipeline that learns to tell malignant from benign
// tumours, and measures how well. See README.md for the data.
package main

import "github.com/cairn-stack/cairn/sdk/pipeline"

// Params are the flags of the program.
type Params struct {
	Data  string  `doc:"CSV file to learn from; without it, the data set inside the program"`
	Ratio float64 `default:"0.25" min:"0.05" max:"0.95" doc:"share of the cases that is held out for the evaluation"`
	Seed  uint64  `default:"1" doc:"seed of the shuffle before the split"`
	L2    float64 `name:"l2" default:"1" min:"0" doc:"strength of the regularisation"`
}

// The steps: plain functions, with a name, and names of their inputs.
var (
	Load     = pipeline.Fn1("load", load, "path")
	Split    = pipeline.Fn3("split", split, "cases", "ratio", "seed")
	Train    = pipeline.Fn2("train", train, "cases", "l2")
	Evaluate = pipeline.Fn2("evaluate", evaluate, "model", "cases")
)

// Quickstart connects them.
var Quickstart = pipeline.New("quickstart", func(b *pipeline.B, p Params) {
	cases := Load.Do(b, pipeline.Lit(p.Data))
	parts := Split.Do(b, cases, pipeline.Lit(p.Ratio), pipeline.Lit(p.Seed))
	learn := pipeline.Field(parts, func(s *Parts) *pipeline.Table { return &s.Learn })
	check := pipeline.Field(parts, func(s *Parts) *pipeline.Table { return &s.Check })
	model := Train.Do(b, learn, pipeline.Lit(p.L2), pipeline.Artifact("model"))
	Evaluate.Do(b, model, check, pipeline.Artifact("report"))
})

func main() { pipeline.Main(Quickstart) }
