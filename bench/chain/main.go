// Command chain is a pipeline of empty steps, one after the other.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

// Params of the chain.
type Params struct {
	Steps int `default:"2" min:"1" doc:"how many steps"`
}

var (
	// Values that no earlier run has stored, so that each is written.
	first = pipeline.Fn0("first", func(context.Context) (int64, error) { return time.Now().UnixNano(), nil })
	next  = pipeline.Fn1("next", func(_ context.Context, x int64) (int64, error) { return x + 1, nil })
)

func main() {
	pipeline.Main(pipeline.New("chain", func(b *pipeline.B, p Params) {
		var x pipeline.Arg[int64] = first.Do(b)
		for i := 1; i < p.Steps; i++ {
			x = next.Named(fmt.Sprintf("s%d", i)).Do(b, x)
		}
	}))
}
