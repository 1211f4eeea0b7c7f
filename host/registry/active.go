package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// Active gives the stack that is active for a client, and what decided it. It
// never falls through to a weaker choice because a stronger one is wrong.
func (r *Registry) Active(ctx context.Context, client model.Client) (model.ActiveStack, model.Stack, error) {
	if client.StackFlag != "" {
		return r.named(ctx, client.StackFlag, model.DecidedByFlag, "--stack",
			"'cairn stack list' shows all")
	}
	if client.StackEnv != "" {
		return r.named(ctx, client.StackEnv, model.DecidedByEnvironment, "CAIRN_STACK",
			"CAIRN_STACK names it; unset it, or set it to one that 'cairn stack list' shows")
	}
	project := client.Project
	inProject := project.ID != "" && project.ID != model.DefaultProject
	if inProject {
		a, s, ok, err := r.chosen(ctx, project.ID, model.DecidedByUserProject, "your choice for project '"+project.ID+"'")
		if ok || err != nil {
			return a, s, err
		}
	}
	if project.Stack != "" {
		return r.named(ctx, project.Stack, model.DecidedByProject, project.File,
			fmt.Sprintf("%s pins it; register it, or choose another for yourself: cairn stack set NAME", project.File))
	}
	a, s, ok, err := r.chosen(ctx, "", model.DecidedByUser, "your choice for everywhere")
	if ok || err != nil {
		return a, s, err
	}
	return r.named(ctx, model.DefaultStackID, model.DecidedByDefault, "", "")
}

func (r *Registry) named(ctx context.Context, name string, by model.Decider, source, hint string) (model.ActiveStack, model.Stack, error) {
	s, err := r.GetStack(ctx, name)
	var known *diag.Error
	if errors.As(err, &known) && known.Code == diag.NotFound {
		return model.ActiveStack{}, model.Stack{}, known.WithHint("%s", hint)
	}
	if err != nil {
		return model.ActiveStack{}, model.Stack{}, err
	}
	return model.ActiveStack{Name: s.Name, DecidedBy: by, Source: source}, s, nil
}

// chosen gives the stack of a setting, where there is one.
func (r *Registry) chosen(ctx context.Context, project string, by model.Decider, source string) (model.ActiveStack, model.Stack, bool, error) {
	id, ok, err := r.store.Setting(ctx, model.ActiveStackSetting(project))
	if err != nil {
		return model.ActiveStack{}, model.Stack{}, false, fmt.Errorf("read the active stack: %w", err)
	}
	if !ok {
		return model.ActiveStack{}, model.Stack{}, false, nil
	}
	s, err := r.store.Stack(ctx, id)
	if errors.Is(err, model.ErrNotFound) {
		return model.ActiveStack{}, model.Stack{}, true, &diag.Error{
			Code:    diag.NotFound,
			Summary: "the active stack does not exist any more",
			Detail:  source + " was a stack that has been deleted",
			Hint:    "choose another: cairn stack set NAME ('cairn stack list' shows all)",
			Err:     err,
		}
	}
	if err != nil {
		return model.ActiveStack{}, model.Stack{}, true, fmt.Errorf("read the active stack: %w", err)
	}
	return model.ActiveStack{Name: s.Name, DecidedBy: by, Source: source}, s, true, nil
}

// SetActive makes a stack the user's choice for the project that the client
// stands in, else for everywhere; with pin, the project's own. It gives the
// stack that is active then, which a flag or a variable may still decide.
func (r *Registry) SetActive(ctx context.Context, client model.Client, nameOrID string, pin bool) (model.ActiveStack, error) {
	s, err := r.GetStack(ctx, nameOrID)
	if err != nil {
		return model.ActiveStack{}, err
	}
	project := client.Project
	inProject := project.ID != "" && project.ID != model.DefaultProject
	switch {
	case pin && project.File == "":
		return model.ActiveStack{}, &diag.Error{
			Code:    diag.Invalid,
			Summary: "there is no project here to pin a stack in",
			Detail:  "no .cairn/project.yaml stands in this directory or above it",
			Hint:    "make this directory a project: cairn init; or choose the stack for yourself: cairn stack set " + s.Name,
		}
	case pin:
		if err := r.pins.PinStack(project, s.Name); err != nil {
			return model.ActiveStack{}, fmt.Errorf("pin stack '%s': %w", s.Name, err)
		}
		client.Project.Stack = s.Name
	case inProject:
		err = r.store.SetSetting(ctx, model.ActiveStackSetting(project.ID), s.ID)
	default:
		err = r.store.SetSetting(ctx, model.ActiveStackSetting(""), s.ID)
	}
	if err != nil {
		return model.ActiveStack{}, fmt.Errorf("write the active stack: %w", err)
	}
	active, _, err := r.Active(ctx, client)
	return active, err
}
