package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func TestTableGivesWayToTheTerminal(t *testing.T) {
	header, rows := []string{"NAME", "SUMMARY"}, [][]string{{"local", strings.Repeat("word ", 20)}, {"日本", "x"}}
	wide := &page{}
	wide.table(header, rows)
	if !strings.Contains(wide.b.String(), strings.TrimSpace(rows[0][1])) {
		t.Errorf("cut without a terminal:\n%s", wide.b.String())
	}
	narrow := &page{width: 30}
	narrow.table(header, rows)
	want := "NAME   SUMMARY\nlocal  word word word word wo…\n日本   x\n"
	if diff := cmp.Diff(want, narrow.b.String()); diff != "" {
		t.Error(diff)
	}
	coloured := &page{width: 30, style: style{on: true}}
	coloured.table(header, [][]string{{coloured.style.green("ok"), "fine"}, {"failed", "x"}})
	if !strings.Contains(coloured.b.String(), "\x1b[32mok\x1b[0m      fine") {
		t.Errorf("colour disturbs the columns: %q", coloured.b.String())
	}
}

func TestColourOnlyWhereItIsWanted(t *testing.T) {
	for _, name := range []string{"NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"} {
		t.Setenv(name, "")
	}
	f := &fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
		return &apiv1.ListStacksResponse{Stacks: []*apiv1.Stack{{Name: "default", Active: true}}}, nil
	}}
	coloured := func(args ...string) bool {
		return strings.Contains(f.cairn(t, "", append([]string{"stack", "list"}, args...)...).stdout, "\x1b[")
	}
	if coloured() {
		t.Error("colour without a terminal")
	}
	t.Setenv("CLICOLOR_FORCE", "1")
	if !coloured() {
		t.Error("CLICOLOR_FORCE does nothing")
	}
	if coloured("--no-color") {
		t.Error("--no-color does nothing")
	}
	if coloured("--output", "json") {
		t.Error("colour in JSON")
	}
	t.Setenv("NO_COLOR", "1")
	if coloured() {
		t.Error("NO_COLOR does nothing")
	}
}

func TestStackListAndDescribe(t *testing.T) {
	stack := &apiv1.Stack{Name: "default", Active: true, BuiltIn: true, Components: []*apiv1.StackComponent{
		{Type: "orchestrator", Name: "default", Flavor: "local"}, {Type: "artifact-store", Name: "default", Flavor: "local"},
	}}
	f := &fakeHost{listStacks: func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
		return &apiv1.ListStacksResponse{Stacks: []*apiv1.Stack{stack, {Name: "mine", Labels: map[string]string{"b": "2", "a": "1"}}}}, nil
	}}
	want := "   NAME     ORCHESTRATOR  ARTIFACT STORE  LABELS\n*  default  default       default\n   mine                                   a=1, b=2\n"
	if diff := cmp.Diff(want, f.cairn(t, "", "stack", "list").stdout); diff != "" {
		t.Error(diff)
	}
	f.listStacks = func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
		return &apiv1.ListStacksResponse{}, nil
	}
	if got := f.cairn(t, "", "stack", "list", "--output", "json").stdout; got != "[]\n" {
		t.Errorf("no stacks are %q", got)
	}
}

func TestStackValidate(t *testing.T) {
	report := func(state, fault string) *fakeHost {
		return &fakeHost{validateStack: func(*apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error) {
			return &apiv1.ValidateStackResponse{Stack: "mine", Ok: state == "ok", Components: []*apiv1.ComponentReport{{
				Type: "artifact-store", Name: "s3", Flavor: "s3", State: state, LatencyUs: 1500,
				Findings: []*apiv1.Finding{{Severity: "error", Path: "bucket", Summary: "is not there", Fault: fault}},
			}}}, nil
		}}
	}
	for name, test := range map[string]struct {
		state, fault string
		code         int
	}{
		"usable": {"ok", "", 0}, "config": {"failed", "config", 2}, "backend": {"failed", "backend", 7}, "plugin": {"failed", "plugin", 7},
	} {
		res := report(test.state, test.fault).cairn(t, "", "stack", "validate", "mine")
		if res.code != test.code || !strings.Contains(res.stdout, "artifact-store  s3         s3      "+test.state) || !strings.Contains(res.stdout, "bucket: is not there") {
			t.Errorf("%s: exit code %d, %s", name, res.code, res.stdout)
		}
	}
}

func TestArtifactVerifyExits(t *testing.T) {
	for code, states := range map[int][]string{0: {"ok", "ok"}, 7: {"ok", "unreachable"}, 8: {"unreachable", "corrupt", "missing"}} {
		f := &fakeHost{verifyArtifact: func(*apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error) {
			res := &apiv1.VerifyArtifactResponse{}
			for _, s := range states {
				res.Verifications = append(res.Verifications, &apiv1.Verification{State: s, Artifact: &apiv1.ArtifactVersion{Name: "model", Version: 1}})
			}
			return res, nil
		}}
		if res := f.cairn(t, "", "artifact", "verify"); res.code != code {
			t.Errorf("%v: exit code %d, want %d", states, res.code, code)
		}
	}
}

func TestLineageIsATree(t *testing.T) {
	artifact := func(id, name string) *apiv1.LineageNode {
		return &apiv1.LineageNode{Id: id, What: &apiv1.LineageNode_Artifact{Artifact: &apiv1.ArtifactVersion{Name: name, Version: 1, Size: 2048}}}
	}
	step := func(id, name string) *apiv1.LineageNode {
		return &apiv1.LineageNode{Id: id, What: &apiv1.LineageNode_Step{Step: &apiv1.LineageStep{RunName: "training-1", Step: name}}}
	}
	f := &fakeHost{getLineage: func(*apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error) {
		return &apiv1.GetLineageResponse{
			Root:  "m",
			Nodes: []*apiv1.LineageNode{artifact("m", "model"), artifact("d", "data"), artifact("t", "test"), step("sl", "load"), step("st", "train"), step("se", "evaluate")},
			Edges: []*apiv1.LineageEdge{
				{From: "st", To: "m"}, {From: "d", To: "st"}, {From: "t", To: "st"}, {From: "sl", To: "d"}, {From: "sl", To: "t"}, {From: "m", To: "se"},
			},
		}, nil
	}}
	want := `model:1  , 2.0 KiB

Made by
└─ step training-1/train
   ├─ data:1  , 2.0 KiB
   │  └─ step training-1/load
   └─ test:1  , 2.0 KiB
      └─ step training-1/load

Used by
└─ step training-1/evaluate
`
	res := f.cairn(t, "", "artifact", "lineage", "model")
	if diff := cmp.Diff(strings.ReplaceAll(want, "  , ", "  "), res.stdout); diff != "" {
		t.Error(diff)
	}
}
