package store

import (
	"context"
	"database/sql"
	"errors"
)

// Setting gives a setting; false where it was never set.
func (s *Store) Setting(ctx context.Context, key string) (string, bool, error) {
	v, err := scanText(s.read.row(ctx, `SELECT value FROM setting WHERE key = ?`, key))
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return v, err == nil, s.explain(err)
}

// SetSetting sets a setting.
func (s *Store) SetSetting(ctx context.Context, key, value string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		_, err := tx.exec(ctx, `INSERT INTO setting (key, value) VALUES (?, ?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
		return err
	})
}

// DeleteSetting unsets a setting; one that is not set is no error.
func (s *Store) DeleteSetting(ctx context.Context, key string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		_, err := tx.exec(ctx, `DELETE FROM setting WHERE key = ?`, key)
		return err
	})
}
