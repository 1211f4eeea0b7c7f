package api

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Registry keeps components and stacks.
type Registry interface {
	RegisterComponent(ctx context.Context, c model.Component) (model.Component, error)
	ListComponents(ctx context.Context, t model.ComponentType) ([]model.Component, error)
	GetComponent(ctx context.Context, t model.ComponentType, nameOrID string) (model.Component, error)
	UpdateComponent(ctx context.Context, t model.ComponentType, nameOrID string, change model.ComponentChange) (model.Component, error)
	RenameComponent(ctx context.Context, t model.ComponentType, nameOrID, newName string) (model.Component, error)
	CopyComponent(ctx context.Context, t model.ComponentType, nameOrID, newName string) (model.Component, error)
	DeleteComponent(ctx context.Context, t model.ComponentType, nameOrID string) error
	// ComponentStacks gives the names of the stacks that a component is in, by
	// its id.
	ComponentStacks(ctx context.Context) (map[string][]string, error)
	// Attention gives why components cannot be used as they stand, by id; those
	// that can are absent.
	Attention(ctx context.Context, components []model.Component) (map[string]string, error)

	RegisterStack(ctx context.Context, name string, choices []model.ComponentChoice, labels map[string]string) (model.Stack, error)
	ListStacks(ctx context.Context) ([]model.Stack, error)
	GetStack(ctx context.Context, nameOrID string) (model.Stack, error)
	StackComponents(ctx context.Context, s model.Stack) ([]model.Component, error)
	UpdateStack(ctx context.Context, nameOrID string, change model.StackChange) (model.Stack, error)
	RenameStack(ctx context.Context, nameOrID, newName string) (model.Stack, error)
	CopyStack(ctx context.Context, nameOrID, newName string) (model.Stack, error)
	DeleteStack(ctx context.Context, client model.Client, nameOrID string, recursive, dryRun bool) (model.StackDeletion, error)
	ValidateStack(ctx context.Context, s model.Stack, check bool) ([]model.ComponentReport, error)
	Snapshot(ctx context.Context, s model.Stack) (model.StackSnapshot, error)
	Active(ctx context.Context, client model.Client) (model.ActiveStack, model.Stack, error)
	SetActive(ctx context.Context, client model.Client, nameOrID string, pin bool) (model.ActiveStack, error)

	ListFlavors(ctx context.Context, t model.ComponentType) ([]model.Flavor, error)
	GetFlavor(ctx context.Context, t model.ComponentType, name string) (model.Flavor, error)
}

// Secrets keeps secrets.
type Secrets interface {
	Create(ctx context.Context, name string, values map[string]string) (model.Secret, error)
	List(ctx context.Context) ([]model.Secret, error)
	Get(ctx context.Context, name string) (model.Secret, error)
	SecretValues(ctx context.Context, name string) (map[string]string, error)
	Update(ctx context.Context, name string, set map[string]string, remove []string) (model.Secret, error)
	Delete(ctx context.Context, name string) error
	// UsedBy gives the components that refer to each secret, as TYPE/NAME.
	UsedBy(ctx context.Context) (map[string][]string, error)
}

// Plugins is the catalogue of plugins.
type Plugins interface {
	Plugins(ctx context.Context) ([]model.Plugin, error)
	// Approve accepts the binary at a path as it is now: the plugin, and the
	// digest that was approved before.
	Approve(ctx context.Context, path, expectedDigest string, dryRun bool) (model.Plugin, string, error)
}

// Runs is what the journal says of runs, and the little that a host which does
// not own a run may write to it.
type Runs interface {
	ListRuns(ctx context.Context, f model.RunFilter) (runs []model.Run, next string, err error)
	// FindRun finds a run by id, unique prefix, name, "latest" or
	// PIPELINE@latest.
	FindRun(ctx context.Context, project, ref string) (model.Run, error)
	LoadRun(ctx context.Context, runID string) (model.RunRecord, error)
	StepCounts(ctx context.Context, runIDs []string) (map[string]map[model.StepState]int, error)
	Events(ctx context.Context, runID string, afterSeq int64, limit int) ([]model.Event, error)
	AskCancel(ctx context.Context, runID, byHost, changeID string) error
	DeleteRun(ctx context.Context, runID string) error
	// Pipelines gives the names of a project's pipelines with how many runs
	// each has, in order of name.
	Pipelines(ctx context.Context, project string) ([]model.PipelineSummary, error)
	// DataVersion changes whenever somebody else changed anything.
	DataVersion(ctx context.Context) (int64, error)
	Hosts(ctx context.Context) ([]model.Host, error)
}

// Artifacts is what the journal says of artifacts.
type Artifacts interface {
	ListArtifacts(ctx context.Context, f model.ArtifactFilter) (list []model.ArtifactVersion, next string, err error)
	// FindArtifact finds NAME:VERSION, NAME:latest, NAME or RUN/STEP/OUTPUT.
	FindArtifact(ctx context.Context, project, ref string) (model.ArtifactVersion, error)
	LocateContent(ctx context.Context, digest string) ([]model.Location, error)
	// StepInputs gives the artifact versions that a step run read, by input.
	StepInputs(ctx context.Context, runID, step string) ([]model.BoundInput, error)
	// StepOutputs gives the artifact versions that a step run made.
	StepOutputs(ctx context.Context, runID, step string) ([]model.ArtifactVersion, error)
	// Consumers gives the step runs that read a version.
	Consumers(ctx context.Context, versionID string) ([]model.Consumer, error)
}

// Stores opens artifact stores for reading.
type Stores interface {
	// OpenStore opens a component that reaches the store of an id. It fails with
	// a *diag.Error where none does. Close it.
	OpenStore(ctx context.Context, storeID string) (ObjectReader, error)
}

// ObjectReader reads an artifact store.
type ObjectReader interface {
	// Component is the name of the component that reaches the store.
	Component() string
	// Fetch gives open files with the bytes of objects, by key and size, in their
	// order; each is closed by the caller. An error of one object is a
	// *diag.PluginError.
	Fetch(ctx context.Context, objects []model.Object) []Fetched
	// LocalPath is the file of an object, where the store is on this machine.
	LocalPath(ctx context.Context, object model.Object) string
	io.Closer
}

// Fetched is one object, or why it is not there.
type Fetched struct {
	File io.ReadCloser
	Err  error
}

// Engine drives runs on this host.
type Engine interface {
	CreateRun(ctx context.Context, r NewRun) (Started, error)
	ResumeRun(ctx context.Context, runID string, spec model.Spec, takeOver bool) (Started, error)
	OpenSession(ctx context.Context, runID, session string) (Session, error)
	NextJob(ctx context.Context, r JobRequest) (JobReply, error)
	CompleteJob(ctx context.Context, runID, session, attempt string) (outcome, detail string, err error)
	StepSecret(ctx context.Context, runID, attempt, name string) (map[string]string, error)
	RecordProvenance(ctx context.Context, runID string, p model.Provenance) error
	// Cancel cancels a run of this host's, or one that no living host owns. It
	// fails with model.ErrOwned where another living host owns it.
	Cancel(ctx context.Context, runID string) error
	// Paused says why a run of this host's waits for its journal; nil where it
	// does not.
	Paused(runID string) error
	// Wait waits until this host is done with a run.
	Wait(ctx context.Context, runID string) error
}

// NewRun asks an Engine for a run.
type NewRun struct {
	ID, Project, Name string
	Labels            map[string]string
	Spec              model.Spec
	Snapshot          model.StackSnapshot
	Recipe            model.Recipe
	Provenance        model.Provenance
}

// Started is a run that an Engine drives.
type Started struct {
	Run      model.Run
	Slots    int
	Warnings diag.List
}

// Session is a program's tie to a run.
type Session struct {
	RunLogPath string
	// Done is closed when the engine is done with the run.
	Done <-chan struct{}
	// End says that the program's stream is over.
	End func()
}

// JobRequest is one turn of a program's long poll.
type JobRequest struct {
	Run, Session string
	Held         []string
	FreeSlots    int
	Wait         time.Duration
}

// JobReply says what to start and what to stop.
type JobReply struct {
	Start    []Job
	Stop     []string
	Done     bool
	RunState model.RunState
}

// Job is one attempt of a step for the program to run.
type Job struct {
	Run, Step, Function, Attempt string
	Number                       int
	Incarnation, Dir, LogPath    string
	Inputs                       []JobInput
	Timeout                      time.Duration
	Secrets                      []string
	Outputs                      []model.Output
}

// JobInput is one bound input: a path, or a value inline.
type JobInput struct {
	Name     string
	Type     model.DataType
	Path     string
	Tree     bool
	Inline   []byte
	Metadata map[string]json.RawMessage
}

// Home is where this host lives.
type Home interface {
	Dir() string
	RuntimeDir() string
	RunLog(runID string) string
	AttemptLog(runID, attemptID string) string
	// RemoveLogs removes the logs of a run.
	RemoveLogs(runID string) error
	// Alive reports whether a host holds its lock.
	Alive(hostID string) bool
	// FindProject gives the project that a directory is in.
	FindProject(dir string) (model.Project, error)
	// InitProject makes a project file in a directory; made is false where it
	// was there.
	InitProject(dir, id string) (p model.Project, made bool, err error)
}
