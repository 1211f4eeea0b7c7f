package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairn-stack/cairn/host/model"
	apiv1 "github.com/cairn-stack/cairn/proto/cairn/api/v1"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// ListPlugins lists the catalogue, usable or not.
func (s *Server) ListPlugins(ctx context.Context, _ *apiv1.ListPluginsRequest) (*apiv1.ListPluginsResponse, error) {
	list, err := s.Plugins.Plugins(ctx)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListPluginsResponse{}
	for _, p := range list {
		out.Plugins = append(out.Plugins, pluginToProto(p))
	}
	return out, nil
}

// DescribePlugin gives a plugin and its flavors.
func (s *Server) DescribePlugin(ctx context.Context, r *apiv1.DescribePluginRequest) (*apiv1.DescribePluginResponse, error) {
	list, err := s.Plugins.Plugins(ctx)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list))
	for _, p := range list {
		names = append(names, p.Name)
		if p.Name != r.GetName() || p.Status == model.PluginShadowed {
			continue
		}
		out := &apiv1.DescribePluginResponse{Plugin: pluginToProto(p)}
		for _, f := range p.Flavors {
			out.Flavors = append(out.Flavors, flavorToProto(f))
		}
		return out, nil
	}
	return nil, &diag.Error{
		Code:    diag.NotFound,
		Summary: fmt.Sprintf("no plugin named '%s'%s", r.GetName(), diag.DidYouMean(r.GetName(), names)),
		Hint:    "'cairn plugin list' shows all; a plugin is an executable named cairn-plugin-NAME in a directory of CAIRN_PLUGIN_PATH",
		Err:     model.ErrNotFound,
	}
}

// ApprovePlugin accepts a binary as it is now.
func (s *Server) ApprovePlugin(ctx context.Context, r *apiv1.ApprovePluginRequest) (*apiv1.ApprovePluginResponse, error) {
	p, previous, err := s.Plugins.Approve(ctx, r.GetPath(), r.GetExpectedDigest(), r.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.ApprovePluginResponse{
		Plugin: pluginToProto(p), PreviousDigest: previous, Changed: previous != p.Digest,
	}, nil
}

// ListFlavors lists the flavors that can be used.
func (s *Server) ListFlavors(ctx context.Context, r *apiv1.ListFlavorsRequest) (*apiv1.ListFlavorsResponse, error) {
	list, err := s.Registry.ListFlavors(ctx, model.ComponentType(r.GetType()))
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListFlavorsResponse{}
	for _, f := range list {
		out.Flavors = append(out.Flavors, flavorToProto(f))
	}
	return out, nil
}

// DescribeFlavor gives a flavor with its schema.
func (s *Server) DescribeFlavor(ctx context.Context, r *apiv1.DescribeFlavorRequest) (*apiv1.DescribeFlavorResponse, error) {
	f, err := s.Registry.GetFlavor(ctx, model.ComponentType(r.GetType()), r.GetName())
	if err != nil {
		return nil, err
	}
	return &apiv1.DescribeFlavorResponse{Flavor: flavorToProto(f)}, nil
}

// component converts a component that was just looked up or written.
func (s *Server) component(ctx context.Context, c model.Component, err error) (*apiv1.Component, error) {
	if err != nil {
		return nil, err
	}
	list, err := s.components(ctx, []model.Component{c})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (s *Server) components(ctx context.Context, list []model.Component) ([]*apiv1.Component, error) {
	stacks, err := s.Registry.ComponentStacks(ctx)
	if err != nil {
		return nil, err
	}
	attention, err := s.Registry.Attention(ctx, list)
	if err != nil {
		return nil, err
	}
	out := make([]*apiv1.Component, 0, len(list))
	for _, c := range list {
		out = append(out, componentToProto(c, stacks[c.ID], attention[c.ID]))
	}
	return out, nil
}

// RegisterComponent makes a component of a flavor.
func (s *Server) RegisterComponent(ctx context.Context, r *apiv1.RegisterComponentRequest) (*apiv1.RegisterComponentResponse, error) {
	c, err := s.Registry.RegisterComponent(ctx, model.Component{
		Type: model.ComponentType(r.GetType()), Name: r.GetName(), Flavor: r.GetFlavor(),
		Config: r.GetConfig(), Labels: r.GetLabels(),
	})
	p, err := s.component(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return &apiv1.RegisterComponentResponse{Component: p}, nil
}

// ListComponents lists the components of a type, or all.
func (s *Server) ListComponents(ctx context.Context, r *apiv1.ListComponentsRequest) (*apiv1.ListComponentsResponse, error) {
	list, err := s.Registry.ListComponents(ctx, model.ComponentType(r.GetType()))
	if err != nil {
		return nil, err
	}
	out, err := s.components(ctx, list)
	if err != nil {
		return nil, err
	}
	return &apiv1.ListComponentsResponse{Components: out}, nil
}

// GetComponent gives a component by name or id.
func (s *Server) GetComponent(ctx context.Context, r *apiv1.GetComponentRequest) (*apiv1.GetComponentResponse, error) {
	c, err := s.Registry.GetComponent(ctx, model.ComponentType(r.GetType()), r.GetName())
	p, err := s.component(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetComponentResponse{Component: p}, nil
}

// UpdateComponent makes the next revision.
func (s *Server) UpdateComponent(ctx context.Context, r *apiv1.UpdateComponentRequest) (*apiv1.UpdateComponentResponse, error) {
	c, err := s.Registry.UpdateComponent(ctx, model.ComponentType(r.GetType()), r.GetName(), model.ComponentChange{
		Config: r.GetConfig(), Labels: model.LabelChange{Set: r.GetSetLabels(), Remove: r.GetRemoveLabels()},
	})
	p, err := s.component(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateComponentResponse{Component: p}, nil
}

// RenameComponent gives a component another name.
func (s *Server) RenameComponent(ctx context.Context, r *apiv1.RenameComponentRequest) (*apiv1.RenameComponentResponse, error) {
	c, err := s.Registry.RenameComponent(ctx, model.ComponentType(r.GetType()), r.GetName(), r.GetNewName())
	p, err := s.component(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return &apiv1.RenameComponentResponse{Component: p}, nil
}

// CopyComponent registers a component again under another name.
func (s *Server) CopyComponent(ctx context.Context, r *apiv1.CopyComponentRequest) (*apiv1.CopyComponentResponse, error) {
	c, err := s.Registry.CopyComponent(ctx, model.ComponentType(r.GetType()), r.GetName(), r.GetNewName())
	p, err := s.component(ctx, c, err)
	if err != nil {
		return nil, err
	}
	return &apiv1.CopyComponentResponse{Component: p}, nil
}

// DeleteComponent deletes a component that no stack uses.
func (s *Server) DeleteComponent(ctx context.Context, r *apiv1.DeleteComponentRequest) (*apiv1.DeleteComponentResponse, error) {
	if err := s.Registry.DeleteComponent(ctx, model.ComponentType(r.GetType()), r.GetName()); err != nil {
		return nil, err
	}
	return &apiv1.DeleteComponentResponse{}, nil
}

// RegisterStack makes a stack of components.
func (s *Server) RegisterStack(ctx context.Context, r *apiv1.RegisterStackRequest) (*apiv1.RegisterStackResponse, error) {
	st, err := s.Registry.RegisterStack(ctx, r.GetName(), choicesFromProto(r.GetComponents()), r.GetLabels())
	if err != nil {
		return nil, err
	}
	return &apiv1.RegisterStackResponse{Stack: stackToProto(st, false)}, nil
}

// ListStacks lists all stacks, the active one marked.
func (s *Server) ListStacks(ctx context.Context, r *apiv1.ListStacksRequest) (*apiv1.ListStacksResponse, error) {
	list, err := s.Registry.ListStacks(ctx)
	if err != nil {
		return nil, err
	}
	active := s.activeID(ctx, r.GetContext())
	out := &apiv1.ListStacksResponse{}
	for _, st := range list {
		out.Stacks = append(out.Stacks, stackToProto(st, st.ID == active))
	}
	return out, nil
}

// activeID is the id of the client's active stack; empty where the choice is
// wrong, which is no reason not to list.
func (s *Server) activeID(ctx context.Context, c *apiv1.ClientContext) string {
	client, err := s.client(c)
	if err != nil {
		return ""
	}
	_, st, err := s.Registry.Active(ctx, client)
	if err != nil {
		return ""
	}
	return st.ID
}

// namedOrActive is the stack of a name, or the client's active one.
func (s *Server) namedOrActive(ctx context.Context, name string, c *apiv1.ClientContext) (model.Stack, error) {
	if name != "" {
		return s.Registry.GetStack(ctx, name)
	}
	client, err := s.client(c)
	if err != nil {
		return model.Stack{}, err
	}
	_, st, err := s.Registry.Active(ctx, client)
	return st, err
}

// GetStack gives a stack with its components whole.
func (s *Server) GetStack(ctx context.Context, r *apiv1.GetStackRequest) (*apiv1.GetStackResponse, error) {
	st, err := s.namedOrActive(ctx, r.GetName(), r.GetContext())
	if err != nil {
		return nil, err
	}
	list, err := s.Registry.StackComponents(ctx, st)
	if err != nil {
		return nil, err
	}
	components, err := s.components(ctx, list)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetStackResponse{
		Stack: stackToProto(st, st.ID == s.activeID(ctx, r.GetContext())), Components: components,
	}, nil
}

// UpdateStack makes the next revision of a stack.
func (s *Server) UpdateStack(ctx context.Context, r *apiv1.UpdateStackRequest) (*apiv1.UpdateStackResponse, error) {
	st, err := s.Registry.UpdateStack(ctx, r.GetName(), model.StackChange{
		Set: choicesFromProto(r.GetSet()), Remove: choicesFromProto(r.GetRemove()),
		Labels: model.LabelChange{Set: r.GetSetLabels(), Remove: r.GetRemoveLabels()},
	})
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateStackResponse{Stack: stackToProto(st, false)}, nil
}

// RenameStack gives a stack another name.
func (s *Server) RenameStack(ctx context.Context, r *apiv1.RenameStackRequest) (*apiv1.RenameStackResponse, error) {
	st, err := s.Registry.RenameStack(ctx, r.GetName(), r.GetNewName())
	if err != nil {
		return nil, err
	}
	return &apiv1.RenameStackResponse{Stack: stackToProto(st, false)}, nil
}

// CopyStack makes a stack of the same components.
func (s *Server) CopyStack(ctx context.Context, r *apiv1.CopyStackRequest) (*apiv1.CopyStackResponse, error) {
	st, err := s.Registry.CopyStack(ctx, r.GetName(), r.GetNewName())
	if err != nil {
		return nil, err
	}
	return &apiv1.CopyStackResponse{Stack: stackToProto(st, false)}, nil
}

// DeleteStack deletes a stack that nothing uses.
func (s *Server) DeleteStack(ctx context.Context, r *apiv1.DeleteStackRequest) (*apiv1.DeleteStackResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	d, err := s.Registry.DeleteStack(ctx, client, r.GetName(), r.GetRecursive(), r.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &apiv1.DeleteStackResponse{
		DeletedComponents: choicesToProto(d.Deleted), KeptComponents: choicesToProto(d.Kept),
	}, nil
}

// ValidateStack asks what there is to ask; with check, the backends too.
func (s *Server) ValidateStack(ctx context.Context, r *apiv1.ValidateStackRequest) (*apiv1.ValidateStackResponse, error) {
	st, err := s.namedOrActive(ctx, r.GetName(), r.GetContext())
	if err != nil {
		return nil, err
	}
	reports, err := s.Registry.ValidateStack(ctx, st, r.GetCheck())
	if err != nil {
		return nil, err
	}
	out := &apiv1.ValidateStackResponse{Stack: st.Name, Ok: true}
	for _, rep := range reports {
		out.Components = append(out.Components, reportToProto(rep))
		out.Ok = out.Ok && rep.State != model.HealthFailed
	}
	return out, nil
}

// SetActiveStack writes the user's choice, or the project's pin.
func (s *Server) SetActiveStack(ctx context.Context, r *apiv1.SetActiveStackRequest) (*apiv1.SetActiveStackResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	active, err := s.Registry.SetActive(ctx, client, r.GetName(), r.GetProjectPin())
	if err != nil {
		return nil, err
	}
	return &apiv1.SetActiveStackResponse{Active: activeToProto(active)}, nil
}

// GetActiveStack gives the active stack and what decided it.
func (s *Server) GetActiveStack(ctx context.Context, r *apiv1.GetActiveStackRequest) (*apiv1.GetActiveStackResponse, error) {
	client, err := s.client(r.GetContext())
	if err != nil {
		return nil, err
	}
	active, _, err := s.Registry.Active(ctx, client)
	if err != nil {
		return nil, err
	}
	return &apiv1.GetActiveStackResponse{Active: activeToProto(active)}, nil
}

// CreateSecret keeps a new secret.
func (s *Server) CreateSecret(ctx context.Context, r *apiv1.CreateSecretRequest) (*apiv1.CreateSecretResponse, error) {
	secret, err := s.Secrets.Create(ctx, r.GetName(), r.GetValues())
	if err != nil {
		return nil, err
	}
	return &apiv1.CreateSecretResponse{Secret: secretToProto(secret, nil)}, nil
}

// ListSecrets lists secrets without values.
func (s *Server) ListSecrets(ctx context.Context, _ *apiv1.ListSecretsRequest) (*apiv1.ListSecretsResponse, error) {
	list, err := s.Secrets.List(ctx)
	if err != nil {
		return nil, err
	}
	users, err := s.Secrets.UsedBy(ctx)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListSecretsResponse{}
	for _, secret := range list {
		out.Secrets = append(out.Secrets, secretToProto(secret, users[secret.Name]))
	}
	return out, nil
}

// GetSecret gives the keys, and the values only where they are asked for.
func (s *Server) GetSecret(ctx context.Context, r *apiv1.GetSecretRequest) (*apiv1.GetSecretResponse, error) {
	secret, err := s.Secrets.Get(ctx, r.GetName())
	if err != nil {
		return nil, err
	}
	users, err := s.Secrets.UsedBy(ctx)
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetSecretResponse{Secret: secretToProto(secret, users[secret.Name])}
	if r.GetReveal() {
		out.Values, err = s.Secrets.SecretValues(ctx, r.GetName())
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateSecret sets and removes keys.
func (s *Server) UpdateSecret(ctx context.Context, r *apiv1.UpdateSecretRequest) (*apiv1.UpdateSecretResponse, error) {
	if len(r.GetSet()) == 0 && len(r.GetRemove()) == 0 {
		return nil, diag.Errorf(diag.Invalid, "nothing to change in secret '%s'", r.GetName()).
			WithHint("'cairn secret update --help' shows how to set and remove keys")
	}
	secret, err := s.Secrets.Update(ctx, r.GetName(), r.GetSet(), r.GetRemove())
	if err != nil {
		return nil, err
	}
	return &apiv1.UpdateSecretResponse{Secret: secretToProto(secret, nil)}, nil
}

// DeleteSecret deletes a secret that nothing refers to.
func (s *Server) DeleteSecret(ctx context.Context, r *apiv1.DeleteSecretRequest) (*apiv1.DeleteSecretResponse, error) {
	if err := s.Secrets.Delete(ctx, r.GetName()); err != nil {
		return nil, err
	}
	return &apiv1.DeleteSecretResponse{}, nil
}

// named adds what was asked for to an error that only says that it is absent.
func named(err error, what, ref, hint string) error {
	var known *diag.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, model.ErrNotFound) {
		return &diag.Error{Code: diag.NotFound, Summary: fmt.Sprintf("no %s '%s'", what, ref), Hint: hint, Err: err}
	}
	return err
}
