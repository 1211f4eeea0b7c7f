package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-stack/cairn/host/model"
	"github.com/cairn-stack/cairn/sdk/diag"
)

// RegisterStack makes a stack of components.
func (r *Registry) RegisterStack(ctx context.Context, name string, choices []model.ComponentChoice, labels map[string]string) (model.Stack, error) {
	if err := validName("stack", name); err != nil {
		return model.Stack{}, err
	}
	if err := validLabels(labels); err != nil {
		return model.Stack{}, err
	}
	s := model.Stack{Name: name, Labels: labels}
	for _, choice := range choices {
		m, err := r.member(ctx, choice)
		if err != nil {
			return model.Stack{}, err
		}
		if other, ok := s.Member(m.Type); ok {
			return model.Stack{}, &diag.Error{
				Code:    diag.Invalid,
				Summary: fmt.Sprintf("stack '%s' cannot have two of type %s: '%s' and '%s'", name, m.Type, other.Name, m.Name),
				Hint:    "name one of each type",
			}
		}
		s.Members = append(s.Members, m)
	}
	if err := complete(s); err != nil {
		return model.Stack{}, err
	}
	sortMembers(s.Members)
	s.ID, s.Revision = r.newID(), 1
	s.CreatedAt = r.now().UTC()
	s.UpdatedAt = s.CreatedAt
	if err := r.store.CreateStack(ctx, s); err != nil {
		if errors.Is(err, model.ErrExists) {
			return model.Stack{}, nameTaken("stack", name,
				fmt.Sprintf("change it with 'cairn stack update %s', or choose another name", name))
		}
		return model.Stack{}, fmt.Errorf("store stack '%s': %w", name, err)
	}
	return s, nil
}

// ListStacks gives all stacks in order of name.
func (r *Registry) ListStacks(ctx context.Context) ([]model.Stack, error) {
	list, err := r.store.Stacks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	return list, nil
}

// GetStack finds a stack by name or id.
func (r *Registry) GetStack(ctx context.Context, nameOrID string) (model.Stack, error) {
	s, err := r.store.Stack(ctx, nameOrID)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, model.ErrNotFound) {
		return model.Stack{}, fmt.Errorf("read stack '%s': %w", nameOrID, err)
	}
	list, err := r.store.Stacks(ctx)
	if err != nil {
		return model.Stack{}, fmt.Errorf("list stacks: %w", err)
	}
	names := make([]string, 0, len(list))
	for _, s := range list {
		names = append(names, s.Name)
	}
	return model.Stack{}, notFound("stack", nameOrID, names, "'cairn stack list' shows all")
}

// StackComponents gives the components of a stack whole, in its order.
func (r *Registry) StackComponents(ctx context.Context, s model.Stack) ([]model.Component, error) {
	out := make([]model.Component, 0, len(s.Members))
	for _, m := range s.Members {
		c, err := r.store.Component(ctx, m.Type, m.ComponentID)
		if err != nil {
			return nil, fmt.Errorf("read %s '%s': %w", noun(m.Type), m.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// UpdateStack makes the next revision of a stack. A change that changes
// nothing makes none.
func (r *Registry) UpdateStack(ctx context.Context, nameOrID string, change model.StackChange) (model.Stack, error) {
	old, err := r.changeableStack(ctx, nameOrID, "changed")
	if err != nil {
		return model.Stack{}, err
	}
	s := old
	s.Members = slices.Clone(old.Members)
	for _, choice := range change.Remove {
		if err := removeMember(&s, choice, change.Set); err != nil {
			return model.Stack{}, err
		}
	}
	for _, choice := range change.Set {
		m, err := r.member(ctx, choice)
		if err != nil {
			return model.Stack{}, err
		}
		s.Members = slices.DeleteFunc(s.Members, func(o model.StackMember) bool { return o.Type == m.Type })
		s.Members = append(s.Members, m)
	}
	if s.Labels, err = changeLabels(s.Labels, change.Labels); err != nil {
		return model.Stack{}, err
	}
	if err := complete(s); err != nil {
		return model.Stack{}, err
	}
	sortMembers(s.Members)
	if slices.Equal(s.Members, old.Members) && maps.Equal(s.Labels, old.Labels) {
		return old, nil
	}
	s.Revision, s.UpdatedAt = old.Revision+1, r.now().UTC()
	if err := r.store.UpdateStack(ctx, s, old.Revision); err != nil {
		return model.Stack{}, changedMeanwhile(err, "stack", s.Name)
	}
	return s, nil
}

// removeMember takes a component out of a stack. One of a type that every stack
// has can only be replaced.
func removeMember(s *model.Stack, choice model.ComponentChoice, set []model.ComponentChoice) error {
	if err := knownType(choice.Type); err != nil {
		return err
	}
	m, ok := s.Member(choice.Type)
	if !ok || choice.Name != "" && choice.Name != m.Name && choice.Name != m.ComponentID {
		detail := fmt.Sprintf("its components are %s", memberList(*s))
		return &diag.Error{
			Code:    diag.NotFound,
			Summary: strings.TrimSpace(fmt.Sprintf("stack '%s' has no %s %s", s.Name, noun(choice.Type), quoteNonEmpty(choice.Name))),
			Detail:  detail,
			Hint:    fmt.Sprintf("'cairn stack describe %s' shows them", s.Name),
		}
	}
	replaced := slices.ContainsFunc(set, func(c model.ComponentChoice) bool { return c.Type == choice.Type })
	if choice.Type.Required() && !replaced {
		return &diag.Error{
			Code:    diag.Refused,
			Summary: fmt.Sprintf("stack '%s' cannot do without its %s", s.Name, noun(choice.Type)),
			Detail:  "a stack has exactly one orchestrator and one artifact store",
			Hint:    fmt.Sprintf("put another one in its place: cairn stack update %s --%s NAME", s.Name, choice.Type),
		}
	}
	s.Members = slices.DeleteFunc(s.Members, func(o model.StackMember) bool { return o.ComponentID == m.ComponentID })
	return nil
}

// RenameStack gives a stack another name. Where it was chosen as the active
// one, it stays chosen.
func (r *Registry) RenameStack(ctx context.Context, nameOrID, newName string) (model.Stack, error) {
	s, err := r.changeableStack(ctx, nameOrID, "renamed")
	if err != nil {
		return model.Stack{}, err
	}
	if err := validName("stack", newName); err != nil {
		return model.Stack{}, err
	}
	if err := r.store.RenameStack(ctx, s.ID, newName); err != nil {
		if errors.Is(err, model.ErrExists) {
			return model.Stack{}, nameTaken("stack", newName, "choose another name")
		}
		return model.Stack{}, fmt.Errorf("rename stack '%s': %w", s.Name, err)
	}
	return r.GetStack(ctx, s.ID)
}

// CopyStack makes a stack of the same components.
func (r *Registry) CopyStack(ctx context.Context, nameOrID, newName string) (model.Stack, error) {
	s, err := r.GetStack(ctx, nameOrID)
	if err != nil {
		return model.Stack{}, err
	}
	choices := make([]model.ComponentChoice, 0, len(s.Members))
	for _, m := range s.Members {
		choices = append(choices, model.ComponentChoice{Type: m.Type, Name: m.ComponentID})
	}
	return r.RegisterStack(ctx, newName, choices, s.Labels)
}

// DeleteStack deletes a stack that nothing uses. Recursive deletes its
// components too, save those that are built in or in another stack. A dry run
// only says what would be deleted.
func (r *Registry) DeleteStack(ctx context.Context, client model.Client, nameOrID string, recursive, dryRun bool) (model.StackDeletion, error) {
	s, err := r.changeableStack(ctx, nameOrID, "deleted")
	if err != nil {
		return model.StackDeletion{}, err
	}
	if err := r.refuseChosen(ctx, client, s); err != nil {
		return model.StackDeletion{}, err
	}
	runs, err := r.runs.ActiveRunsOn(ctx, s.Name)
	if err != nil {
		return model.StackDeletion{}, fmt.Errorf("look for runs on stack '%s': %w", s.Name, err)
	}
	if len(runs) > 0 {
		return model.StackDeletion{}, &diag.Error{
			Code:    diag.Refused,
			Summary: fmt.Sprintf("stack '%s' is in use", s.Name),
			Detail:  plural(len(runs), "a run on it has", "runs on it have") + " not ended: " + quoteAll(runs),
			Hint:    fmt.Sprintf("wait for it, or end it: cairn run cancel %s", runs[0]),
		}
	}
	var out model.StackDeletion
	var ids []string
	for _, m := range s.Members {
		choice := model.ComponentChoice{Type: m.Type, Name: m.Name}
		users, err := r.store.StacksUsing(ctx, m.ComponentID)
		if err != nil {
			return model.StackDeletion{}, fmt.Errorf("look who uses %s '%s': %w", noun(m.Type), m.Name, err)
		}
		builtIn := model.Component{ID: m.ComponentID}.BuiltIn()
		if !recursive || builtIn || len(users) > 1 {
			out.Kept = append(out.Kept, choice)
			continue
		}
		out.Deleted = append(out.Deleted, choice)
		ids = append(ids, m.ComponentID)
	}
	if dryRun {
		return out, nil
	}
	if err := r.store.DeleteStack(ctx, s.ID, ids); err != nil {
		if errors.Is(err, model.ErrInUse) {
			return model.StackDeletion{}, changedMeanwhile(model.ErrConflict, "stack", s.Name)
		}
		return model.StackDeletion{}, fmt.Errorf("delete stack '%s': %w", s.Name, err)
	}
	return out, nil
}

// refuseChosen refuses a stack that somebody chose as the active one.
func (r *Registry) refuseChosen(ctx context.Context, client model.Client, s model.Stack) error {
	refuse := func(who, hint string) error {
		return &diag.Error{
			Code:    diag.Refused,
			Summary: fmt.Sprintf("stack '%s' is in use", s.Name),
			Detail:  "it is the active stack by " + who,
			Hint:    hint,
		}
	}
	for _, project := range []string{"", client.Project.ID} {
		if project == model.DefaultProject {
			continue
		}
		id, ok, err := r.store.Setting(ctx, model.ActiveStackSetting(project))
		if err != nil {
			return fmt.Errorf("read the active stack: %w", err)
		}
		if ok && id == s.ID {
			if project == "" {
				return refuse("your choice for everywhere", "choose another one first, outside of a project: cairn stack set default")
			}
			return refuse(fmt.Sprintf("your choice for project '%s'", project), "choose another one first: cairn stack set default")
		}
	}
	if client.Project.Stack == s.Name {
		return refuse("the pin in "+client.Project.File, "pin another one first: cairn stack set --project default")
	}
	return nil
}

// changeableStack finds a stack and refuses the one that is built in.
func (r *Registry) changeableStack(ctx context.Context, nameOrID, verb string) (model.Stack, error) {
	s, err := r.GetStack(ctx, nameOrID)
	if err != nil {
		return model.Stack{}, err
	}
	if s.BuiltIn() {
		return model.Stack{}, &diag.Error{
			Code:    diag.Refused,
			Summary: fmt.Sprintf("stack '%s' is built in and cannot be %s", s.Name, verb),
			Hint:    "make one of your own: cairn stack register NAME -o default -a default",
		}
	}
	return s, nil
}

// member finds the component that a choice names.
func (r *Registry) member(ctx context.Context, choice model.ComponentChoice) (model.StackMember, error) {
	c, err := r.GetComponent(ctx, choice.Type, choice.Name)
	if err != nil {
		return model.StackMember{}, err
	}
	return model.StackMember{Type: c.Type, ComponentID: c.ID, Name: c.Name, Flavor: c.Flavor}, nil
}

// complete holds the rule that every stack has one of each required type.
func complete(s model.Stack) error {
	var missing, flags []string
	for _, t := range model.ComponentTypes() {
		if _, ok := s.Member(t); t.Required() && !ok {
			missing = append(missing, withArticle(noun(t)))
			flags = append(flags, fmt.Sprintf("--%s default", t))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &diag.Error{
		Code:    diag.Invalid,
		Summary: fmt.Sprintf("stack '%s' lacks %s", s.Name, strings.Join(missing, " and ")),
		Detail:  "a stack has exactly one orchestrator and one artifact store",
		Hint:    "add " + strings.Join(flags, " "),
	}
}

// sortMembers puts members in the order of the types, then of names.
func sortMembers(members []model.StackMember) {
	rank := func(t model.ComponentType) int { return slices.Index(model.ComponentTypes(), t) }
	slices.SortStableFunc(members, func(a, b model.StackMember) int {
		if d := rank(a.Type) - rank(b.Type); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func memberList(s model.Stack) string {
	list := make([]string, 0, len(s.Members))
	for _, m := range s.Members {
		list = append(list, fmt.Sprintf("%s '%s'", noun(m.Type), m.Name))
	}
	return strings.Join(list, ", ")
}

func quoteNonEmpty(s string) string {
	if s == "" {
		return ""
	}
	return "'" + s + "'"
}
