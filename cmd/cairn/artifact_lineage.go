package main

import (
	"github.com/spf13/cobra"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

func (c *cli) artifactLineage() *cobra.Command {
	return &cobra.Command{
		Use:   "lineage ARTIFACT",
		Short: "Show what an artifact was made from, and what was made from it",
		Long: `Show what an artifact version was made from, and what was made from it, as trees of
steps and artifact versions.` + artifactReference + exits(exitInvalid, exitNotFound),
		Example: "  cairn artifact lineage model:latest\n  cairn artifact lineage model:latest --output json",
		Args:    needs("ARTIFACT"), ValidArgsFunction: c.complete(c.artifactNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			svc, err := c.host(cmd.Context())
			if err != nil {
				return err
			}
			res, err := svc.GetLineage(cmd.Context(), &apiv1.GetLineageRequest{Context: c.context(), Artifact: args[0]})
			if err != nil {
				return err
			}
			v := lineageOf(res)
			return c.show(v, func(p *page) { p.lineage(v) })
		},
	}
}

func (p *page) lineage(v lineageView) {
	t := lineageTree{page: p, nodes: map[string]lineageNodeView{}, up: map[string][]lineageEdgeView{}, down: map[string][]lineageEdgeView{}}
	for _, n := range v.Nodes {
		t.nodes[n.ID] = n
	}
	for _, e := range v.Edges {
		t.up[e.To] = append(t.up[e.To], lineageEdgeView{From: e.To, To: e.From, Slot: e.Slot})
		t.down[e.From] = append(t.down[e.From], e)
	}
	p.line("%s", t.label(v.Root))
	t.part("Made by", v.Root, t.up)
	t.part("Used by", v.Root, t.down)
}

// lineageTree prints a graph as trees.
type lineageTree struct {
	*page
	nodes    map[string]lineageNodeView
	up, down map[string][]lineageEdgeView
}

func (t *lineageTree) part(title, root string, edges map[string][]lineageEdgeView) {
	if len(edges[root]) == 0 {
		return
	}
	t.section(title)
	t.children(root, edges, "", map[string]bool{root: true})
}

// children prints what a node leads to. A node that was printed before is named
// again and not opened again, so that a wide graph stays short.
func (t *lineageTree) children(id string, edges map[string][]lineageEdgeView, prefix string, seen map[string]bool) {
	for i, e := range edges[id] {
		branch, below := "├─ ", "│  "
		if i == len(edges[id])-1 {
			branch, below = "└─ ", "   "
		}
		text := t.label(e.To)
		if seen[e.To] && len(edges[e.To]) > 0 {
			t.line("%s%s%s", prefix, branch, text+t.style.dim(" (see above)"))
			continue
		}
		t.line("%s%s%s", prefix, branch, text)
		seen[e.To] = true
		t.children(e.To, edges, prefix+below, seen)
	}
}

func (t *lineageTree) label(id string) string {
	n := t.nodes[id]
	switch {
	case n.Artifact != nil:
		return t.style.bold(n.Artifact.Reference) + t.style.dim("  "+joinNonEmpty(", ", n.Artifact.typeText(), sizeText(n.Artifact.SizeBytes)))
	case n.Step != nil:
		run := n.Step.RunName
		if run == "" {
			run = "(a deleted run)"
		}
		return "step " + run + "/" + t.style.cyan(n.Step.Step)
	}
	return id
}
