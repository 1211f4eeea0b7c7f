// Command chain is a pipeline of empty steps, one after the other.
package main

import (
	"context"
	"fmt"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

// Params of the chain.
type Params struct {
	Steps int `default:"2" min:"1" doc:"how many steps"`
}

var (
	first = pipeline.Fn0("first", func(context.Context) (int, error) { return 0, nil })
	next  = pipeline.Fn1("next", func(_ context.Context, x int) (int, error) { return x + 1, nil })
)

func main() {
	pipeline.Main(pipeline.New("chain", func(b *pipeline.B, p Params) {
		var x pipeline.Arg[int] = first.Do(b)
		for i := 1; i < p.Steps; i++ {
			x = next.Named(fmt.Sprintf("s%d", i)).Do(b, x)
		}
	}))
}
