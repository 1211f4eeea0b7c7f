package api

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// maxLineage bounds the nodes of one answer.
const maxLineage = 10_000

// lineage collects the graph around an artifact version: breadth first, up to
// what it was made of and down to what was made of it.
type lineage struct {
	server *Server
	out    *apiv1.GetLineageResponse
	seen   map[string]bool
	edges  map[string]bool
}

func artifactNode(id string) string      { return "artifact/" + id }
func stepNode(runID, step string) string { return "step/" + runID + "/" + step }

// artifact adds a version; false where it is there.
func (g *lineage) artifact(v model.ArtifactVersion) bool {
	id := artifactNode(v.ID)
	if g.seen[id] || len(g.out.Nodes) >= maxLineage {
		return false
	}
	g.seen[id] = true
	g.out.Nodes = append(g.out.Nodes, &apiv1.LineageNode{
		Id: id, What: &apiv1.LineageNode_Artifact{Artifact: artifactToProto(v)},
	})
	return true
}

// step adds a step run; false where it is there.
func (g *lineage) step(runID, runName, step string, state model.StepState) bool {
	id := stepNode(runID, step)
	if g.seen[id] || len(g.out.Nodes) >= maxLineage {
		return false
	}
	g.seen[id] = true
	g.out.Nodes = append(g.out.Nodes, &apiv1.LineageNode{
		Id: id, What: &apiv1.LineageNode_Step{Step: &apiv1.LineageStep{
			Run: runID, RunName: runName, Step: step, State: string(state),
		}},
	})
	return true
}

func (g *lineage) edge(from, to, slot string) {
	key := from + "\x00" + to + "\x00" + slot
	if g.edges[key] || !g.seen[from] || !g.seen[to] {
		return
	}
	g.edges[key] = true
	g.out.Edges = append(g.out.Edges, &apiv1.LineageEdge{From: from, To: to, Slot: slot})
}

// up follows producers. A version's producer completed, else it were not there.
func (g *lineage) up(ctx context.Context, root model.ArtifactVersion) error {
	queue := []model.ArtifactVersion{root}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		node := stepNode(v.RunID, v.Step)
		fresh := g.step(v.RunID, v.RunName, v.Step, model.StepCompleted)
		g.edge(node, artifactNode(v.ID), v.Output)
		if !fresh {
			continue
		}
		inputs, err := g.server.Artifacts.StepInputs(ctx, v.RunID, v.Step)
		if err != nil {
			return err
		}
		for _, in := range inputs {
			if in.Version.ID == "" {
				continue
			}
			if g.artifact(in.Version) {
				queue = append(queue, in.Version)
			}
			g.edge(artifactNode(in.Version.ID), node, in.Input)
		}
	}
	return nil
}

// down follows consumers and what they made.
func (g *lineage) down(ctx context.Context, root model.ArtifactVersion) error {
	queue := []model.ArtifactVersion{root}
	done := map[string]bool{}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		consumers, err := g.server.Artifacts.Consumers(ctx, v.ID)
		if err != nil {
			return err
		}
		for _, c := range consumers {
			node := stepNode(c.RunID, c.Step)
			g.step(c.RunID, c.RunName, c.Step, c.State)
			g.edge(artifactNode(v.ID), node, c.Input)
			if done[node] {
				continue
			}
			done[node] = true
			outputs, err := g.server.Artifacts.StepOutputs(ctx, c.RunID, c.Step)
			if err != nil {
				return err
			}
			for _, out := range outputs {
				if g.artifact(out) {
					queue = append(queue, out)
				}
				g.edge(node, artifactNode(out.ID), out.Output)
			}
		}
	}
	return nil
}
