package store

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
)

func scanPlugin(r scanner) (model.Plugin, error) {
	var p model.Plugin
	err := r.Scan(jsonInto{&p})
	return p, err
}

// Plugins lists the catalogue by name and path.
func (s *Store) Plugins(ctx context.Context) ([]model.Plugin, error) {
	all, err := collect(ctx, s.read, scanPlugin, `SELECT data FROM plugin ORDER BY name, path`)
	return all, s.explain(err)
}

// PutPlugin writes an entry of the catalogue, by name and path.
func (s *Store) PutPlugin(ctx context.Context, p model.Plugin) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		data, err := jsonText(p)
		if err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO plugin (name, path, data) VALUES (?, ?, ?)
			ON CONFLICT (name, path) DO UPDATE SET data = excluded.data`, p.Name, p.Path, data)
		return err
	})
}

// DeletePlugin takes an entry out of the catalogue; one that is not there is no
// error.
func (s *Store) DeletePlugin(ctx context.Context, name, path string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		_, err := tx.exec(ctx, `DELETE FROM plugin WHERE name = ? AND path = ?`, name, path)
		return err
	})
}
