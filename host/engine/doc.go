// Package engine owns runs: it plans, schedules, retries, cancels, resumes and
// publishes. It knows a journal, a stack and a pipeline program, and nothing of
// how they are made.
package engine
