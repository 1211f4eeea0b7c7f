// Command train is the pipeline of the scripts: load, train, evaluate. A file
// named "fail" in the folder that it starts in makes train fail; while there is
// one named "block", train waits. Each step leaves a line in the file "ledger".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

func load(ctx context.Context, rows int) ([]int, error) {
	data := make([]int, rows)
	for i := range data {
		data[i] = i
	}
	pipeline.From(ctx).Metric("rows", float64(rows))
	return data, note("load")
}

func train(ctx context.Context, data []int) (string, error) {
	pipeline.From(ctx).Log().Info("training", "rows", len(data))
	if err := note("train"); err != nil {
		return "", err
	}
	if _, err := os.Stat("fail"); err == nil {
		return "", errors.New("the loss is not a number")
	}
	for {
		if _, err := os.Stat("block"); err != nil {
			return fmt.Sprintf("a model of %d rows", len(data)), nil
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func evaluate(_ context.Context, model string) (map[string]int, error) {
	return map[string]int{"length": len(model)}, note("evaluate")
}

func note(line string) error {
	f, err := os.OpenFile("ledger", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

var (
	Load     = pipeline.Fn1("load", load, "rows")
	Train    = pipeline.Fn1("train", train, "data")
	Evaluate = pipeline.Fn1("evaluate", evaluate, "model")
)

type Params struct {
	Rows int `default:"100" help:"rows to make"`
}

func main() {
	pipeline.Main(pipeline.New("training", func(b *pipeline.B, p Params) {
		data := Load.Do(b, pipeline.Lit(p.Rows), pipeline.Artifact("data"))
		model := Train.Do(b, data, pipeline.Artifact("model"))
		Evaluate.Do(b, model, pipeline.Artifact("report"))
	}))
}
