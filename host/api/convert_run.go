package api

import (
	"encoding/json"
	"path/filepath"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
)

// Interrupted is what a running run is called whose owner is gone.
const Interrupted = "interrupted"

// runToProto converts a run. Alive says whether its owner lives; counts are of
// its steps by state.
func runToProto(r model.Run, alive bool, counts map[model.StepState]int) *apiv1.Run {
	state := string(r.State)
	if r.State == model.RunRunning && !alive {
		state = Interrupted
	}
	out := &apiv1.Run{
		Id: r.ID, Name: r.Name, Project: r.Project, Pipeline: r.Pipeline, State: state,
		Stack: r.Stack, Labels: r.Labels, Epoch: uint32(r.Epoch),
		CreatedAt: timestamp(r.CreatedAt), EndedAt: timestamp(r.EndedAt),
		Error: r.Error, ResumedFrom: r.ResumedFrom,
	}
	if len(counts) > 0 {
		out.Steps = make(map[string]uint32, len(counts))
		for s, n := range counts {
			out.Steps[string(s)] = uint32(n)
		}
	}
	return out
}

func recipeFromProto(p *apiv1.Recipe) model.Recipe {
	return model.Recipe{
		Argv: p.GetArgv(), WorkingDir: p.GetWorkingDir(), Env: p.GetEnv(),
		GoPackage: p.GetGoPackage(), CodeDigest: p.GetCodeDigest(),
	}
}

func recipeToProto(r model.Recipe) *apiv1.Recipe {
	return &apiv1.Recipe{
		Argv: r.Argv, WorkingDir: r.WorkingDir, Env: r.Env, GoPackage: r.GoPackage, CodeDigest: r.CodeDigest,
	}
}

func provenanceFromProto(p *apiv1.Provenance) model.Provenance {
	return model.Provenance{
		GitCommit: p.GetGitCommit(), GitBranch: p.GetGitBranch(), GitDirty: p.GetGitDirty(),
		GitPatch: p.GetGitPatch(), GitPatchDigest: p.GetGitPatchDigest(),
		User: p.GetUser(), Host: p.GetHost(), CommandLine: p.GetCommandLine(), Versions: p.GetVersions(),
	}
}

func provenanceToProto(p model.Provenance) *apiv1.Provenance {
	return &apiv1.Provenance{
		GitCommit: p.GitCommit, GitBranch: p.GitBranch, GitDirty: p.GitDirty,
		GitPatch: p.GitPatch, GitPatchDigest: p.GitPatchDigest,
		User: p.User, Host: p.Host, CommandLine: p.CommandLine, Versions: p.Versions,
	}
}

func attemptToProto(a model.Attempt) *apiv1.Attempt {
	return &apiv1.Attempt{
		Id: a.ID, Number: uint32(a.Number), State: string(a.State), Error: a.Error, Trace: a.Trace,
		StartedAt: timestamp(a.StartedAt), EndedAt: timestamp(a.EndedAt),
	}
}

// stepToProto converts a step run with what it read and wrote. versions are the
// artifact versions that its inputs were bound to, by id.
func stepToProto(node model.Node, s model.StepRun, rec model.RunRecord) *apiv1.StepRun {
	out := &apiv1.StepRun{
		Name: node.Name, State: string(s.State), Cached: s.Cached, After: node.After,
		Error: s.Error, Hint: s.Hint, Metrics: s.Metrics,
		Metadata: stringsOf(s.Metadata), Parameters: stringsOf(s.Parameters),
		StartedAt: timestamp(s.StartedAt), EndedAt: timestamp(s.EndedAt),
	}
	for _, a := range rec.Attempts[node.Name] {
		out.Attempts = append(out.Attempts, attemptToProto(a))
	}
	for _, in := range node.Inputs {
		ref := &apiv1.ArtifactRef{Slot: in.Name, Node: in.Node, Output: in.Output, Literal: in.Literal}
		for _, v := range rec.Outputs[in.Node] {
			if in.Node != "" && v.Output == in.Output {
				ref.Artifact, ref.Version = v.Name, uint32(v.Version)
			}
		}
		out.Inputs = append(out.Inputs, ref)
	}
	for _, v := range rec.Outputs[node.Name] {
		out.Outputs = append(out.Outputs, &apiv1.ArtifactRef{Slot: v.Output, Artifact: v.Name, Version: uint32(v.Version)})
	}
	return out
}

func stringsOf(m map[string]json.RawMessage) map[string]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

func parametersToProto(m map[string]model.Parameter) map[string]*stepv1.Parameter {
	out := make(map[string]*stepv1.Parameter, len(m))
	for k, p := range m {
		q := &stepv1.Parameter{Secret: p.Secret}
		if !p.Secret {
			q.Value = p.Value
		}
		out[k] = q
	}
	return out
}

func snapshotToProto(s model.StackSnapshot, home string) []*apiv1.StackSnapshotEntry {
	var out []*apiv1.StackSnapshotEntry
	for _, c := range s.Components {
		out = append(out, &apiv1.StackSnapshotEntry{
			Type: string(c.Component.Type), Name: c.Component.Name, Flavor: c.Component.Flavor,
			Revision: uint32(c.Component.Revision),
			Plugin:   c.Plugin, PluginVersion: c.PluginVersion, PluginDigest: c.PluginDigest,
			Directory: directoryOf(c.Component, home),
		})
	}
	return out
}

// directoryOf is the absolute path in a component's config; the built-in store's
// lies in the home.
func directoryOf(c model.Component, home string) string {
	if c.ID == model.DefaultArtifactStoreID {
		return filepath.Join(home, "artifacts")
	}
	var config struct {
		Path string `json:"path"`
	}
	if json.Unmarshal(c.Config, &config) != nil || !filepath.IsAbs(config.Path) {
		return ""
	}
	return config.Path
}

func eventToProto(e model.Event) *apiv1.Event {
	return &apiv1.Event{
		Seq: uint64(e.Seq), At: timestamp(e.At), Kind: string(e.Kind), Step: e.Step,
		Attempt: e.Attempt, Message: e.Message, Data: e.Data,
	}
}

func typeToProto(t model.DataType) *stepv1.Type {
	return &stepv1.Type{MediaType: t.MediaType, LanguageType: t.LanguageType}
}

func artifactToProto(v model.ArtifactVersion) *apiv1.ArtifactVersion {
	return &apiv1.ArtifactVersion{
		Id: v.ID, Name: v.Name, Version: uint32(v.Version), Project: v.Project,
		Digest: v.Digest, Size: v.Size, Type: typeToProto(v.Type), Tree: v.Tree,
		Run: v.RunID, RunName: v.RunName, Step: v.Step, Output: v.Output,
		CreatedAt: timestamp(v.CreatedAt), Metadata: stringsOf(v.Metadata),
	}
}
