package pipeline_test

import (
	"context"
	"fmt"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

// A step is a function; it knows nothing of cairn unless it wants to.
func double(ctx context.Context, n int) (int, error) {
	pipeline.From(ctx).Metric("doubled", float64(n))
	return 2 * n, nil
}

var Double = pipeline.Fn1("double", double, "n")

// Params are the flags of the program.
type Params struct {
	N int `default:"21" min:"0" doc:"number to double"`
}

// A program's main is pipeline.Main(Answer).
var Answer = pipeline.New("answer", func(b *pipeline.B, p Params) {
	once := Double.Do(b, pipeline.Lit(p.N))
	Double.Named("double-again").Do(b, once, pipeline.Artifact("answer"), pipeline.Retries(2))
})

func Example() {
	// A test calls the steps, and checks that the pipeline is valid.
	n, err := double(context.Background(), 21)
	fmt.Println(n, err)
	fmt.Println(Answer.Check("--n", "3"))
	fmt.Println(Answer.Check("--n", "-1"))
	// Output:
	// 42 <nil>
	// <nil>
	// invalid argument "-1" for "--n" flag: -1 is out of bounds: 0 or more are possible
}
