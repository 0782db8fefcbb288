// Package bench measures graft beside PyTorch and ONNX Runtime on the same ONNX
// files.
//
//	PYTHON=python3 go run ./bench/compare --bf16 --inference
//
// prints the side-by-side tables. Whole training steps are timed by bench/step
// in graft and by peer.py in PyTorch; pictures to class probabilities by
// bench/infer in graft and in ONNX Runtime, and by peer.py. Every measurement
// is a process of its own, and bench/compare starts them in turn.
package bench

import (
	_ "embed" // the scripts
	"slices"
)

// Peer is the script that times PyTorch, and Trace the module it imports under
// the name trace.
var (
	//go:embed peer.py
	Peer []byte
	//go:embed trace.py
	Trace []byte
)

// Result is what a process that timed something prints as JSON.
type Result struct {
	// Refused says why this cannot be measured on this machine; the rest is
	// empty then.
	Refused string `json:"refused,omitempty"`
	// Program describes what computed: version, instruction set.
	Program string `json:"program"`
	// Seconds holds the time of every reported step.
	Seconds []float64 `json:"seconds"`
	// Losses holds the loss before every update, warm-up included; empty where
	// nothing is trained.
	Losses []float64 `json:"losses,omitempty"`
	// PeakBytes is the most memory that the process ever had resident, 0 where
	// the system does not tell.
	PeakBytes int64 `json:"peak_bytes"`
	// Saving tells of the checkpoints that were written afterwards.
	Saving []Saving `json:"saving,omitempty"`
}

// Saving is the writing of a checkpoint.
type Saving struct {
	Seconds   float64 `json:"seconds"`
	PeakBytes int64   `json:"peak_bytes"` // of the process, up to its end
}

// Median returns the middle value, the mean of the two middle ones of an even
// number, and 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	half := len(v) / 2
	if len(v)%2 == 1 {
		return v[half]
	}
	return (v[half-1] + v[half]) / 2
}
