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

// Spec is what one operator has of its own; Op supplies the rest of Gorgonia's
// contract: a plain struct of the operator's settings.
type Spec interface {
	// Name is the operator's name for people: "Conv", "Conv.dx".
	Name() string
	// Lower describes the operator as kernel calls.
	Lower(b *Block) error
	// SymDiff returns the gradient node of every input, nil for inputs that
	// have none. It fails for an operator that cannot be differentiated.
	SymDiff(inputs gorgonia.Nodes, output, grad *Node) (gorgonia.Nodes, error)
	// DiffWRT says which inputs have a gradient.
	DiffWRT(inputs int) []bool
}

// Op is an operator of graft in a Gorgonia ExprGraph.
type Op struct {
	Spec
	id    uint64 // unique in the process: two ops never merge
	in    []hm.Type
	shape tensor.Shape
}

var (
	_ gorgonia.SDOp = (*Op)(nil)

	lastID atomic.Uint64
)

// apply puts an operator with a float32 output of the shape into the graph of
// its inputs.
func apply(spec Spec, shape []int, inputs ...*Node) (*Node, error) {
	if err := checkShape(shape); err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name(), err)
	}
	o := &Op{Spec: spec, id: lastID.Add(1), shape: append(tensor.Shape{}, shape...)}
	for _, n := range inputs {
		o.in = append(o.in, n.Type())
	}
	n, err := gorgonia.ApplyOp(o, inputs...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", spec.Name(), err)
	}
	return n, nil
}

// Arity implements gorgonia.Op.
func (o *Op) Arity() int { return len(o.in) }

// Type implements gorgonia.Op: a function of the concrete argument types.
func (o *Op) Type() hm.Type {
	var out hm.Type = tensor.Float32
	if len(o.shape) > 0 {
		out = gorgonia.TensorType{Dims: len(o.shape), Of: tensor.Float32}
	}
	if len(o.in) == 0 {
		return out
	}
	return hm.NewFnType(append(append([]hm.Type{}, o.in...), out)...)
}

// InferShape implements gorgonia.Op.
func (o *Op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.shape.Clone(), nil }

// ReturnsPtr implements gorgonia.Op.
func (o *Op) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op: never, the Plan decides on reuse.
func (o *Op) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op.
func (o *Op) WriteHash(h hash.Hash) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], o.id)
	h.Write([]byte("graft." + o.Name()))
	h.Write(b[:])
}

// Hashcode implements gorgonia.Op.
func (o *Op) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String implements gorgonia.Op.
func (o *Op) String() string { return fmt.Sprintf("%s#%d", o.Name(), o.id) }

// all and none are DiffWRT of operators with a gradient by every input and by
// none.
func all(inputs int) []bool {
	d := make([]bool, inputs)
	for i := range d {
		d[i] = true
	}
	return d
}

func none(inputs int) []bool { return make([]bool, inputs) }

// Ref names a buffer inside a Block.
type Ref struct {
	kind  refKind
	index int
}

type refKind uint8

const (
	refIn refKind = iota
	refOut
	refBeside
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

// all refers to every input in order, and then the output.
func (b *Block) all() []Ref {
	r := make([]Ref, 0, len(b.in)+1)
	for i := range b.in {
		r = append(r, b.In(i))
	}
	return append(r, b.Out())
}

// InShape returns the logical shape of input i.
func (b *Block) InShape(i int) []int { return b.in[i] }

// Out refers to the output.
func (b *Block) Out() Ref { return Ref{kind: refOut} }

// Beside refers to a second output. No operator has one: it is for the blocks
// that a compiler puts in the place of two.
func (b *Block) Beside() Ref { return Ref{kind: refBeside} }

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

// Arguments are the things that the Refs of a Block stand for.
type Arguments[T any] struct {
	In, Temps        []T
	Out, Beside, RNG T
}

// Resolve returns what a Ref stands for.
func (a Arguments[T]) Resolve(r Ref) T {
	switch r.kind {
	case refIn:
		return a.In[r.index]
	case refTemp:
		return a.Temps[r.index]
	case refBeside:
		return a.Beside
	case refRNG:
		return a.RNG
	default:
		return a.Out
	}
}
