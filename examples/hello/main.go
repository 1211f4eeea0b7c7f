// Command hello is the smallest pipeline: one step, one parameter.
package main

import (
	"context"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

func greet(_ context.Context, name string) (string, error) { return "Hello, " + name + "!", nil }

var Greet = pipeline.Fn1("greet", greet, "name")

type Params struct {
	Who string `default:"world" doc:"whom to greet"`
}

func main() {
	pipeline.Main(pipeline.New("hello", func(b *pipeline.B, p Params) { Greet.Do(b, pipeline.Lit(p.Who)) }))
}
