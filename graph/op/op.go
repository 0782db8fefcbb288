// Package op holds graft's operators: one file for each ONNX operator or
// family, headed by the link to its specification.
//
// An operator has two halves. The builder (see Builder) reads an ONNX node and
// applies one or more Ops to Gorgonia nodes; the Op then is the vertex of the
// ExprGraph: it knows its output shape, its symbolic gradient (SymDiff) and
// how it is lowered to kernel calls (Lower). Every Op has exactly one output
// tensor: what ONNX gives several outputs becomes several Ops (Split is one
// slice an output), and statistics are packed into one tensor. So no value in
// the graph is anything but a tensor, and a Plan's buffers are its nodes.
//
// All shapes are concrete: a graph is built for one input shape.
package op

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"sync/atomic"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/graft-onnx/graft/graph/kernel"
)

// Node is a vertex of the expression graph.
type Node = gorgonia.Node

// Op is an operator of graft in a Gorgonia ExprGraph.
type Op interface {
	gorgonia.SDOp
	// Lower describes the operator as kernel calls.
	Lower(b *Block) error
	// header gives access to the embedded base.
	header() *base
}

// base carries what every Op has in common. Embed it by value in a struct used
// by pointer and fill it with newBase.
type base struct {
	id    uint64 // unique in the process: two ops never merge
	name  string // for people: "Conv", "Conv.dx"
	in    []hm.Type
	shape tensor.Shape
	dtype tensor.Dtype
}

var lastID atomic.Uint64

// newBase makes the header of an op that is about to be applied to inputs and
// gives a float32 tensor of the shape.
func newBase(name string, shape []int, inputs ...*Node) base {
	in := make([]hm.Type, len(inputs))
	for i, n := range inputs {
		in[i] = n.Type()
	}
	return base{id: lastID.Add(1), name: name, in: in, shape: tensor.Shape(append([]int{}, shape...)), dtype: tensor.Float32}
}

func (o *base) header() *base { return o }

// Arity implements gorgonia.Op.
func (o *base) Arity() int { return len(o.in) }

// Type implements gorgonia.Op: a function of the concrete argument types.
func (o *base) Type() hm.Type {
	ts := make([]hm.Type, 0, len(o.in)+1)
	ts = append(ts, o.in...)
	var out hm.Type = o.dtype
	if len(o.shape) > 0 {
		out = gorgonia.TensorType{Dims: len(o.shape), Of: o.dtype}
	}
	return hm.NewFnType(append(ts, out)...)
}

// InferShape implements gorgonia.Op.
func (o *base) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return o.shape.Clone(), nil
}

// ReturnsPtr implements gorgonia.Op.
func (o *base) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (o *base) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op: never, the Plan decides on reuse.
func (o *base) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (o *base) WriteHash(h hash.Hash) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], o.id)
	h.Write([]byte("graft." + o.name))
	h.Write(b[:])
}

// Hashcode implements gorgonia.Op.
func (o *base) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String implements gorgonia.Op.
func (o *base) String() string { return fmt.Sprintf("%s#%d", o.name, o.id) }

// DiffWRT implements gorgonia.SDOp for ops differentiable by every input;
// others override it.
func (o *base) DiffWRT(inputs int) []bool {
	d := make([]bool, inputs)
	for i := range d {
		d[i] = true
	}
	return d
}

// none is DiffWRT of an op without gradient.
func none(inputs int) []bool { return make([]bool, inputs) }

// apply puts an op into the graph of its inputs.
func apply(o Op, inputs ...*Node) (*Node, error) {
	n, err := gorgonia.ApplyOp(o, inputs...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.header().name, err)
	}
	return n, nil
}

// Ref names a buffer inside a Block.
type Ref struct {
	kind  refKind
	index int
}

type refKind uint8

const (
	refIn refKind = iota
	refOut
	refTemp
	refRNG
)

// Call is one kernel call of a Block.
type Call struct {
	Desc kernel.Desc
	Args []Ref
}

// Block collects the kernel calls of one Op.
type Block struct {
	Calls []Call
	Temps []int // bytes of each temporary
	// Aliased is the input whose buffer the output shares, or -1.
	Aliased int
	// Clobber is the input whose buffer the output may take over when the
	// input has no later reader (the kernels allow it), or -1.
	Clobber int

	in  [][]int
	out []int
}

// NewBlock starts a block for an op with inputs of the given shapes.
func NewBlock(inputs [][]int, output []int) *Block {
	return &Block{Aliased: -1, Clobber: -1, in: inputs, out: output}
}

// In refers to input i.
func (b *Block) In(i int) Ref { return Ref{refIn, i} }

// InShape returns the logical shape of input i.
func (b *Block) InShape(i int) []int { return b.in[i] }

// Out refers to the output.
func (b *Block) Out() Ref { return Ref{kind: refOut} }

// OutShape returns the logical shape of the output.
func (b *Block) OutShape() []int { return b.out }

// RNG refers to the seed and step of the run (2 x uint64).
func (b *Block) RNG() Ref { return Ref{kind: refRNG} }

// Temp reserves memory that lives as long as the block.
func (b *Block) Temp(bytes int) Ref {
	b.Temps = append(b.Temps, bytes)
	return Ref{refTemp, len(b.Temps) - 1}
}

// Call appends a kernel call.
func (b *Block) Call(d kernel.Desc, args ...Ref) {
	b.Calls = append(b.Calls, Call{d, args})
}

// Alias makes the output share the buffer of input i: same bytes, other shape.
func (b *Block) Alias(i int) { b.Aliased = i }

// MayClobber lets the output take over the buffer of input i.
func (b *Block) MayClobber(i int) { b.Clobber = i }

// Resolve maps a Ref to one of the caller's things.
func Resolve[T any](r Ref, in, temps []T, out, rng T) T {
	switch r.kind {
	case refIn:
		return in[r.index]
	case refTemp:
		return temps[r.index]
	case refRNG:
		return rng
	default:
		return out
	}
}
