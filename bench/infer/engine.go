package main

import (
	"errors"
	"fmt"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

// onnxRuntime is what --device calls ONNX Runtime.
const onnxRuntime = "onnxruntime"

// input is a batch and the size that its probabilities should have.
type input struct {
	pixels        []float32 // row-major
	shape         []int     // (N,3,H,W)
	height, width int
}

// missing reports whether an engine is not installed here.
func missing(err error) bool {
	var device *device.UnavailableError
	var runtime *ort.NotFoundError
	return errors.As(err, &device) || errors.As(err, &runtime)
}

// graftEngine evaluates a training graph as train.Predictor does, with the
// pictures of a batch at once.
type graftEngine struct {
	dev   kernel.Device
	plan  *graph.Plan
	input input
	out   []float32
	shape []int
}

func openGraft(file, name string, threads int, in input) (_ engine, err error) {
	m, err := onnx.Load(file)
	if err != nil {
		return nil, err
	}
	dev, err := device.OpenThreads(name, threads)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dev.Close())
		}
	}()
	network, err := graph.NewNetwork(m, dev)
	if err != nil {
		return nil, err
	}
	plan, err := network.Plan(graph.Spec{
		Inputs:        map[string][]int{onnx.ImageName: in.shape},
		Probabilities: &graph.Probabilities{Output: onnx.OutputName, Height: in.height, Width: in.width},
	})
	if err != nil {
		return nil, err
	}
	return &graftEngine{dev: dev, plan: plan, input: in}, nil
}

func (e *graftEngine) String() string { return e.dev.String() }

func (e *graftEngine) Infer() ([]float32, error) {
	if err := e.plan.SetInput(onnx.ImageName, e.input.pixels); err != nil {
		return nil, err
	}
	if err := e.plan.RunAll(); err != nil {
		return nil, err
	}
	if e.out != nil {
		return e.out, e.plan.OutputInto(graph.OutputProbabilities, e.out)
	}
	var err error
	e.out, e.shape, err = e.plan.Output(graph.OutputProbabilities)
	return e.out, err
}

func (e *graftEngine) Shape() []int { return e.shape }

func (e *graftEngine) Close() error { return e.dev.Close() }

// runtimeEngine runs an exported file with ONNX Runtime as fast as that goes:
// all of its graph optimizations, threads that wait busily, and results written
// to memory that is there already.
type runtimeEngine struct {
	runtime *ort.Runtime
	session *ort.Session
	in, out map[string]ort.Tensor
	result  []float32
	shape   []int
}

func openRuntime(file, _ string, threads int, in input) (engine, error) {
	runtime, err := ort.Open("")
	if err != nil {
		return nil, err
	}
	session, err := runtime.Session(file, ort.Options{Threads: threads, Optimize: true, Spin: true})
	if err != nil {
		return nil, err
	}
	inputs, outputs := session.Inputs(), session.Outputs()
	if len(inputs) != 1 || len(outputs) != 1 || len(outputs[0].Shape) != 4 || outputs[0].Shape[1] < 1 {
		return nil, errors.Join(fmt.Errorf("%s: one picture in and class probabilities (N,C,H,W) out are needed", file), session.Close())
	}
	shape := []int{in.shape[0], outputs[0].Shape[1], in.height, in.width}
	result := make([]float32, shape[0]*shape[1]*shape[2]*shape[3])
	return &runtimeEngine{
		runtime: runtime, session: session, result: result, shape: shape,
		in:  map[string]ort.Tensor{inputs[0].Name: ort.New(in.pixels, in.shape...)},
		out: map[string]ort.Tensor{outputs[0].Name: ort.New(result, shape...)},
	}, nil
}

func (e *runtimeEngine) String() string { return "ONNX Runtime " + e.runtime.Version() }

func (e *runtimeEngine) Infer() ([]float32, error) { return e.result, e.session.RunInto(e.in, e.out) }

func (e *runtimeEngine) Shape() []int { return e.shape }

func (e *runtimeEngine) Close() error { return e.session.Close() }
