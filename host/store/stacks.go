package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/cairn-stack/cairn/host/model"
)

const stackColumns = `id, name, labels, revision, created_at, updated_at`

func scanStack(r scanner) (model.Stack, error) {
	var st model.Stack
	err := r.Scan(&st.ID, &st.Name, jsonInto{&st.Labels}, &st.Revision, timeInto{&st.CreatedAt}, timeInto{&st.UpdatedAt})
	return st, err
}

// CreateStack writes a stack at revision 1 with its members, of which only the
// component ids count. ErrExists for a taken name, ErrNotFound for a component
// that there is not, ErrConflict for two components of a type that a stack has
// one of.
func (s *Store) CreateStack(ctx context.Context, st model.Stack) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := freeName(ctx, tx, `SELECT 1 FROM stack WHERE name = ?`, st.Name); err != nil {
			return err
		}
		labels, err := jsonMap(st.Labels)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO stack (id, name, labels, revision, created_at, updated_at) VALUES (?, ?, ?, 1, ?, ?)`,
			st.ID, st.Name, labels, micros(st.CreatedAt), micros(st.CreatedAt)); err != nil {
			return fmt.Errorf("insert stack: %w", err)
		}
		return insertMembers(ctx, tx, st)
	})
}

func insertMembers(ctx context.Context, tx *session, st model.Stack) error {
	for i, m := range st.Members {
		n, err := tx.exec(ctx, `INSERT INTO stack_component (stack_id, component_id, type, position)
			SELECT ?, id, type, ? FROM component WHERE id = ?`, st.ID, i, m.ComponentID)
		if isConstraint(err) {
			return fmt.Errorf("stack %s cannot hold component %s beside the others: %w", st.Name, m.ComponentID, model.ErrConflict)
		}
		if err := changed(n, err)("component", m.ComponentID); err != nil {
			return err
		}
	}
	return nil
}

// Stack gives a stack by its name or id.
func (s *Store) Stack(ctx context.Context, nameOrID string) (model.Stack, error) {
	var st model.Stack
	err := s.view(ctx, func(q querier) (err error) {
		st, err = scanStack(q.row(ctx, `SELECT `+stackColumns+` FROM stack WHERE name = ?1
			UNION ALL SELECT `+stackColumns+` FROM stack WHERE id = ?1 LIMIT 1`, nameOrID))
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("stack", nameOrID)
		}
		if err != nil {
			return err
		}
		byStack, err := members(ctx, q, st.ID)
		st.Members = byStack[st.ID]
		return err
	})
	return st, err
}

// Stacks lists all stacks by name.
func (s *Store) Stacks(ctx context.Context) ([]model.Stack, error) {
	var all []model.Stack
	err := s.view(ctx, func(q querier) (err error) {
		if all, err = collect(ctx, q, scanStack, `SELECT `+stackColumns+` FROM stack ORDER BY name`); err != nil {
			return err
		}
		byStack, err := members(ctx, q, "")
		for i := range all {
			all[i].Members = byStack[all[i].ID]
		}
		return err
	})
	return all, err
}

// members gives the members of a stack, or of all, by stack: the orchestrator,
// the artifact store, then by type and name. Components are read apart and put
// in here: with many stacks, a join would read each of them many times.
func members(ctx context.Context, q querier, stackID string) (map[string][]model.StackMember, error) {
	where, args := "", []any(nil)
	if stackID != "" {
		where, args = ` WHERE stack_id = ?`, []any{stackID}
	}
	type pair struct{ stack, component string }
	pairs, err := collect(ctx, q, func(r scanner) (pair, error) {
		var p pair
		err := r.Scan(&p.stack, &p.component)
		return p, err
	}, `SELECT stack_id, component_id FROM stack_component`+where, args...)
	if err != nil {
		return nil, err
	}
	if stackID != "" {
		where = ` WHERE c.id IN (SELECT component_id FROM stack_component WHERE stack_id = ?)`
	}
	components, err := collect(ctx, q, func(r scanner) (model.StackMember, error) {
		var m model.StackMember
		err := r.Scan(&m.Type, &m.ComponentID, &m.Name, &m.Flavor)
		return m, err
	}, `SELECT c.type, c.id, c.name, r.flavor FROM component c
		JOIN component_revision r ON r.component_id = c.id AND r.revision = c.revision`+where, args...)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]model.StackMember, len(components))
	for _, m := range components {
		byID[m.ComponentID] = m
	}
	byStack := map[string][]model.StackMember{}
	for _, p := range pairs {
		byStack[p.stack] = append(byStack[p.stack], byID[p.component])
	}
	for _, all := range byStack {
		slices.SortFunc(all, compareMembers)
	}
	return byStack, nil
}

// compareMembers orders by type, as people see the types, then by name.
func compareMembers(a, b model.StackMember) int {
	rank := func(m model.StackMember) int {
		if i := slices.Index(model.ComponentTypes(), m.Type); i >= 0 {
			return i
		}
		return len(model.ComponentTypes())
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
}

// UpdateStack replaces members and labels, and makes revision fromRevision+1.
// ErrConflict where fromRevision is not the newest.
func (s *Store) UpdateStack(ctx context.Context, st model.Stack, fromRevision int) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := refuseBuiltIn(st.BuiltIn(), st.ID); err != nil {
			return err
		}
		labels, err := jsonMap(st.Labels)
		if err != nil {
			return err
		}
		n, err := tx.exec(ctx, `UPDATE stack SET labels = ?, revision = revision + 1, updated_at = ? WHERE id = ? AND revision = ?`,
			labels, micros(st.UpdatedAt), st.ID, fromRevision)
		if err != nil {
			return err
		}
		if n == 0 {
			return missingOr(ctx, tx, `SELECT 1 FROM stack WHERE id = ?`, "stack", st.ID, model.ErrConflict)
		}
		if _, err := tx.exec(ctx, `DELETE FROM stack_component WHERE stack_id = ?`, st.ID); err != nil {
			return err
		}
		return insertMembers(ctx, tx, st)
	})
}

// RenameStack gives a stack another name. Its revision stays.
func (s *Store) RenameStack(ctx context.Context, id, newName string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := refuseBuiltIn(model.Stack{ID: id}.BuiltIn(), id); err != nil {
			return err
		}
		if err := freeName(ctx, tx, `SELECT 1 FROM stack WHERE id <> ? AND name = ?`, id, newName); err != nil {
			return err
		}
		return changed(tx.exec(ctx, `UPDATE stack SET name = ? WHERE id = ?`, newName, id))("stack", id)
	})
}

// DeleteStack deletes a stack and, in the same commit, the named components;
// ErrInUse where another stack has one of them.
func (s *Store) DeleteStack(ctx context.Context, id string, alsoComponentIDs []string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := refuseBuiltIn(model.Stack{ID: id}.BuiltIn(), id); err != nil {
			return err
		}
		if err := changed(tx.exec(ctx, `DELETE FROM stack WHERE id = ?`, id))("stack", id); err != nil {
			return err
		}
		for _, c := range alsoComponentIDs {
			if err := deleteComponent(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}
