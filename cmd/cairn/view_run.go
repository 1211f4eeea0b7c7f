package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
)

// runView is a run.
type runView struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Project  string `json:"project"`
	Pipeline string `json:"pipeline"`
	// State is "running", "completed", "failed", "cancelled" or "interrupted".
	State string `json:"state"`
	Stack string `json:"stack"`
	// Epoch counts who has owned the run, from 1.
	Epoch  uint32            `json:"epoch"`
	Labels map[string]string `json:"labels,omitempty"`
	// StepCounts are the numbers of steps by state.
	StepCounts  map[string]uint32 `json:"step_counts"`
	Error       string            `json:"error,omitempty"`
	ResumedFrom string            `json:"resumed_from,omitempty"`
	CreatedAt   *time.Time        `json:"created_at,omitempty"`
	EndedAt     *time.Time        `json:"ended_at,omitempty"`
}

func runOf(r *apiv1.Run) runView {
	counts := r.GetSteps()
	if counts == nil {
		counts = map[string]uint32{}
	}
	return runView{
		ID: r.GetId(), Name: r.GetName(), Project: r.GetProject(), Pipeline: r.GetPipeline(),
		State: r.GetState(), Stack: r.GetStack(), Epoch: r.GetEpoch(), Labels: r.GetLabels(),
		StepCounts: counts, Error: r.GetError(), ResumedFrom: r.GetResumedFrom(),
		CreatedAt: timeOf(r.GetCreatedAt()), EndedAt: timeOf(r.GetEndedAt()),
	}
}

// final reports whether nothing more will happen to the run by itself.
func (v runView) final() bool { return v.State != "running" }

// stepsText is how far the run is: "3/5", with what did not end well.
func (v runView) stepsText() string {
	var total uint32
	for _, n := range v.StepCounts {
		total += n
	}
	text := strconv.Itoa(int(v.StepCounts["completed"])) + "/" + strconv.Itoa(int(total))
	for _, state := range []string{"running", "failed", "cancelled", "skipped"} {
		if n := v.StepCounts[state]; n > 0 {
			text += ", " + strconv.Itoa(int(n)) + " " + state
		}
	}
	return text
}

// runDetailView is a run with all that is known of it.
type runDetailView struct {
	runView
	Steps      []stepView               `json:"steps"`
	Parameters map[string]parameterView `json:"parameters,omitempty"`
	Components []snapshotView           `json:"components"`
	Provenance *provenanceView          `json:"provenance,omitempty"`
	Recipe     *recipeView              `json:"recipe,omitempty"`
	// ResumeCommand goes on with the run; absent where there is nothing to do.
	ResumeCommand string `json:"resume_command,omitempty"`
}

// parameterView is a parameter of a run; a secret one has no value.
type parameterView struct {
	Value  json.RawMessage `json:"value,omitempty"`
	Secret bool            `json:"secret,omitempty"`
}

// stepView is a step of a run.
type stepView struct {
	Name string `json:"name"`
	// State is "pending", "running", "completed", "failed", "skipped" or
	// "cancelled".
	State    string        `json:"state"`
	Cached   bool          `json:"cached"`
	Attempts []attemptView `json:"attempts"`
	Inputs   []slotView    `json:"inputs"`
	Outputs  []slotView    `json:"outputs"`
	// After are the steps that it waits for, beside those of its inputs.
	After      []string           `json:"after,omitempty"`
	Error      string             `json:"error,omitempty"`
	Hint       string             `json:"hint,omitempty"`
	Metrics    map[string]float64 `json:"metrics,omitempty"`
	Metadata   map[string]any     `json:"metadata,omitempty"`
	Parameters map[string]any     `json:"parameters,omitempty"`
	StartedAt  *time.Time         `json:"started_at,omitempty"`
	EndedAt    *time.Time         `json:"ended_at,omitempty"`
}

// attemptView is one try at a step.
type attemptView struct {
	ID     string `json:"id"`
	Number uint32 `json:"number"`
	// State is "reserved", "running", "completed", "failed", "lost",
	// "timed_out", "cancelled" or "superseded".
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// Trace is where the step's own code failed.
	Trace     string     `json:"trace,omitempty"`
	StartedAt *time.Time `json:"started_at,omitempty"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
}

// slotView is an input or an output of a step.
type slotView struct {
	Name string `json:"name"`
	// Artifact is the version as NAME:VERSION, where there is one yet.
	Artifact string `json:"artifact,omitempty"`
	// From is the step and output that an input comes from, as STEP.OUTPUT.
	From string `json:"from,omitempty"`
	// Value is that of an input known before the run.
	Value json.RawMessage `json:"value,omitempty"`
}

// snapshotView is a component as the run was made with it.
type snapshotView struct {
	Type          string `json:"type"`
	Name          string `json:"name"`
	Flavor        string `json:"flavor"`
	Revision      uint32 `json:"revision"`
	Plugin        string `json:"plugin"`
	PluginVersion string `json:"plugin_version"`
	PluginDigest  string `json:"plugin_digest"`
}

// provenanceView is what made the run.
type provenanceView struct {
	GitCommit      string            `json:"git_commit,omitempty"`
	GitBranch      string            `json:"git_branch,omitempty"`
	GitDirty       bool              `json:"git_dirty"`
	GitPatch       string            `json:"git_patch,omitempty"`
	GitPatchDigest string            `json:"git_patch_digest,omitempty"`
	User           string            `json:"user,omitempty"`
	Host           string            `json:"host,omitempty"`
	CommandLine    []string          `json:"command_line,omitempty"`
	Versions       map[string]string `json:"versions,omitempty"`
}

// recipeView is how the program is started again.
type recipeView struct {
	Argv       []string `json:"argv"`
	WorkingDir string   `json:"working_dir"`
	GoPackage  string   `json:"go_package,omitempty"`
	CodeDigest string   `json:"code_digest,omitempty"`
	// Env are the names of the variables that are set again.
	Env []string `json:"env,omitempty"`
}

func runDetailOf(r *apiv1.GetRunResponse) runDetailView {
	v := runDetailView{
		runView:       runOf(r.GetRun()),
		Steps:         viewsOf(r.GetSteps(), stepOf),
		Components:    viewsOf(r.GetStack(), snapshotOf),
		ResumeCommand: r.GetResumeCommand(),
	}
	if len(r.GetParameters()) > 0 {
		v.Parameters = map[string]parameterView{}
		for name, p := range r.GetParameters() {
			v.Parameters[name] = parameterOf(p)
		}
	}
	if p := r.GetProvenance(); p != nil {
		v.Provenance = &provenanceView{
			p.GetGitCommit(), p.GetGitBranch(), p.GetGitDirty(), p.GetGitPatch(), p.GetGitPatchDigest(),
			p.GetUser(), p.GetHost(), p.GetCommandLine(), p.GetVersions(),
		}
	}
	if p := r.GetRecipe(); p != nil && len(p.GetArgv()) > 0 {
		v.Recipe = &recipeView{
			Argv: p.GetArgv(), WorkingDir: p.GetWorkingDir(), GoPackage: p.GetGoPackage(),
			CodeDigest: p.GetCodeDigest(), Env: slices.Sorted(maps.Keys(p.GetEnv())),
		}
	}
	return v
}

func parameterOf(p *stepv1.Parameter) parameterView {
	if p.GetSecret() || !json.Valid(p.GetValue()) {
		return parameterView{Secret: p.GetSecret()}
	}
	return parameterView{Value: p.GetValue()}
}

func stepOf(s *apiv1.StepRun) stepView {
	return stepView{
		Name: s.GetName(), State: s.GetState(), Cached: s.GetCached(),
		Attempts: viewsOf(s.GetAttempts(), attemptOf),
		Inputs:   viewsOf(s.GetInputs(), slotOf), Outputs: viewsOf(s.GetOutputs(), slotOf),
		After: s.GetAfter(), Error: s.GetError(), Hint: s.GetHint(), Metrics: s.GetMetrics(),
		Metadata: valuesOf(s.GetMetadata()), Parameters: valuesOf(s.GetParameters()),
		StartedAt: timeOf(s.GetStartedAt()), EndedAt: timeOf(s.GetEndedAt()),
	}
}

func attemptOf(a *apiv1.Attempt) attemptView {
	return attemptView{
		ID: a.GetId(), Number: a.GetNumber(), State: a.GetState(), Error: a.GetError(), Trace: a.GetTrace(),
		StartedAt: timeOf(a.GetStartedAt()), EndedAt: timeOf(a.GetEndedAt()),
	}
}

func slotOf(a *apiv1.ArtifactRef) slotView {
	v := slotView{Name: a.GetSlot()}
	if a.GetVersion() > 0 {
		v.Artifact = a.GetArtifact() + ":" + strconv.Itoa(int(a.GetVersion()))
	}
	if a.GetNode() != "" {
		v.From = a.GetNode() + "." + a.GetOutput()
	}
	if json.Valid(a.GetLiteral()) {
		v.Value = a.GetLiteral()
	}
	return v
}

func snapshotOf(c *apiv1.StackSnapshotEntry) snapshotView {
	return snapshotView{
		c.GetType(), c.GetName(), c.GetFlavor(), c.GetRevision(),
		c.GetPlugin(), c.GetPluginVersion(), c.GetPluginDigest(),
	}
}

// valuesOf takes a map of JSON texts; what is no JSON stays a string.
func valuesOf(m map[string]string) map[string]any {
	if len(m) == 0 {
		return nil
	}
	values := make(map[string]any, len(m))
	for k, text := range m {
		values[k] = text
		if json.Valid([]byte(text)) {
			values[k] = json.RawMessage(text)
		}
	}
	return values
}

// eventView is an event of a run: one line of run watch --output json.
type eventView struct {
	Seq     uint64          `json:"seq"`
	At      *time.Time      `json:"at,omitempty"`
	Kind    string          `json:"kind"`
	Step    string          `json:"step,omitempty"`
	Attempt string          `json:"attempt,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func eventOf(e *apiv1.Event) eventView {
	v := eventView{
		Seq: e.GetSeq(), At: timeOf(e.GetAt()), Kind: e.GetKind(), Step: e.GetStep(),
		Attempt: e.GetAttempt(), Message: e.GetMessage(),
	}
	if json.Valid(e.GetData()) {
		v.Data = e.GetData()
	}
	return v
}

// pipelineView is a pipeline that has been run.
type pipelineView struct {
	Name   string   `json:"name"`
	Runs   uint32   `json:"runs"`
	Latest *runView `json:"latest,omitempty"`
}

func pipelineOf(p *apiv1.PipelineSummary) pipelineView {
	v := pipelineView{Name: p.GetName(), Runs: p.GetRuns()}
	if p.GetLatest() != nil {
		latest := runOf(p.GetLatest())
		v.Latest = &latest
	}
	return v
}

func joinNonEmpty(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}
