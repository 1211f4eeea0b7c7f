package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

//go:embed data/breast_cancer.csv
var breastCancer string

// The column that is to be told, and its value that counts as positive.
const (
	target   = "diagnosis"
	positive = "malignant"
)

// load reads the cases.
func load(ctx context.Context, path string) (pipeline.Table, error) {
	var r io.Reader = strings.NewReader(breastCancer)
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return pipeline.Table{}, pipeline.Permanent(err)
		}
		defer f.Close()
		r = f
	}
	cases, err := pipeline.ReadCSV(r)
	if err != nil {
		return cases, pipeline.Permanent(err)
	}
	pipeline.From(ctx).Log().Info("loaded", "cases", cases.Rows(), "columns", len(cases.Columns()))
	return cases, nil
}

// Parts are the cases to learn from, and those to check with.
type Parts struct{ Learn, Check pipeline.Table }

// split shuffles the cases and holds a share of them out.
func split(ctx context.Context, cases pipeline.Table, ratio float64, seed uint64) (Parts, error) {
	out := int(math.Round(ratio * float64(cases.Rows())))
	if out == 0 || out == cases.Rows() {
		return Parts{}, fmt.Errorf("a share of %v of %d cases leaves nothing on one side", ratio, cases.Rows())
	}
	order := rand.New(rand.NewPCG(seed, 0)).Perm(cases.Rows())
	pipeline.From(ctx).Log().Info("split", "learn", len(order)-out, "check", out)
	return Parts{Learn: cases.Pick(order[out:]), Check: cases.Pick(order[:out])}, nil
}

// Model is a logistic regression over standardised features.
type Model struct {
	Features  []string  `json:"features"`
	Mean      []float64 `json:"mean"`
	Scale     []float64 `json:"scale"`
	Weights   []float64 `json:"weights"`
	Intercept float64   `json:"intercept"`
}

// train fits the model by L-BFGS.
func train(ctx context.Context, cases pipeline.Table, l2 float64) (Model, error) {
	x, y, names, err := matrix(cases)
	if err != nil {
		return Model{}, err
	}
	m := Model{Features: names, Mean: make([]float64, len(names)), Scale: make([]float64, len(names))}
	for j := range names {
		column := make([]float64, len(x))
		for i := range x {
			column[i] = x[i][j]
		}
		m.Mean[j], m.Scale[j] = stat.MeanStdDev(column, nil)
		if m.Scale[j] == 0 || math.IsNaN(m.Scale[j]) {
			m.Scale[j] = 1
		}
	}
	for i := range x {
		x[i] = m.standardise(x[i])
	}
	loss := regression{x: x, y: y, l2: l2}
	fit, err := optimize.Minimize(
		optimize.Problem{Func: loss.value, Grad: loss.gradient},
		make([]float64, len(names)+1), &optimize.Settings{GradientThreshold: 1e-5}, &optimize.LBFGS{})
	if err != nil {
		return Model{}, fmt.Errorf("fit the model: %w", err)
	}
	m.Weights, m.Intercept = fit.X[:len(names)], fit.X[len(names)]
	run := pipeline.From(ctx)
	run.Log().Info("fitted", "iterations", fit.MajorIterations, "status", fit.Status.String())
	run.Metric("loss", fit.F/float64(len(x)))
	run.Metadata("iterations", fit.MajorIterations)
	return m, nil
}

// Report is how well a model does.
type Report struct {
	Cases          int     `json:"cases"`
	Accuracy       float64 `json:"accuracy"`
	FalsePositives int     `json:"false_positives"`
	FalseNegatives int     `json:"false_negatives"`
}

// evaluate tells cases that the model has not seen.
func evaluate(ctx context.Context, m Model, cases pipeline.Table) (Report, error) {
	x, y, _, err := matrix(cases)
	if err != nil {
		return Report{}, err
	}
	r := Report{Cases: len(x)}
	for i := range x {
		switch told := m.probability(x[i]) > 0.5; {
		case told && y[i] == 0:
			r.FalsePositives++
		case !told && y[i] == 1:
			r.FalseNegatives++
		}
	}
	r.Accuracy = 1 - float64(r.FalsePositives+r.FalseNegatives)/float64(r.Cases)
	run := pipeline.From(ctx)
	run.Metric("accuracy", r.Accuracy)
	run.Log().Info("evaluated", "cases", r.Cases, "accuracy", r.Accuracy,
		"false positives", r.FalsePositives, "false negatives", r.FalseNegatives)
	return r, nil
}

// matrix gives the features of the cases as rows, and the target as 0 and 1.
func matrix(cases pipeline.Table) (x [][]float64, y []float64, names []string, err error) {
	labels, err := cases.Strings(target)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(labels) == 0 {
		return nil, nil, nil, errors.New("there are no cases")
	}
	x, y = make([][]float64, len(labels)), make([]float64, len(labels))
	for i, l := range labels {
		if l == positive {
			y[i] = 1
		}
	}
	for _, c := range cases.Columns() {
		if c.Name == target {
			continue
		}
		values, err := cases.Floats(c.Name)
		if err != nil {
			return nil, nil, nil, err
		}
		names = append(names, c.Name)
		for i, v := range values {
			x[i] = append(x[i], v)
		}
	}
	return x, y, names, nil
}

func (m Model) standardise(x []float64) []float64 {
	out := make([]float64, len(x))
	for j := range x {
		out[j] = (x[j] - m.Mean[j]) / m.Scale[j]
	}
	return out
}

func (m Model) probability(x []float64) float64 {
	return sigmoid(floats.Dot(m.Weights, m.standardise(x)) + m.Intercept)
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// regression is the loss of a logistic regression: w has the weights, then the
// intercept, which is not regularised.
type regression struct {
	x  [][]float64
	y  []float64
	l2 float64
}

func (r regression) value(w []float64) float64 {
	n := len(w) - 1
	sum := r.l2 / 2 * floats.Dot(w[:n], w[:n])
	for i, x := range r.x {
		z := floats.Dot(w[:n], x) + w[n]
		// log(1+exp(z)) - y·z, without overflow.
		sum += math.Max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) - r.y[i]*z
	}
	return sum
}

func (r regression) gradient(grad, w []float64) {
	n := len(w) - 1
	copy(grad, w)
	floats.Scale(r.l2, grad[:n])
	grad[n] = 0
	for i, x := range r.x {
		d := sigmoid(floats.Dot(w[:n], x)+w[n]) - r.y[i]
		floats.AddScaled(grad[:n], d, x)
		grad[n] += d
	}
}
