// Package store is the journal and registry in SQLite. All SQL is here.
package store
