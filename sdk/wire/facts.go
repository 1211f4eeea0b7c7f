package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	artifactstorev1 "github.com/cairn-stack/cairn/proto/cairn/plugin/artifactstore/v1"
	orchestratorv1 "github.com/cairn-stack/cairn/proto/cairn/plugin/orchestrator/v1"
)

// StoreFacts are the static facts of an artifact store instance.
type StoreFacts struct {
	// StagingDir is an absolute path, or empty.
	StagingDir string
	// MaxObject in bytes; 0 for no limit.
	MaxObject int64
	LocalView bool
	Move      bool
	// Parallel calls that are useful; 0 lets the host choose.
	Parallel int
}

// OrchestratorFacts are the static facts of an orchestrator instance.
type OrchestratorFacts struct {
	Attached bool
	// MaxParallel steps at once; 0 for no limit.
	MaxParallel     int
	JobsOutliveHost bool
}

// StoreFactsToJSON is the facts as they travel.
func StoreFactsToJSON(f StoreFacts) (json.RawMessage, error) {
	return factsToJSON(&artifactstorev1.Facts{
		StagingDir: f.StagingDir, MaxObject: f.MaxObject, LocalView: f.LocalView,
		Move: f.Move, Parallel: uint32(max(0, f.Parallel)),
	})
}

// StoreFactsFromJSON reads and checks facts.
func StoreFactsFromJSON(b json.RawMessage) (StoreFacts, error) {
	var p artifactstorev1.Facts
	if err := factsFromJSON(b, &p); err != nil {
		return StoreFacts{}, err
	}
	f := StoreFacts{
		StagingDir: p.GetStagingDir(), MaxObject: p.GetMaxObject(), LocalView: p.GetLocalView(),
		Move: p.GetMove(), Parallel: int(min(p.GetParallel(), math.MaxInt16)),
	}
	if f.StagingDir != "" && !cleanPath(f.StagingDir) {
		return StoreFacts{}, fmt.Errorf("the staging directory is not a clean absolute path")
	}
	if f.MaxObject < 0 {
		return StoreFacts{}, fmt.Errorf("the largest object has %d bytes", f.MaxObject)
	}
	return f, nil
}

// OrchestratorFactsToJSON is the facts as they travel.
func OrchestratorFactsToJSON(f OrchestratorFacts) (json.RawMessage, error) {
	return factsToJSON(&orchestratorv1.Facts{
		Attached: f.Attached, MaxParallel: uint32(max(0, f.MaxParallel)), JobsOutliveHost: f.JobsOutliveHost,
	})
}

// OrchestratorFactsFromJSON reads facts.
func OrchestratorFactsFromJSON(b json.RawMessage) (OrchestratorFacts, error) {
	var p orchestratorv1.Facts
	if err := factsFromJSON(b, &p); err != nil {
		return OrchestratorFacts{}, err
	}
	return OrchestratorFacts{
		Attached: p.GetAttached(), MaxParallel: int(min(p.GetMaxParallel(), math.MaxInt32)),
		JobsOutliveHost: p.GetJobsOutliveHost(),
	}, nil
}

func factsToJSON(m proto.Message) (json.RawMessage, error) {
	b, err := protojson.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write facts: %w", err)
	}
	return b, nil
}

// factsFromJSON accepts fields of a newer plugin, and no facts at all.
func factsFromJSON(b json.RawMessage, m proto.Message) error {
	if len(b) == 0 {
		return nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("the facts are not JSON of the facts' form")
	}
	return nil
}

// cleanPath reports whether a path from the other side is absolute, clean and
// free of control characters.
func cleanPath(p string) bool {
	return len(p) <= 4096 && filepath.IsAbs(p) && filepath.Clean(p) == p && clean(p, 4096) == p
}
