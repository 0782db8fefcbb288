package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a configuration.
type Error struct {
	File string // file name, or "command line"; "" when the value is a default
	Line int    // 1-based; 0 when unknown
	Key  string // dotted key; "" for the file as a whole
	Msg  string
}

// Error implements error as "file:line: KEY: what is wrong".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Errors is everything wrong with a configuration, in the order of the file.
type Errors struct{ List []*Error }

// Error implements error with one line per finding.
func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, one := range e.List {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives errors.As and errors.Is every finding.
func (e *Errors) Unwrap() []error {
	out := make([]error, len(e.List))
	for i, one := range e.List {
		out[i] = one
	}
	return out
}

// OnCommandLine reports whether every finding is about an override.
func (e *Errors) OnCommandLine() bool {
	return len(e.List) > 0 && !slices.ContainsFunc(e.List, func(one *Error) bool { return one.File != commandLine })
}

// asError returns nil for an empty list, so that callers get a nil error.
func (e *Errors) asError() error {
	if len(e.List) == 0 {
		return nil
	}
	slices.SortStableFunc(e.List, func(a, b *Error) int {
		if a.File != b.File { // the file's findings before the command line's
			return rank(a.File) - rank(b.File)
		}
		return a.Line - b.Line
	})
	return e
}

func (e *Errors) add(file string, line int, key, format string, args ...any) {
	e.List = append(e.List, &Error{File: file, Line: line, Key: key, Msg: fmt.Sprintf(format, args...)})
}

func rank(file string) int {
	switch file {
	case "":
		return 2
	case commandLine:
		return 1
	}
	return 0
}
