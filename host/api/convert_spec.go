package api

import (
	"time"

	"github.com/cairn-stack/cairn/host/model"
	stepv1 "github.com/cairn-stack/cairn/proto/cairn/step/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// specFromProto converts a traced pipeline. It refuses only what a model cannot
// express; whether the graph makes sense is the engine's to say.
func specFromProto(p *stepv1.Pipeline) (model.Spec, error) {
	spec := model.Spec{Pipeline: p.GetName(), FailureMode: failureMode(p.GetFailureMode())}
	if len(p.GetParameters()) > 0 {
		spec.Parameters = make(map[string]model.Parameter, len(p.GetParameters()))
		for name, q := range p.GetParameters() {
			m := model.Parameter{Secret: q.GetSecret()}
			if !m.Secret {
				m.Value = q.GetValue()
			}
			spec.Parameters[name] = m
		}
	}
	for _, n := range p.GetNodes() {
		step := n.GetStep()
		if step == nil {
			return model.Spec{}, &diag.Error{
				Code:    diag.Invalid,
				Summary: "node '" + n.GetName() + "' is of a kind that this cairn does not know",
				Hint:    "bring the pipeline's SDK and cairn to the same version: 'cairn version' says which this is",
			}
		}
		spec.Nodes = append(spec.Nodes, nodeFromProto(n, step))
	}
	return spec, nil
}

func nodeFromProto(n *stepv1.Node, step *stepv1.Step) model.Node {
	node := model.Node{
		Name: n.GetName(), Kind: model.NodeStep, After: n.GetAfter(),
		Step: &model.Step{
			Function: step.GetFunction(),
			Retry: model.RetryPolicy{
				MaxRetries:     int(step.GetRetry().GetMaxRetries()),
				InitialBackoff: millis(step.GetRetry().GetInitialBackoffMs()),
				MaxBackoff:     millis(step.GetRetry().GetMaxBackoffMs()),
			},
			Timeout: millis(step.GetTimeoutMs()), Secrets: step.GetSecrets(),
			Execution: execution(step.GetExecution()), CodeKey: step.GetCodeKey(),
		},
	}
	for _, in := range n.GetInputs() {
		node.Inputs = append(node.Inputs, model.Input{
			Name: in.GetName(), Type: typeFromProto(in.GetType()),
			Node: in.GetOutput().GetNode(), Output: in.GetOutput().GetOutput(), Literal: in.GetLiteral(),
		})
	}
	for _, out := range step.GetOutputs() {
		node.Step.Outputs = append(node.Step.Outputs, model.Output{
			Name: out.GetName(), Type: typeFromProto(out.GetType()), Artifact: out.GetArtifact(),
		})
	}
	return node
}

func typeFromProto(t *stepv1.Type) model.DataType {
	return model.DataType{MediaType: t.GetMediaType(), LanguageType: t.GetLanguageType()}
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func failureMode(m stepv1.FailureMode) model.FailureMode {
	switch m {
	case stepv1.FailureMode_FAILURE_MODE_FAIL_FAST:
		return model.FailFast
	case stepv1.FailureMode_FAILURE_MODE_CONTINUE:
		return model.Continue
	}
	return model.StopOnFailure
}

func execution(e stepv1.Execution) model.Execution {
	switch e {
	case stepv1.Execution_EXECUTION_ATTACHED:
		return model.Attached
	case stepv1.Execution_EXECUTION_DETACHED:
		return model.Detached
	}
	return ""
}
