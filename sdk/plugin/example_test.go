package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-stack/cairn/sdk/artifact"
	"github.com/cairn-stack/cairn/sdk/config"
	"github.com/cairn-stack/cairn/sdk/diag"
	"github.com/cairn-stack/cairn/sdk/plugin"
	"github.com/cairn-stack/cairn/sdk/wire"
)

// vaultConfig is the configuration of a flavor: its tags are all there is to say.
type vaultConfig struct {
	Vault string        `json:"vault" doc:"Name of the vault." required:"true" pattern:"^[a-z]+$"`
	Limit int64         `json:"limit" doc:"Largest object in bytes." default:"1048576" min:"1"`
	Token config.Secret `json:"token" doc:"Access token of the vault."`
}

// vault is an artifact store that keeps objects in memory.
type vault struct {
	limit   int64
	mu      sync.Mutex
	objects map[string]entry
}

type entry struct {
	data   []byte
	digest string
}

func openVault(_ context.Context, cfg vaultConfig, in plugin.Instance) (*vault, error) {
	if cfg.Token.Value() == "expired" {
		return nil, fmt.Errorf("the token of vault %s has expired: %w", cfg.Vault, diag.ErrInvalidConfig)
	}
	in.Logger.Debug("made", "vault", cfg.Vault)
	return &vault{limit: cfg.Limit, objects: map[string]entry{}}, nil
}

func (v *vault) Put(_ context.Context, req plugin.PutRequest) (plugin.Object, error) {
	if req.Size > v.limit {
		return plugin.Object{}, fmt.Errorf("%s is larger than %d bytes: %w", req.Key, v.limit, diag.ErrExhausted)
	}
	data, err := io.ReadAll(req.Content)
	if err != nil {
		return plugin.Object{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.objects[req.Key]; ok && e.digest != req.Digest {
		return plugin.Object{}, fmt.Errorf("%s: %w", req.Key, diag.ErrAlreadyExists)
	}
	v.objects[req.Key] = entry{data, req.Digest}
	return v.object(req.Key)
}

func (v *vault) Get(_ context.Context, req plugin.GetRequest) (plugin.Object, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, err := req.Into.Write(v.objects[req.Key].data); err != nil {
		return plugin.Object{}, err
	}
	return v.object(req.Key)
}

func (v *vault) Stat(_ context.Context, req plugin.StatRequest) (plugin.Object, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.object(req.Key)
}

func (v *vault) object(key string) (plugin.Object, error) {
	e, ok := v.objects[key]
	if !ok {
		return plugin.Object{}, fmt.Errorf("%s: %w", key, diag.ErrNotFound)
	}
	return plugin.Object{Key: key, Size: int64(len(e.data)), Digest: e.digest}, nil
}

func (v *vault) List(_ context.Context, req plugin.ListRequest) iter.Seq2[plugin.Object, error] {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found []plugin.Object
	for key := range v.objects {
		if strings.HasPrefix(key, req.Prefix) && key > req.After {
			o, _ := v.object(key) // it is there: the lock is held
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b plugin.Object) int { return strings.Compare(a.Key, b.Key) })
	return func(yield func(plugin.Object, error) bool) {
		for _, o := range found {
			if !yield(o, nil) {
				return
			}
		}
	}
}

func (v *vault) Delete(_ context.Context, req plugin.DeleteRequest) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.objects, req.Key)
	return nil
}

// A whole artifact store. In a plugin, Serve takes the flavor; here it is served
// inside the test, and used as a host would.
func ExampleArtifactStoreFlavor() {
	flavor := plugin.ArtifactStoreFlavor("vault", "Objects in a vault.", openVault, plugin.WithEnv("VAULT_*"))

	// func main() { plugin.Serve(plugin.Info{Name: "vault", Version: "1.0.0"}, flavor) }

	ctx := context.Background()
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "vault", Version: "1.0.0"}, flavor)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	res, err := wire.NewClient(conn).Configure(ctx, wire.ConfigureRequest{
		Instance: "i", Type: plugin.ArtifactStoreType, Flavor: "vault", Config: []byte(`{"vault":"gold","limit":0}`),
	})
	fmt.Println(res.Diagnostics, err)

	_, err = wire.NewClient(conn).Configure(ctx, wire.ConfigureRequest{
		Instance: "i", Type: plugin.ArtifactStoreType, Flavor: "vault", Config: []byte(`{"vault":"gold","token":"{{vault.token}}"}`),
		Secrets: map[string]string{"vault.token": "s3cr3t"},
	})
	fmt.Println(err)
	store := wire.NewArtifactStoreClient(conn, "i")
	o, err := store.PutBytes(ctx, "greeting", []byte("hello"), artifact.HashBytes([]byte("hello")))
	fmt.Println(o.Size, err)
	var b bytes.Buffer
	n, err := store.ReadRange(ctx, "greeting", 1, 3, &b)
	fmt.Println(n, b.String(), err)
	// Output:
	// [limit: has to be at least 1, not 0] <nil>
	// <nil>
	// 5 <nil>
	// 3 ell <nil>
}

type queueConfig struct {
	Slots int `json:"slots" doc:"Steps at once." default:"2" min:"1"`
}

// queue is an orchestrator that lets the program run its steps.
type queue struct{ slots int }

func (q *queue) Facts() plugin.OrchestratorFacts {
	return plugin.OrchestratorFacts{Attached: true, MaxParallel: q.slots}
}

func (q *queue) CanRun(_ context.Context, req plugin.CanRunRequest) ([]plugin.StepFinding, error) {
	var found []plugin.StepFinding
	for _, s := range req.Steps {
		if s.Resources.GPUs > 0 {
			found = append(found, plugin.StepFinding{Step: s.Name, Finding: diag.Diagnostic{
				Severity: diag.SeverityError, Fault: diag.FaultUser, Summary: "there are no GPUs here",
				Hint: "choose a stack whose orchestrator has some",
			}})
		}
	}
	return found, nil
}

// A whole orchestrator.
func ExampleOrchestratorFlavor() {
	flavor := plugin.OrchestratorFlavor("queue", "A few slots on this machine.",
		func(_ context.Context, cfg queueConfig, _ plugin.Instance) (*queue, error) {
			return &queue{slots: cfg.Slots}, nil
		}, plugin.MachineBound())

	// func main() { plugin.Serve(plugin.Info{Name: "queue", Version: "1.0.0"}, flavor) }

	ctx := context.Background()
	conn, stop, err := plugin.InProcess(plugin.Info{Name: "queue", Version: "1.0.0"}, flavor)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	res, err := wire.NewClient(conn).Configure(ctx, wire.ConfigureRequest{
		Instance: "i", Type: plugin.OrchestratorType, Flavor: "queue",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts, err := wire.OrchestratorFactsFromJSON(res.Facts)
	fmt.Println(facts.Attached, facts.MaxParallel, err)
	found, err := wire.NewOrchestratorClient(conn, "i").CanRun(ctx, []wire.PlannedStep{
		{Name: "load"}, {Name: "train", Resources: wire.Resources{GPUs: 1}},
	})
	for _, f := range found {
		fmt.Println(f.Step, f.Diagnostic)
	}
	fmt.Println(err)
	// Output:
	// true 2 <nil>
	// train there are no GPUs here
	// <nil>
}
