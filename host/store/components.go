package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cairn-stack/cairn/host/model"
)

const componentColumns = `c.id, c.type, c.name, r.revision, c.created_at, r.created_at,
	r.flavor, r.config, r.schema_version, r.plugin_version, r.labels`

const componentSelect = `SELECT ` + componentColumns + ` FROM component c
	JOIN component_revision r ON r.component_id = c.id AND r.revision = c.revision`

func scanComponent(r scanner) (model.Component, error) {
	var c model.Component
	err := r.Scan(&c.ID, &c.Type, &c.Name, &c.Revision, timeInto{&c.CreatedAt}, timeInto{&c.UpdatedAt},
		&c.Flavor, jsonInto{&c.Config}, &c.SchemaVersion, &c.PluginVersion, jsonInto{&c.Labels})
	return c, err
}

// CreateComponent writes a component at revision 1. ErrExists where its type
// has one of that name.
func (s *Store) CreateComponent(ctx context.Context, c model.Component) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := freeName(ctx, tx, `SELECT 1 FROM component WHERE type = ? AND name = ?`, string(c.Type), c.Name); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `INSERT INTO component (id, type, name, revision, created_at, updated_at) VALUES (?, ?, ?, 1, ?, ?)`,
			c.ID, string(c.Type), c.Name, micros(c.CreatedAt), micros(c.CreatedAt)); err != nil {
			return fmt.Errorf("insert component: %w", err)
		}
		return insertRevision(ctx, tx, c, 1, micros(c.CreatedAt))
	})
}

func insertRevision(ctx context.Context, tx *session, c model.Component, revision int, at any) error {
	labels, err := jsonMap(c.Labels)
	if err != nil {
		return err
	}
	config := string(c.Config)
	if config == "" {
		config = "{}"
	}
	_, err = tx.exec(ctx, `INSERT INTO component_revision
		(component_id, revision, flavor, config, schema_version, plugin_version, labels, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, revision, c.Flavor, config, c.SchemaVersion, c.PluginVersion, labels, at)
	if err != nil {
		return fmt.Errorf("insert component revision: %w", err)
	}
	return nil
}

// freeName answers ErrExists where the query, given name last, finds a row.
func freeName(ctx context.Context, q querier, query string, args ...any) error {
	var one int
	err := q.row(ctx, query, args...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the name %q: %w", args[len(args)-1], model.ErrExists)
}

// Component gives a component of a type by its name or id, at its newest
// revision. ErrNotFound where there is none.
func (s *Store) Component(ctx context.Context, t model.ComponentType, nameOrID string) (model.Component, error) {
	c, err := scanComponent(s.read.row(ctx, componentSelect+` WHERE c.type = ?1 AND c.name = ?2
		UNION ALL `+componentSelect+` WHERE c.type = ?1 AND c.id = ?2 LIMIT 1`, string(t), nameOrID))
	if errors.Is(err, sql.ErrNoRows) {
		return c, notFound(string(t), nameOrID)
	}
	return c, s.explain(err)
}

// Components lists the components of a type, or all, by type and name.
func (s *Store) Components(ctx context.Context, t model.ComponentType) ([]model.Component, error) {
	all, err := collect(ctx, s.read, scanComponent, componentSelect+` WHERE ?1 = '' OR c.type = ?1 ORDER BY c.type, c.name`, string(t))
	return all, s.explain(err)
}

// ComponentRevision gives a component as it was at a revision; its name is the
// present one.
func (s *Store) ComponentRevision(ctx context.Context, id string, revision int) (model.Component, error) {
	c, err := scanComponent(s.read.row(ctx, `SELECT `+componentColumns+` FROM component c
		JOIN component_revision r ON r.component_id = c.id WHERE c.id = ? AND r.revision = ?`, id, revision))
	if errors.Is(err, sql.ErrNoRows) {
		return c, notFound("component revision", fmt.Sprintf("%s@%d", id, revision))
	}
	return c, s.explain(err)
}

// UpdateComponent writes revision fromRevision+1 with c's flavor, config,
// versions and labels, as of c.UpdatedAt. ErrConflict where fromRevision is not
// the newest.
func (s *Store) UpdateComponent(ctx context.Context, c model.Component, fromRevision int) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := refuseBuiltIn(c.BuiltIn(), c.ID); err != nil {
			return err
		}
		n, err := tx.exec(ctx, `UPDATE component SET revision = revision + 1, updated_at = ? WHERE id = ? AND revision = ?`,
			micros(c.UpdatedAt), c.ID, fromRevision)
		if err != nil {
			return err
		}
		if n == 0 {
			return missingOr(ctx, tx, `SELECT 1 FROM component WHERE id = ?`, "component", c.ID, model.ErrConflict)
		}
		return insertRevision(ctx, tx, c, fromRevision+1, micros(c.UpdatedAt))
	})
}

// missingOr tells an object that is not there from one that is not as expected.
func missingOr(ctx context.Context, q querier, query, kind, id string, other error) error {
	var one int
	err := q.row(ctx, query, id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return notFound(kind, id)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %s changed meanwhile: %w", kind, id, other)
}

func refuseBuiltIn(builtIn bool, id string) error {
	if builtIn {
		return fmt.Errorf("%s is built in: %w", id, model.ErrConflict)
	}
	return nil
}

// RenameComponent gives a component another name. Its revision stays.
func (s *Store) RenameComponent(ctx context.Context, id, newName string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		if err := refuseBuiltIn(model.Component{ID: id}.BuiltIn(), id); err != nil {
			return err
		}
		if err := freeName(ctx, tx, `SELECT 1 FROM component WHERE id <> ?1
			AND type = (SELECT type FROM component WHERE id = ?1) AND name = ?2`, id, newName); err != nil {
			return err
		}
		return changed(tx.exec(ctx, `UPDATE component SET name = ? WHERE id = ?`, newName, id))("component", id)
	})
}

// changed turns "no row" into ErrNotFound.
func changed(n int64, err error) func(kind, id string) error {
	return func(kind, id string) error {
		if err == nil && n == 0 {
			return notFound(kind, id)
		}
		return err
	}
}

// DeleteComponent deletes a component with its revisions. ErrInUse while a
// stack has it.
func (s *Store) DeleteComponent(ctx context.Context, id string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		return deleteComponent(ctx, tx, id)
	})
}

func deleteComponent(ctx context.Context, tx *session, id string) error {
	if err := refuseBuiltIn(model.Component{ID: id}.BuiltIn(), id); err != nil {
		return err
	}
	stacks, err := collect(ctx, tx, scanText, stacksUsing, id)
	if err != nil {
		return err
	}
	if len(stacks) > 0 {
		return fmt.Errorf("component %s is in stack %s: %w", id, stacks[0], model.ErrInUse)
	}
	return changed(tx.exec(ctx, `DELETE FROM component WHERE id = ?`, id))("component", id)
}

const stacksUsing = `SELECT s.name FROM stack_component m JOIN stack s ON s.id = m.stack_id WHERE m.component_id = ? ORDER BY s.name`

// StacksUsing gives the names of the stacks that have a component.
func (s *Store) StacksUsing(ctx context.Context, componentID string) ([]string, error) {
	names, err := collect(ctx, s.read, scanText, stacksUsing, componentID)
	return names, s.explain(err)
}
