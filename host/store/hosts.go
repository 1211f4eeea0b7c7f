package store

import (
	"context"

	"github.com/cairn-stack/cairn/host/model"
)

func scanHost(r scanner) (model.Host, error) {
	var h model.Host
	err := r.Scan(&h.ID, &h.PID, &h.Kind, &h.Version, &h.Socket, timeInto{&h.StartedAt})
	return h, err
}

// PutHost writes the row of a host, which holds its lock already.
func (s *Store) PutHost(ctx context.Context, h model.Host) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		_, err := tx.exec(ctx, `INSERT INTO host (id, pid, kind, version, socket, started_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, kind = excluded.kind, version = excluded.version,
				socket = excluded.socket, started_at = excluded.started_at`,
			h.ID, h.PID, h.Kind, h.Version, h.Socket, micros(h.StartedAt))
		return err
	})
}

// Hosts lists all rows of hosts, dead ones too, in order of start.
func (s *Store) Hosts(ctx context.Context) ([]model.Host, error) {
	all, err := collect(ctx, s.read, scanHost, `SELECT id, pid, kind, version, socket, started_at FROM host ORDER BY started_at, id`)
	return all, s.explain(err)
}

// DeleteHost deletes the row of a host; none is no error.
func (s *Store) DeleteHost(ctx context.Context, id string) error {
	return s.do(ctx, func(ctx context.Context, tx *session) error {
		_, err := tx.exec(ctx, `DELETE FROM host WHERE id = ?`, id)
		return err
	})
}
