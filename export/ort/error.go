package ort

import (
	"fmt"
	"strings"
)

// Code is the reason ONNX Runtime gives for a failure.
type Code int

// The codes of ONNX Runtime.
const (
	Fail             Code = 1
	InvalidArgument  Code = 2
	NoSuchFile       Code = 3
	NoModel          Code = 4
	EngineError      Code = 5
	RuntimeException Code = 6
	InvalidProtobuf  Code = 7
	ModelLoaded      Code = 8
	NotImplemented   Code = 9
	InvalidGraph     Code = 10
	ProviderFail     Code = 11
)

var codeNames = map[Code]string{
	Fail: "failure", InvalidArgument: "invalid argument", NoSuchFile: "no such file",
	NoModel: "no model", EngineError: "engine error", RuntimeException: "runtime exception",
	InvalidProtobuf: "invalid protobuf", ModelLoaded: "model already loaded",
	NotImplemented: "not implemented", InvalidGraph: "invalid graph", ProviderFail: "execution provider failure",
}

// String returns the code in words.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("code %d", int(c))
}

// Error is a failure that ONNX Runtime reported.
type Error struct {
	Code    Code
	Message string // in ONNX Runtime's words
	Doing   string // what was asked of it
	Model   string // file of the model, empty where none is concerned
}

// Error returns the model, what was being done, and ONNX Runtime's words.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("onnx runtime: ")
	if e.Model != "" {
		b.WriteString(e.Model + ": ")
	}
	fmt.Fprintf(&b, "%s: %s: %s", e.Doing, e.Code, e.Message)
	return b.String()
}

// NotFoundError says that no usable library was found.
type NotFoundError struct {
	Tried []string // the names or paths tried, in order
	Cause error    // why the last one failed
}

// Error lists what was tried and says how to install the library.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("onnx runtime: no usable library (tried %s): %v; %s", strings.Join(e.Tried, ", "), e.Cause, InstallHint())
}

// Unwrap returns the reason the last name failed.
func (e *NotFoundError) Unwrap() error { return e.Cause }
