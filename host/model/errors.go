package model

import (
	"errors"
	"fmt"
)

// Errors of a journal, matched with errors.Is.
var (
	// ErrNotFound: no object of that name or id.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name is taken.
	ErrExists = errors.New("exists already")
	// ErrInUse: something refers to the object.
	ErrInUse = errors.New("in use")
	// ErrConflict: the change does not fit the state of the run, or an object
	// changed since it was read. Nothing was written.
	ErrConflict = errors.New("conflict")
	// ErrFenced: another engine has acquired the run. Match FencedError for who.
	ErrFenced = errors.New("fenced")
	// ErrOwned: the run's owner lives.
	ErrOwned = errors.New("owned by a living host")
	// ErrBusy: the journal could not be written for now (locked, no room, an
	// I/O error); the same call may be made again.
	ErrBusy = errors.New("journal is busy")
)

// FencedError says who acquired the run, and in which epoch.
type FencedError struct {
	Owner string
	Epoch int64
}

// Error names the owner.
func (e *FencedError) Error() string {
	return fmt.Sprintf("fenced: host %s acquired the run (epoch %d)", e.Owner, e.Epoch)
}

// Is matches ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }
