package api

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// timestamp is a time on the wire; the zero time is absent.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func activeToProto(a model.ActiveStack) *apiv1.ActiveStack {
	return &apiv1.ActiveStack{Name: a.Name, DecidedBy: string(a.DecidedBy), Source: a.Source}
}

func pluginToProto(p model.Plugin) *apiv1.Plugin {
	out := &apiv1.Plugin{
		Name: p.Name, Path: p.Path, Version: p.Version, Digest: p.Digest,
		Status: string(p.Status), Detail: p.Detail, BuiltIn: p.BuiltIn,
		ApprovedAt: timestamp(p.ApprovedAt),
	}
	seen := map[string]bool{}
	for _, f := range p.Flavors {
		out.Flavors = append(out.Flavors, string(f.Type)+"/"+f.Name)
		for _, e := range f.Env {
			if !seen[e] {
				seen[e] = true
				out.Env = append(out.Env, e)
			}
		}
	}
	return out
}

func flavorToProto(f model.Flavor) *apiv1.Flavor {
	return &apiv1.Flavor{
		Type: string(f.Type), Name: f.Name, Plugin: f.Plugin, Summary: f.Summary,
		SchemaVersion: uint32(f.SchemaVersion), ConfigSchema: f.ConfigSchema,
		Features: f.Features, MachineBound: f.MachineBound,
	}
}

func componentToProto(c model.Component, stacks []string, attention string) *apiv1.Component {
	return &apiv1.Component{
		Id: c.ID, Type: string(c.Type), Name: c.Name, Flavor: c.Flavor, Config: c.Config,
		Labels: c.Labels, Revision: uint32(c.Revision),
		CreatedAt: timestamp(c.CreatedAt), UpdatedAt: timestamp(c.UpdatedAt),
		BuiltIn: c.BuiltIn(), Stacks: stacks, Attention: attention,
	}
}

func stackToProto(s model.Stack, active bool) *apiv1.Stack {
	out := &apiv1.Stack{
		Id: s.ID, Name: s.Name, Labels: s.Labels, Revision: uint32(s.Revision),
		CreatedAt: timestamp(s.CreatedAt), UpdatedAt: timestamp(s.UpdatedAt),
		BuiltIn: s.BuiltIn(), Active: active,
	}
	for _, m := range s.Members {
		out.Components = append(out.Components, &apiv1.StackComponent{
			Type: string(m.Type), Name: m.Name, Id: m.ComponentID, Flavor: m.Flavor,
		})
	}
	return out
}

func choicesFromProto(list []*apiv1.ComponentChoice) []model.ComponentChoice {
	var out []model.ComponentChoice
	for _, c := range list {
		out = append(out, model.ComponentChoice{Type: model.ComponentType(c.GetType()), Name: c.GetName()})
	}
	return out
}

func choicesToProto(list []model.ComponentChoice) []*apiv1.ComponentChoice {
	var out []*apiv1.ComponentChoice
	for _, c := range list {
		out = append(out, &apiv1.ComponentChoice{Type: string(c.Type), Name: c.Name})
	}
	return out
}

func reportToProto(r model.ComponentReport) *apiv1.ComponentReport {
	out := &apiv1.ComponentReport{
		Type: string(r.Component.Type), Name: r.Component.Name, Flavor: r.Component.Flavor,
		State: string(r.State), LatencyUs: r.Latency.Microseconds(),
	}
	for _, f := range r.Findings {
		severity := "error"
		if f.Warning {
			severity = "warning"
		}
		out.Findings = append(out.Findings, &apiv1.Finding{
			Severity: severity, Summary: f.Summary, Detail: f.Detail, Path: f.Path, Fault: f.Fault, Hint: f.Hint,
		})
	}
	return out
}

func secretToProto(s model.Secret, usedBy []string) *apiv1.Secret {
	return &apiv1.Secret{
		Name: s.Name, Keys: s.Keys, UsedBy: usedBy,
		CreatedAt: timestamp(s.CreatedAt), UpdatedAt: timestamp(s.UpdatedAt),
	}
}
