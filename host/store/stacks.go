package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

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
// the artifact store, then by type and name.
func members(ctx context.Context, q querier, stackID string) (map[string][]model.StackMember, error) {
	where, args := "", []any(nil)
	if stackID != "" {
		where, args = ` WHERE m.stack_id = ?`, []any{stackID}
	}
	rows, err := q.query(ctx, `SELECT m.stack_id, c.type, c.id, c.name, r.flavor FROM stack_component m
		JOIN component c ON c.id = m.component_id
		JOIN component_revision r ON r.component_id = c.id AND r.revision = c.revision`+where+`
		ORDER BY m.stack_id, CASE c.type WHEN 'orchestrator' THEN 0 WHEN 'artifact-store' THEN 1 ELSE 2 END, c.type, c.name`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	byStack := map[string][]model.StackMember{}
	for rows.Next() {
		var id string
		var m model.StackMember
		if err := rows.Scan(&id, &m.Type, &m.ComponentID, &m.Name, &m.Flavor); err != nil {
			return nil, err
		}
		byStack[id] = append(byStack[id], m)
	}
	return byStack, rows.Err()
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
