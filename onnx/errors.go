package onnx

import (
	"errors"
	"fmt"
	"strings"
)

// What can be wrong with a model, for errors.Is. The *Error around them says
// where, and what to do.
var (
	ErrNotONNX      = errors.New("not an ONNX model")
	ErrDamaged      = errors.New("damaged file")
	ErrExternalData = errors.New("external data cannot be read")
	ErrTooLarge     = errors.New("too large")
	ErrTensor       = errors.New("malformed tensor")
	ErrInvalid      = errors.New("invalid model")
	ErrUnsupported  = errors.New("not supported")
)

// Error is anything that went wrong with a model: where, what, and the remedy
// where there is one. Fields that do not apply are empty.
type Error struct {
	File   string // path of the model
	Node   string // name of the node, or of its first output where it has no name
	Op     string // operator, "domain.Op" outside ai.onnx
	Msg    string // what is wrong
	Remedy string // what the user can do
	Err    error  // cause or sentinel, for errors.Is and errors.As
}

// Error says it in one line: file: node "name" (Op): message; remedy.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	b.WriteString(e.finding())
	return b.String()
}

// finding is the line without the file.
func (e *Error) finding() string {
	var b strings.Builder
	switch {
	case e.Node != "" && e.Op != "":
		fmt.Fprintf(&b, "node %q (%s): ", e.Node, e.Op)
	case e.Node != "":
		fmt.Fprintf(&b, "node %q: ", e.Node)
	case e.Op != "":
		fmt.Fprintf(&b, "%s: ", e.Op)
	}
	msg := e.Msg
	if msg == "" && e.Err != nil {
		msg = e.Err.Error()
	}
	b.WriteString(msg)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CheckError holds everything that Check found in one model.
type CheckError struct {
	File     string
	Findings []*Error
}

// maxPrinted bounds how many findings one message spells out.
const maxPrinted = 20

// Error lists the findings, one a line.
func (e *CheckError) Error() string {
	if len(e.Findings) == 1 {
		return e.Findings[0].Error()
	}
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	fmt.Fprintf(&b, "%d findings:", len(e.Findings))
	for i, f := range e.Findings {
		if i == maxPrinted {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Findings)-i)
			break
		}
		b.WriteString("\n  " + f.finding())
	}
	return b.String()
}

// Unwrap returns every finding, so errors.Is and errors.As see them all.
func (e *CheckError) Unwrap() []error {
	errs := make([]error, len(e.Findings))
	for i, f := range e.Findings {
		errs[i] = f
	}
	return errs
}
