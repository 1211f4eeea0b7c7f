package main

import (
	"strconv"
	"time"

	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
)

// artifactView is an artifact version.
type artifactView struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version uint32 `json:"version"`
	// Reference is NAME:VERSION.
	Reference string `json:"reference"`
	Project   string `json:"project"`
	Digest    string `json:"digest"`
	// SizeBytes is the size of the content.
	SizeBytes int64  `json:"size_bytes"`
	MediaType string `json:"media_type"`
	// LanguageType is the type in the pipeline's language.
	LanguageType string `json:"language_type,omitempty"`
	// Tree: it is a folder of files.
	Tree bool `json:"tree"`
	// Run is the id of the run that made it; RunName is absent where that run
	// was deleted.
	Run       string         `json:"run,omitempty"`
	RunName   string         `json:"run_name,omitempty"`
	Step      string         `json:"step,omitempty"`
	Output    string         `json:"output,omitempty"`
	Metadata  map[string]any `json:"metadata,omitempty"`
	CreatedAt *time.Time     `json:"created_at,omitempty"`
}

func artifactOf(a *apiv1.ArtifactVersion) artifactView {
	return artifactView{
		ID: a.GetId(), Name: a.GetName(), Version: a.GetVersion(),
		Reference: a.GetName() + ":" + strconv.Itoa(int(a.GetVersion())), Project: a.GetProject(),
		Digest: a.GetDigest(), SizeBytes: a.GetSize(), MediaType: a.GetType().GetMediaType(),
		LanguageType: a.GetType().GetLanguageType(), Tree: a.GetTree(), Run: a.GetRun(), RunName: a.GetRunName(),
		Step: a.GetStep(), Output: a.GetOutput(), Metadata: valuesOf(a.GetMetadata()), CreatedAt: timeOf(a.GetCreatedAt()),
	}
}

// producer is the run and step that made it, as RUN/STEP/OUTPUT.
func (v artifactView) producer() string {
	switch {
	case v.RunName != "":
		return v.RunName + "/" + v.Step + "/" + v.Output
	case v.Run != "":
		return "(a deleted run)/" + v.Step + "/" + v.Output
	}
	return ""
}

func (v artifactView) typeText() string {
	if v.Tree {
		return joinNonEmpty(" ", "folder", v.MediaType)
	}
	return v.MediaType
}

// artifactDetailView is an artifact version with where its content is.
type artifactDetailView struct {
	artifactView
	Locations []locationView `json:"locations"`
}

// locationView is one place where a content stands.
type locationView struct {
	// StoreID is the identity of the store, whatever it is called now.
	StoreID string `json:"store_id"`
	Key     string `json:"key"`
	// Component reaches it now; absent where none does.
	Component string `json:"component,omitempty"`
	// Path of the file, for a store on this machine.
	Path string `json:"path,omitempty"`
}

func locationOf(l *apiv1.Location) locationView {
	return locationView{l.GetStoreId(), l.GetKey(), l.GetComponent(), l.GetPath()}
}

// text is the best way to say where it is.
func (v locationView) text() string {
	switch {
	case v.Path != "" && v.Component != "":
		return v.Path + "  (" + v.Component + ")"
	case v.Path != "":
		return v.Path
	case v.Component != "":
		return v.Component + ": " + v.Key
	}
	return v.Key + " in a store that no component reaches (" + v.StoreID + ")"
}

// fetchedView is an artifact version that was written to a file.
type fetchedView struct {
	Artifact artifactView `json:"artifact"`
	Path     string       `json:"path"`
}

// verificationView is what came of reading one artifact version's content.
type verificationView struct {
	Artifact artifactView `json:"artifact"`
	// State is "ok", "corrupt", "missing" or "unreachable".
	State    string        `json:"state"`
	Detail   string        `json:"detail,omitempty"`
	Location *locationView `json:"location,omitempty"`
}

func verificationOf(v *apiv1.Verification) verificationView {
	view := verificationView{Artifact: artifactOf(v.GetArtifact()), State: v.GetState(), Detail: v.GetDetail()}
	if v.GetLocation() != nil {
		location := locationOf(v.GetLocation())
		view.Location = &location
	}
	return view
}

// lineageView is a graph of artifact versions and steps.
type lineageView struct {
	// Root is the id of the node that was asked about.
	Root  string            `json:"root"`
	Nodes []lineageNodeView `json:"nodes"`
	Edges []lineageEdgeView `json:"edges"`
}

// lineageNodeView is an artifact version or a step.
type lineageNodeView struct {
	ID       string           `json:"id"`
	Artifact *artifactView    `json:"artifact,omitempty"`
	Step     *lineageStepView `json:"step,omitempty"`
}

// lineageStepView is a step of a run.
type lineageStepView struct {
	Run     string `json:"run"`
	RunName string `json:"run_name,omitempty"`
	Step    string `json:"step"`
	State   string `json:"state,omitempty"`
}

// lineageEdgeView goes the way that the data went.
type lineageEdgeView struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Slot is the name of the input or output.
	Slot string `json:"slot,omitempty"`
}

func lineageOf(l *apiv1.GetLineageResponse) lineageView {
	return lineageView{Root: l.GetRoot(), Nodes: viewsOf(l.GetNodes(), lineageNodeOf), Edges: viewsOf(l.GetEdges(), func(e *apiv1.LineageEdge) lineageEdgeView {
		return lineageEdgeView{e.GetFrom(), e.GetTo(), e.GetSlot()}
	})}
}

func lineageNodeOf(n *apiv1.LineageNode) lineageNodeView {
	v := lineageNodeView{ID: n.GetId()}
	if a := n.GetArtifact(); a != nil {
		artifact := artifactOf(a)
		v.Artifact = &artifact
	}
	if s := n.GetStep(); s != nil {
		v.Step = &lineageStepView{s.GetRun(), s.GetRunName(), s.GetStep(), s.GetState()}
	}
	return v
}
