package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// upgradedOpset is what models of an operator set before 13 are brought to.
const upgradedOpset = 15

// Inference returns the network of a training graph or checkpoint as a file
// for deployment: one picture in, one output of the kind that opts ask for.
//
// Only what that output needs stays: deep supervision goes, with everything
// that serves it alone, and so do dropout, optimizer state and history. Every
// BatchNormalization uses its stored statistics. N, H and W are symbolic, unless
// the graph has its size built in. The
// operator set and the IR version stay those of m (from operator set 13 on;
// older ones are brought to 15). m is not changed.
//
// Errors are *onnx.CheckError for a model that is not valid, and *onnx.Error for
// one that has no such output, that is not a segmentation network of one
// picture, or that needs what export cannot do.
func Inference(m *onnx.Model, opts Options) (*onnx.Model, error) {
	if m == nil || m.GetGraph() == nil {
		return nil, &onnx.Error{Msg: "the model has no graph", Err: onnx.ErrInvalid}
	}
	opts, err := opts.check(m.Path)
	if err != nil {
		return nil, err
	}
	// What follows relies on order and unique names.
	if err := onnx.Check(m); err != nil {
		return nil, err
	}
	deploy := Deployment{Head: opts.Head, Layout: opts.Preprocess}
	out, t, err := cutDown(m.Clone(), opts, &deploy)
	if err != nil {
		return nil, err
	}
	e := newEditor(out)
	input, err := e.pictureInput()
	if err != nil {
		return nil, err
	}
	mean, std, err := describe(out, opts)
	if err != nil {
		return nil, err
	}
	h := &headBuilder{editor: e, opts: opts, deploy: &deploy, input: input}
	if err := h.build(t, mean, std); err != nil {
		return nil, err
	}
	e.prune()
	if opts.Shape != nil {
		if out, err = fixShape(out, opts); err != nil {
			return nil, err
		}
	}
	if err := out.SetMetadataJSON(DeployKey, deploy); err != nil {
		return nil, err
	}
	out.ProducerName, out.Path = "graft", ""
	if err := onnx.Check(out); err != nil {
		return nil, fmt.Errorf("the exported graph is not valid: %w", err)
	}
	return out, nil
}

// cutDown reduces a model, in place where it can, to the scores of one output
// in inference.
func cutDown(m *onnx.Model, opts Options, deploy *Deployment) (*onnx.Model, trunk, error) {
	stripTraining(m)
	e := newEditor(m)
	output, err := e.findOutput(opts.Output)
	if err != nil {
		return nil, trunk{}, err
	}
	deploy.Source = output.GetName()
	e.g.Output = slices.DeleteFunc(e.g.Output, func(v *pb.ValueInfoProto) bool { return v != output })
	e.prune()
	e.removeIdle()
	if !opts.KeepFunctions {
		if m, err = onnx.Inline(m, nil); err != nil {
			return nil, trunk{}, err
		}
		e = newEditor(m)
		e.removeIdle() // bodies may hold more
		e.plainCasts()
	}
	// Before operator set 13, Softmax over the classes of a picture means
	// another thing.
	if m.Opset("") < 13 {
		if m, err = onnx.Upgrade(m, upgradedOpset); err != nil {
			return nil, trunk{}, err
		}
	}
	dynamic(m)
	e = newEditor(m)
	if err := e.settleBN(); err != nil {
		return nil, trunk{}, err
	}
	if opts.FoldBN {
		if deploy.FoldedBN, err = e.foldBN(); err != nil {
			return nil, trunk{}, err
		}
	}
	if output, err = e.findOutput(deploy.Source); err != nil {
		return nil, trunk{}, err
	}
	t, err := e.cut(output)
	return m, t, err
}

// plainCasts replaces every CastLike, which bodies of functions use and some
// runtimes lack, by a Cast to the type that inference finds.
func (e *editor) plainCasts() {
	var values map[string]onnx.Info
	for _, n := range e.g.GetNode() {
		if n.GetOpType() != "CastLike" || onnx.NormalDomain(n.GetDomain()) != "" || len(n.Input) != 2 {
			continue
		}
		if values == nil {
			// Where inference fails the node stays as it is, which is valid too.
			values, _ = onnx.Infer(e.m)
		}
		if dtype := values[n.Output[0]].DType; dtype != pb.TensorProto_UNDEFINED {
			n.OpType, n.Input = "Cast", n.Input[:1]
			n.Attribute = []*pb.AttributeProto{onnx.IntAttr("to", int64(dtype))}
		}
	}
}

// fixShape makes every shape of an exported graph a number.
func fixShape(m *onnx.Model, opts Options) (*onnx.Model, error) {
	n, h, w := opts.Shape[0], opts.Shape[1], opts.Shape[2]
	shape := []int{n, 3, h, w}
	if opts.Preprocess == PixelsNHWC {
		shape = []int{n, h, w, 3}
	}
	input := m.Inputs()[0].GetName()
	if err := bounded(m, map[string][]int{input: shape}); err != nil {
		return nil, err
	}
	out, shapes, err := onnx.Specialize(m, map[string][]int{input: shape})
	if err != nil {
		return nil, err
	}
	return out, bounded(m, shapes)
}

// maxElements is what compilers for deployment count a tensor's elements with:
// 32 bits and a sign.
const maxElements = math.MaxInt32

// bounded refuses shapes of values that are larger than targets take.
func bounded(m *onnx.Model, shapes map[string][]int) error {
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		elements := uint64(1)
		for _, d := range shapes[name] {
			hi, lo := bits.Mul64(elements, uint64(d))
			if elements = lo; hi != 0 || lo > maxElements {
				return &onnx.Error{File: m.Path, Msg: fmt.Sprintf("value %q would have the shape %v, more than %d elements", name, shapes[name], maxElements),
					Remedy: "give a smaller batch, height or width", Err: onnx.ErrTooLarge}
			}
		}
	}
	return nil
}

// describe records the normalisation in the metadata and returns it. The
// class list goes along as it is, if it can be read at all.
func describe(m *onnx.Model, opts Options) (mean, std []float32, err error) {
	var classes []json.RawMessage
	if _, err := m.MetadataJSON(onnx.ClassesKey, &classes); err != nil {
		return nil, nil, err
	}
	if mean, std, err = onnx.Normalisation(m); err != nil {
		return nil, nil, err
	}
	if opts.Mean != nil {
		mean = opts.Mean
	}
	if opts.Std != nil {
		std = opts.Std
	}
	onnx.SetNormalisation(m, mean, std)
	return mean, std, nil
}
