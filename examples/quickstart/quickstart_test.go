package main

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-stack/cairn/sdk/pipeline"
)

// accuracy runs the steps as a program would, without cairn.
func accuracy(t *testing.T, cases pipeline.Table, seed uint64) float64 {
	t.Helper()
	parts, err := split(t.Context(), cases, 0.25, seed)
	if err != nil {
		t.Fatal(err)
	}
	model, err := train(t.Context(), parts.Learn, 1)
	if err != nil {
		t.Fatal(err)
	}
	report, err := evaluate(t.Context(), model, parts.Check)
	if err != nil {
		t.Fatal(err)
	}
	if report.Cases != parts.Check.Rows() || math.Abs(report.Accuracy-(1-float64(report.FalsePositives+report.FalseNegatives)/float64(report.Cases))) > 1e-12 {
		t.Errorf("the report does not add up: %+v", report)
	}
	return report.Accuracy
}

func dataset(t *testing.T) pipeline.Table {
	t.Helper()
	cases, err := load(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if cases.Rows() != 569 || len(cases.Columns()) != 31 {
		t.Fatalf("the data set has %d cases of %d columns", cases.Rows(), len(cases.Columns()))
	}
	return cases
}

func TestAccuracyIsHigh(t *testing.T) {
	cases := dataset(t)
	for seed := range uint64(5) {
		if a := accuracy(t, cases, seed); a < 0.93 {
			t.Errorf("seed %d: accuracy %.3f", seed, a)
		}
	}
}

// With labels that have nothing to do with the features, the model can only
// guess: it does no better than to say "benign" always.
func TestShuffledLabelsGiveChance(t *testing.T) {
	cases := dataset(t)
	labels, err := cases.Strings(target)
	if err != nil {
		t.Fatal(err)
	}
	benign := 0
	for _, l := range labels {
		if l != positive {
			benign++
		}
	}
	chance := float64(benign) / float64(len(labels))
	sum := 0.0
	const times = 5
	for seed := range uint64(times) {
		var columns []pipeline.Column
		for _, c := range cases.Columns() {
			if c.Name != target {
				columns = append(columns, c)
				continue
			}
			shuffled := make([]string, len(labels))
			for i, j := range rand.New(rand.NewPCG(seed, 99)).Perm(len(labels)) {
				shuffled[i] = labels[j]
			}
			columns = append(columns, pipeline.Strings(target, shuffled))
		}
		table, err := pipeline.NewTable(columns...)
		if err != nil {
			t.Fatal(err)
		}
		sum += accuracy(t, table, seed)
	}
	if mean := sum / times; math.Abs(mean-chance) > 0.1 {
		t.Errorf("accuracy with shuffled labels is %.3f; chance is %.3f", mean, chance)
	}
}

func TestSplitLosesNothing(t *testing.T) {
	cases := dataset(t)
	parts, err := split(t.Context(), cases, 0.25, 3)
	if err != nil {
		t.Fatal(err)
	}
	if parts.Learn.Rows()+parts.Check.Rows() != cases.Rows() || parts.Check.Rows() != 142 {
		t.Errorf("%d and %d cases of %d", parts.Learn.Rows(), parts.Check.Rows(), cases.Rows())
	}
	if _, err := split(t.Context(), cases, 0.0001, 3); err == nil {
		t.Error("a split with an empty side is accepted")
	}
}

func TestLoadOwnData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.csv")
	if err := os.WriteFile(path, []byte("a,diagnosis\n1.5,benign\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases, err := load(t.Context(), path)
	if err != nil || cases.Rows() != 1 {
		t.Errorf("%d cases, %v", cases.Rows(), err)
	}
	if _, err := load(t.Context(), path+"x"); err == nil {
		t.Error("a missing file is accepted")
	}
}

func TestPipelineIsValid(t *testing.T) {
	if err := Quickstart.Check("--ratio", "0.5"); err != nil {
		t.Error(err)
	}
	if err := Quickstart.Check("--ratio", "1.5"); err == nil {
		t.Error("a ratio of 1.5 is accepted")
	}
}
