package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// style colours text, or leaves it as it is.
type style struct{ on bool }

func (s style) wrap(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bold(text string) string   { return s.wrap("1", text) }
func (s style) dim(text string) string    { return s.wrap("2", text) }
func (s style) red(text string) string    { return s.wrap("31", text) }
func (s style) green(text string) string  { return s.wrap("32", text) }
func (s style) yellow(text string) string { return s.wrap("33", text) }
func (s style) cyan(text string) string   { return s.wrap("36", text) }

// state colours the state of a run, a step, an attempt or a plugin.
func (s style) state(name string) string {
	switch name {
	case "completed", "ok":
		return s.green(name)
	case "running", "reserved":
		return s.cyan(name)
	case "failed", "lost", "timed_out", "corrupt", "missing", "broken", "changed":
		return s.red(name)
	case "interrupted", "cancelled", "degraded", "not_approved", "unreachable", "skipped", "shadowed":
		return s.yellow(name)
	}
	return name
}

// styleFor decides by the writer, the flag and the environment: NO_COLOR and
// --no-color turn colour off, CLICOLOR_FORCE turns it on where it would be off,
// CLICOLOR=0 turns it off, and else a terminal that is not dumb has it.
func (c *cli) styleFor(w io.Writer) style {
	if c.noColor || os.Getenv("NO_COLOR") != "" {
		return style{}
	}
	if force := os.Getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return style{on: true}
	}
	if os.Getenv("CLICOLOR") == "0" || os.Getenv("TERM") == "dumb" {
		return style{}
	}
	return style{on: isTerminal(w)}
}

// isTerminal reports whether a reader or writer is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// widthOf is the width of a terminal in columns; 0 where w is none.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// heightOf is the height of a terminal in lines; 24 where it does not say.
func heightOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 0 {
			return height
		}
	}
	return 24
}
