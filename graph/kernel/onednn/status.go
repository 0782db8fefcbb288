package onednn

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

// status is dnnl_status_t.
type status int32

const (
	statusUnimplemented status = 3
	statusInvalid       status = 2
)

// String returns the name of the status without its prefix.
func (s status) String() string {
	names := []string{"success", "out of memory", "invalid arguments", "unimplemented", "iterator ends", "runtime error", "not required"}
	if s >= 0 && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("status %d", int32(s))
}

// CallError is a oneDNN function that failed.
type CallError struct {
	Function string // the C function
	Status   string // what it returned, in words
	code     status
}

// Error names the function and what it returned.
func (e *CallError) Error() string { return fmt.Sprintf("onednn: %s: %s", e.Function, e.Status) }

// Is makes a refusal match kernel.ErrUnsupported.
func (e *CallError) Is(target error) bool {
	return target == kernel.ErrUnsupported && (e.code == statusUnimplemented || e.code == statusInvalid)
}

// check turns the return value of a C function into an error.
func check(function string, r uintptr) error {
	if s := status(r); s != 0 {
		return &CallError{Function: function, Status: s.String(), code: s}
	}
	return nil
}

// Values of the library's enumerations that are the same in both generations.
const (
	engineCPU            = 1
	streamInOrder        = 1
	scratchpadUser       = 1
	typeFloat32          = 3
	formatAny            = 1
	algDirect            = 1
	forwardTraining      = 64
	forwardInference     = 96
	queryImplementation  = 8
	queryWeightsDesc     = 131
	queryDiffWeightsDesc = 132
	queryScratchpadDesc  = 136
)

// Values of DNNL_ARG_*: what a memory object is to a primitive.
const (
	argSrc         = 1
	argDst         = 17
	argWeights     = 33
	argBias        = 41
	argScratchpad  = 80
	argDiffSrc     = 129
	argDiffDst     = 145
	argDiffWeights = 161
)
