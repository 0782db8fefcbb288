package main

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/graft-onnx/graft/bench"
)

// side is one way to compute, and what was measured of it.
type side struct {
	name string
	// against marks the sides that others are compared with: ratios are to
	// the fastest of the same precision.
	against   bool
	precision string
	python    bool
	words     []string // the command, without what all sides share
	output    string   // file that it writes its probabilities to, if any

	results []*bench.Result // one a process
	refused string          // why there are none
}

// seconds returns all times of a side.
func (s *side) seconds() []float64 {
	var all []float64
	for _, r := range s.results {
		all = append(all, r.Seconds...)
	}
	return all
}

// peak returns the largest resident memory of a side's processes in bytes.
func (s *side) peak() int64 {
	var most int64
	for _, r := range s.results {
		most = max(most, r.PeakBytes)
	}
	return most
}

// devices are graft's.
var devices = []string{"native", "onednn"}

// layouts are PyTorch's, and what peer.py calls them.
var layouts = []struct {
	name string
	args []string
}{{"contiguous", nil}, {"channels_last", []string{"--channels-last"}}}

// trainingSides lists what takes turns in training a network, against PyTorch.
func (s *settings) trainingSides(n network) []*side {
	precisions := []string{"fp32"}
	if s.bf16 {
		precisions = append(precisions, "bf16")
	}
	var list []*side
	for _, precision := range precisions {
		label := map[string]string{"fp32": "", "bf16": " bf16"}[precision]
		for _, layout := range layouts {
			words := append(s.peer(n), layout.args...)
			if precision == "bf16" {
				words = append(words, "--bf16")
			}
			list = append(list, &side{name: "PyTorch" + label + ", " + layout.name, against: true, precision: precision, python: true,
				words: append(words, "--label", s.peerFile(n, labelFile))})
		}
		for _, device := range devices {
			list = append(list, &side{name: "graft" + label + ", " + device, precision: precision, words: []string{
				s.program("step"), "--model", s.file(n, modelFile), "--image", s.file(n, imageFile), "--label", s.file(n, labelFile),
				"--device", device, "--precision", precision}})
		}
	}
	return list
}

// inferenceSides lists what takes turns in making class probabilities of a
// batch of pictures, against ONNX Runtime.
func (s *settings) inferenceSides(n network, batch int) []*side {
	var list []*side
	add := func(name string, python bool, words ...string) *side {
		output := fmt.Sprintf("output%d.pb", len(list))
		to := s.file(n, output)
		if python {
			to = s.peerFile(n, output)
		}
		words = append(words, "--batch", fmt.Sprint(batch), "--output", to)
		if n.whole {
			words = append(words, "--whole")
		}
		list = append(list, &side{name: name, precision: "fp32", python: python, words: words, output: s.file(n, output)})
		return list[len(list)-1]
	}
	graft := func(model, device string) []string {
		return []string{s.program("infer"), "--model", s.file(n, model), "--image", s.file(n, imageFile), "--device", device}
	}
	add("ONNX Runtime", false, graft(deployFile, "onnxruntime")...).against = true
	for _, device := range devices {
		add("graft, "+device, false, graft(modelFile, device)...)
	}
	for _, layout := range layouts {
		add("PyTorch, "+layout.name, true, append(append(s.peer(n), "--inference"), layout.args...)...)
	}
	return list
}

// peer begins the command of a side in PyTorch.
func (s *settings) peer(n network) []string {
	words := append([]string{}, s.python...)
	return append(words, path.Join(s.peerDir, "peer.py"), s.peerFile(n, modelFile), "--image", s.peerFile(n, imageFile))
}

// file is a file of a network, and peerFile the same as Python sees it.
func (s *settings) file(n network, name string) string { return filepath.Join(s.dir, n.name, name) }
func (s *settings) peerFile(n network, name string) string {
	return path.Join(s.peerDir, n.name, name)
}
