package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

func newULID() string { return ulid.Make().String() }

// RegisterComponent makes a component of a flavor. Of c it reads type, name,
// flavor, config and labels.
func (r *Registry) RegisterComponent(ctx context.Context, c model.Component) (model.Component, error) {
	if err := knownType(c.Type); err != nil {
		return model.Component{}, err
	}
	if err := validName(string(c.Type), c.Name); err != nil {
		return model.Component{}, err
	}
	if err := validLabels(c.Labels); err != nil {
		return model.Component{}, err
	}
	c, err := r.judge(ctx, c)
	if err != nil {
		return model.Component{}, err
	}
	return r.create(ctx, c)
}

func (r *Registry) create(ctx context.Context, c model.Component) (model.Component, error) {
	c.ID, c.Revision = r.newID(), 1
	c.CreatedAt = r.now().UTC()
	c.UpdatedAt = c.CreatedAt
	if err := r.store.CreateComponent(ctx, c); err != nil {
		if errors.Is(err, model.ErrExists) {
			return model.Component{}, nameTaken(noun(c.Type), c.Name,
				fmt.Sprintf("change it with 'cairn %s update %s', or choose another name", c.Type, c.Name))
		}
		return model.Component{}, fmt.Errorf("store %s '%s': %w", noun(c.Type), c.Name, err)
	}
	return c, nil
}

// ListComponents gives the components of a type, or all, in order of type and
// name.
func (r *Registry) ListComponents(ctx context.Context, t model.ComponentType) ([]model.Component, error) {
	if t != "" {
		if err := knownType(t); err != nil {
			return nil, err
		}
	}
	list, err := r.store.Components(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("list components: %w", err)
	}
	return list, nil
}

// GetComponent finds a component by name or id.
func (r *Registry) GetComponent(ctx context.Context, t model.ComponentType, nameOrID string) (model.Component, error) {
	if err := knownType(t); err != nil {
		return model.Component{}, err
	}
	c, err := r.store.Component(ctx, t, nameOrID)
	if err == nil {
		return c, nil
	}
	if !errors.Is(err, model.ErrNotFound) {
		return model.Component{}, fmt.Errorf("read %s '%s': %w", noun(t), nameOrID, err)
	}
	list, err := r.store.Components(ctx, t)
	if err != nil {
		return model.Component{}, fmt.Errorf("list components: %w", err)
	}
	names := make([]string, 0, len(list))
	for _, c := range list {
		names = append(names, c.Name)
	}
	return model.Component{}, notFound(noun(t), nameOrID, names, fmt.Sprintf("'cairn %s list' shows all", t))
}

// UpdateComponent makes the next revision of a component. A change that
// changes nothing makes none.
func (r *Registry) UpdateComponent(ctx context.Context, t model.ComponentType, nameOrID string, change model.ComponentChange) (model.Component, error) {
	c, err := r.changeable(ctx, t, nameOrID, "changed")
	if err != nil {
		return model.Component{}, err
	}
	old := c
	if c.Labels, err = changeLabels(c.Labels, change.Labels); err != nil {
		return model.Component{}, err
	}
	if len(change.Config) > 0 {
		if c.Config, err = mergeConfig(c.Config, change.Config); err != nil {
			return model.Component{}, err
		}
		if c, err = r.judge(ctx, c); err != nil {
			return model.Component{}, err
		}
	}
	if sameJSON(old.Config, c.Config) && maps.Equal(old.Labels, c.Labels) {
		return old, nil
	}
	c.UpdatedAt = r.now().UTC()
	c.Revision = old.Revision + 1
	if err := r.store.UpdateComponent(ctx, c, old.Revision); err != nil {
		return model.Component{}, changedMeanwhile(err, noun(t), c.Name)
	}
	return c, nil
}

// RenameComponent gives a component another name. Stacks keep it.
func (r *Registry) RenameComponent(ctx context.Context, t model.ComponentType, nameOrID, newName string) (model.Component, error) {
	c, err := r.changeable(ctx, t, nameOrID, "renamed")
	if err != nil {
		return model.Component{}, err
	}
	if err := validName(string(t), newName); err != nil {
		return model.Component{}, err
	}
	if err := r.store.RenameComponent(ctx, c.ID, newName); err != nil {
		if errors.Is(err, model.ErrExists) {
			return model.Component{}, nameTaken(noun(t), newName, "choose another name")
		}
		return model.Component{}, fmt.Errorf("rename %s '%s': %w", noun(t), c.Name, err)
	}
	return r.GetComponent(ctx, t, c.ID)
}

// CopyComponent registers a component again under another name.
func (r *Registry) CopyComponent(ctx context.Context, t model.ComponentType, nameOrID, newName string) (model.Component, error) {
	c, err := r.GetComponent(ctx, t, nameOrID)
	if err != nil {
		return model.Component{}, err
	}
	c.Name = newName
	return r.RegisterComponent(ctx, c)
}

// DeleteComponent deletes a component that no stack uses.
func (r *Registry) DeleteComponent(ctx context.Context, t model.ComponentType, nameOrID string) error {
	c, err := r.changeable(ctx, t, nameOrID, "deleted")
	if err != nil {
		return err
	}
	if err := r.refuseUsed(ctx, c); err != nil {
		return err
	}
	err = r.store.DeleteComponent(ctx, c.ID)
	if errors.Is(err, model.ErrInUse) {
		// A stack took it in between the two looks.
		if err := r.refuseUsed(ctx, c); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("delete %s '%s': %w", noun(t), c.Name, err)
	}
	return nil
}

func (r *Registry) refuseUsed(ctx context.Context, c model.Component) error {
	stacks, err := r.store.StacksUsing(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("look who uses %s '%s': %w", noun(c.Type), c.Name, err)
	}
	if len(stacks) == 0 {
		return nil
	}
	hint := fmt.Sprintf("give the stack another one first: cairn stack update %s --%s NAME", stacks[0], c.Type)
	if !c.Type.Required() {
		hint = fmt.Sprintf("take it out first: cairn stack remove-component %s %s", stacks[0], c.Type)
	}
	return &diag.Error{
		Code:    diag.Refused,
		Summary: fmt.Sprintf("%s '%s' is in use", noun(c.Type), c.Name),
		Detail:  "it is part of " + plural(len(stacks), "stack", "stacks") + " " + quoteAll(stacks),
		Hint:    hint,
	}
}

// ComponentStacks gives, for each component id, the names of the stacks that
// it is in.
func (r *Registry) ComponentStacks(ctx context.Context) (map[string][]string, error) {
	stacks, err := r.store.Stacks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	out := map[string][]string{}
	for _, s := range stacks {
		for _, m := range s.Members {
			out[m.ComponentID] = append(out[m.ComponentID], s.Name)
		}
	}
	return out, nil
}

// changeable finds a component and refuses those that are built in.
func (r *Registry) changeable(ctx context.Context, t model.ComponentType, nameOrID, verb string) (model.Component, error) {
	c, err := r.GetComponent(ctx, t, nameOrID)
	if err != nil {
		return model.Component{}, err
	}
	if c.BuiltIn() {
		return model.Component{}, &diag.Error{
			Code:    diag.Refused,
			Summary: fmt.Sprintf("%s '%s' is built in and cannot be %s", noun(t), c.Name, verb),
			Hint:    fmt.Sprintf("register one of your own: cairn %s register NAME --flavor %s", t, c.Flavor),
		}
	}
	return c, nil
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return string(a) == string(b)
	}
	return reflect.DeepEqual(x, y)
}

// noun is a component type in words.
func noun(t model.ComponentType) string { return strings.ReplaceAll(string(t), "-", " ") }
