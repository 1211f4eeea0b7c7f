package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/cairn-stack/cairn/host/model"
)

func scanSecret(r scanner) (model.Secret, error) {
	var sec model.Secret
	err := r.Scan(&sec.Name, jsonInto{&sec.Keys}, timeInto{&sec.CreatedAt}, timeInto{&sec.UpdatedAt})
	return sec, err
}

// Secrets lists all secrets by name.
func (s *Store) Secrets(ctx context.Context) ([]model.Secret, error) {
	all, err := collect(ctx, s.read, scanSecret, `SELECT name, keys, created_at, updated_at FROM secret ORDER BY name`)
	return all, s.explain(err)
}

// Secret gives a secret with its encrypted values.
func (s *Store) Secret(ctx context.Context, name string) (model.Secret, []byte, error) {
	var sec model.Secret
	var ciphertext []byte
	err := s.read.row(ctx, `SELECT name, keys, created_at, updated_at, ciphertext FROM secret WHERE name = ?`, name).
		Scan(&sec.Name, jsonInto{&sec.Keys}, timeInto{&sec.CreatedAt}, timeInto{&sec.UpdatedAt}, &ciphertext)
	if errors.Is(err, sql.ErrNoRows) {
		return sec, nil, notFound("secret", name)
	}
	return sec, ciphertext, s.explain(err)
}

// PutSecret writes a secret: a new one (ErrExists for a taken name), or another
// value of one that exists (ErrNotFound), whose creation time stays.
func (s *Store) PutSecret(ctx context.Context, sec model.Secret, ciphertext []byte, isNew bool) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		keys, err := jsonText(sec.Keys)
		if err != nil {
			return err
		}
		if !isNew {
			return changed(tx.exec(ctx, `UPDATE secret SET keys = ?, ciphertext = ?, updated_at = ? WHERE name = ?`,
				keys, ciphertext, micros(sec.UpdatedAt), sec.Name))("secret", sec.Name)
		}
		if err := freeName(ctx, tx, `SELECT 1 FROM secret WHERE name = ?`, sec.Name); err != nil {
			return err
		}
		_, err = tx.exec(ctx, `INSERT INTO secret (name, keys, ciphertext, created_at, updated_at) VALUES (?, ?, ?, ?, ?)`,
			sec.Name, keys, ciphertext, micros(sec.CreatedAt), micros(sec.UpdatedAt))
		return err
	})
}

// DeleteSecret deletes a secret.
func (s *Store) DeleteSecret(ctx context.Context, name string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		return changed(tx.exec(ctx, `DELETE FROM secret WHERE name = ?`, name))("secret", name)
	})
}
