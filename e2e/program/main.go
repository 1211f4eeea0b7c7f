// Command program is the pipeline that the end-to-end tests run: three steps in
// a chain, a ledger outside of cairn that counts what ran, and a parameter for
// each way in which the middle step may go wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

// Params choose what step b does.
type Params struct {
	// B is what step b does beside its work.
	B string `default:"nothing" doc:"nothing, wait, fail, permanent, panic, exit, goroutine, chan, secret, undeclared or timeout"`
	// Retries of step b.
	Retries int `default:"0" doc:"retries of step b"`
}

// note writes a line to the ledger; one write, so that lines stay whole.
func note(what, step string) {
	f, err := os.OpenFile(os.Getenv("LEDGER"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %s\n", what, step)
}

func a(ctx context.Context) (int, error) {
	note("start", "a")
	defer note("end", "a")
	pipeline.From(ctx).Metric("made", 1)
	return 1, nil
}

func b(ctx context.Context, x int, how string) (int, error) {
	note("start", "b")
	fmt.Println("b prints to standard output")
	pipeline.From(ctx).Log().Info("b works", "how", how)
	switch how {
	case "secret", "undeclared":
		if values, err := pipeline.From(ctx).Secret(ctx, "db"); err != nil || values["password"] == "" {
			return 0, fmt.Errorf("the secret: %v, %w", len(values), err)
		}
		fallthrough
	case "wait":
		// Until the test says go, or the run is cancelled.
		for {
			if _, err := os.Stat(os.Getenv("LEDGER") + ".go"); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				note("cancelled", "b")
				return 0, ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	case "fail":
		return 0, errors.New("b is told to fail")
	case "permanent":
		return 0, pipeline.Permanent(errors.New("b is told to fail for good"))
	case "panic":
		panic("b is told to panic")
	case "exit":
		os.Exit(9)
	case "goroutine":
		go func() { panic("a stray goroutine of b panics") }()
		<-ctx.Done()
	case "timeout":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	note("end", "b")
	return x + 1, nil
}

// unstorable is step b where it returns what no artifact can hold.
func unstorable(context.Context, int) (any, error) {
	note("start", "b")
	return map[string]any{"c": make(chan int)}, nil
}

func c(_ context.Context, x int) (int, error) {
	note("start", "c")
	defer note("end", "c")
	return x + 1, nil
}

var (
	stepA = pipeline.Fn0("a", a)
	stepB = pipeline.Fn2("b", b)
	stepC = pipeline.Fn1("c", c)

	stepUnstorable = pipeline.Fn1("b", unstorable)
)

func main() {
	pipeline.Main(pipeline.New("program", func(g *pipeline.B, p Params) {
		if p.B == "chan" {
			stepUnstorable.Do(g, stepA.Do(g))
			return
		}
		options := []pipeline.Option{pipeline.Retries(p.Retries, 10*time.Millisecond)}
		if p.B == "timeout" {
			options = append(options, pipeline.Timeout(200*time.Millisecond))
		}
		if p.B == "secret" {
			options = append(options, pipeline.Secrets("db"))
		}
		stepC.Do(g, stepB.Do(g, stepA.Do(g), pipeline.Lit(p.B), options...))
	}))
}
