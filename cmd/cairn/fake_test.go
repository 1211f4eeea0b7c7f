package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cairn-stack/cairn/host/api"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// fakeHost answers by its fields; a call that has none ends the test.
type fakeHost struct {
	api.Service
	describeFlavor    func(*apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error)
	registerComponent func(*apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error)
	getComponent      func(*apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error)
	updateComponent   func(*apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error)
	listStacks        func(*apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error)
	deleteStack       func(*apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error)
	validateStack     func(*apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error)
	createSecret      func(*apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error)
	listRuns          func(*apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error)
	getRun            func(*apiv1.GetRunRequest) (*apiv1.GetRunResponse, error)
	watchRun          func(context.Context, *apiv1.WatchRunRequest, func(*apiv1.WatchRunResponse) error) error
	getLineage        func(*apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error)
	verifyArtifact    func(*apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error)
}

func (f *fakeHost) DescribeFlavor(_ context.Context, r *apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error) {
	return f.describeFlavor(r)
}

func (f *fakeHost) RegisterComponent(_ context.Context, r *apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error) {
	return f.registerComponent(r)
}

func (f *fakeHost) GetComponent(_ context.Context, r *apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error) {
	return f.getComponent(r)
}

func (f *fakeHost) UpdateComponent(_ context.Context, r *apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error) {
	return f.updateComponent(r)
}

func (f *fakeHost) ListStacks(_ context.Context, r *apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
	return f.listStacks(r)
}

func (f *fakeHost) DeleteStack(_ context.Context, r *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error) {
	return f.deleteStack(r)
}

func (f *fakeHost) ValidateStack(_ context.Context, r *apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error) {
	return f.validateStack(r)
}

func (f *fakeHost) CreateSecret(_ context.Context, r *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error) {
	return f.createSecret(r)
}

func (f *fakeHost) ListRuns(_ context.Context, r *apiv1.ListRunsRequest) (*apiv1.ListRunsResponse, error) {
	return f.listRuns(r)
}

func (f *fakeHost) GetRun(_ context.Context, r *apiv1.GetRunRequest) (*apiv1.GetRunResponse, error) {
	return f.getRun(r)
}

func (f *fakeHost) WatchRun(ctx context.Context, r *apiv1.WatchRunRequest, send func(*apiv1.WatchRunResponse) error) error {
	return f.watchRun(ctx, r, send)
}

func (f *fakeHost) GetLineage(_ context.Context, r *apiv1.GetLineageRequest) (*apiv1.GetLineageResponse, error) {
	return f.getLineage(r)
}

func (f *fakeHost) VerifyArtifact(_ context.Context, r *apiv1.VerifyArtifactRequest) (*apiv1.VerifyArtifactResponse, error) {
	return f.verifyArtifact(r)
}

// result is what one command line gave.
type result struct {
	stdout, stderr string
	code           int
}

// cairn carries out a command line against a fake host.
func (f *fakeHost) cairn(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &cli{
		stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
		now:  func() time.Time { return testTime(90) },
		open: func(context.Context) (api.Service, func() error, error) { return f, func() error { return nil }, nil },
	}
	code := c.execute(t.Context(), args)
	return result{stdout.String(), stderr.String(), code}
}

func testTime(seconds int) time.Time {
	return time.Date(2026, 3, 4, 5, 6, seconds, 0, time.UTC)
}

func notFound(what string) error { return diag.Errorf(diag.NotFound, "there is no %s", what) }

const storeSchema = `{
	"type": "object",
	"properties": {
		"path": {"type": "string", "format": "path", "description": "Folder that artifacts are kept in."},
		"max_parallel": {"type": "integer", "minimum": 1, "default": 4},
		"verify": {"type": "boolean"},
		"mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
		"tags": {"type": "array", "items": {"type": "string"}},
		"password": {"type": "string", "x-cairn-secret": true},
		"label": {"type": "string"}
	},
	"required": ["path"]
}`

// withFlavor knows the flavor "local" of any type.
func withFlavor(f *fakeHost) *fakeHost {
	f.describeFlavor = func(r *apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error) {
		if r.GetName() != "local" {
			return nil, notFound("flavor '" + r.GetName() + "'")
		}
		return &apiv1.DescribeFlavorResponse{Flavor: &apiv1.Flavor{Type: r.GetType(), Name: "local", ConfigSchema: []byte(storeSchema)}}, nil
	}
	return f
}
