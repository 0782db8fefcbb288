package kernel

// UnaryOp names a function of one element.
type UnaryOp uint8

// The functions of one element. Alpha and Beta are those of Unary.
const (
	Affine      UnaryOp = iota // Alpha*x + Beta
	Relu                       // max(x, 0)
	Clamp                      // min(max(x, Alpha), Beta)
	LeakyRelu                  // x, or Alpha*x below zero
	Elu                        // x, or Alpha*(exp(x)-1) below zero
	Sigmoid                    // 1 / (1 + exp(-x))
	HardSigmoid                // min(max(Alpha*x + Beta, 0), 1)
	HardSwish                  // x * min(max(x/6 + 0.5, 0), 1)
	Tanh
	Exp
	Log
	Sqrt
	Abs
	Neg
	Reciprocal
	Erf
	Softplus
	Floor
	Ceil
	Round // half to even
)

// Unary applies a function to every element. Args: x, y (may be one buffer).
type Unary struct {
	Op          UnaryOp
	Alpha, Beta float32
	Len         int
}

func (d Unary) Args() []Arg {
	return []Arg{{"x", []int{d.Len}, Float32, In}, {"y", []int{d.Len}, Float32, Out}}
}

// UnaryBackward is the gradient of Unary: dx = dy * f'(x).
// Relu: dx = dy where x > 0. Clamp: dx = dy where Alpha < x < Beta. At the
// corner of Abs the derivative is 0, at those of LeakyRelu and Elu it is the
// one from below, at those of HardSwish the one from outside, as in PyTorch.
// Args: x, y, dy, dx (dx may be dy's buffer).
type UnaryBackward struct {
	Op          UnaryOp
	Alpha, Beta float32
	Len         int
}

func (d UnaryBackward) Args() []Arg {
	s := []int{d.Len}
	return []Arg{{"x", s, Float32, In}, {"y", s, Float32, In}, {"dy", s, Float32, In}, {"dx", s, Float32, Out}}
}

// BinaryOp names a function of two elements.
type BinaryOp uint8

// The functions of two elements.
const (
	Add BinaryOp = iota
	Sub
	Mul
	Div
	Max
	Min
	Pow
	PRelu   // a, or a*b below zero
	Greater // 1 where a > b, else 0
	GreaterEqual
	Equal
)

// Binary combines two tensors with numpy broadcasting. A and B have the rank
// of Out (leading ones added by the caller). Args: a, b, y (y may be the
// buffer of an operand of the same shape).
type Binary struct {
	Op        BinaryOp
	A, B, Out []int
}

func (d Binary) Args() []Arg {
	return []Arg{{"a", d.A, Float32, In}, {"b", d.B, Float32, In}, {"y", d.Out, Float32, Out}}
}

// AddN sums tensors of one length, in argument order, and then applies Act.
// Args: inputs..., y (y may be the first input's buffer).
type AddN struct {
	Inputs, Len int
	Act         Clip
}

func (d AddN) Args() []Arg {
	a := make([]Arg, 0, d.Inputs+1)
	for range d.Inputs {
		a = append(a, Arg{"x", []int{d.Len}, Float32, In})
	}
	return append(a, Arg{"y", []int{d.Len}, Float32, Out})
}

// Fill writes one value everywhere. Args: y.
type Fill struct {
	Len   int
	Value float32
}

func (d Fill) Args() []Arg { return []Arg{{"y", []int{d.Len}, Float32, Out}} }

// ReduceOp names a reduction.
type ReduceOp uint8

// The reductions.
const (
	ReduceSum ReduceOp = iota
	ReduceMean
	ReduceMax
	ReduceMin
	ReduceSumSquare
)

// Reduce folds the axes where Shape (the output's, of In's rank) is 1 and In
// is not. Args: x, y.
type Reduce struct {
	Op        ReduceOp
	In, Shape []int
}

func (d Reduce) Args() []Arg {
	return []Arg{{"x", d.In, Float32, In}, {"y", d.Shape, Float32, Out}}
}

// Copy moves a box of elements between two strided tensors: Transpose, Slice,
// Split, Concat, Pad, Expand and layout changes are all copies. Strides and
// offsets are physical, in elements of DType; a source stride may be 0 or
// negative. SrcLen and DstLen are the lengths of the two buffers. Elements of the
// destination outside the box keep their value. Args: x, y.
type Copy struct {
	DType                  DType
	Shape                  []int
	SrcStrides, DstStrides []int
	SrcOffset, DstOffset   int
	SrcLen, DstLen         int
}

func (d Copy) Args() []Arg {
	return []Arg{{"x", []int{d.SrcLen}, d.DType, In}, {"y", []int{d.DstLen}, d.DType, InOut}}
}

// Take selects along one physical axis: y[o,j,i] = x[o,Index[j],i] with
// x (Outer,Axis,Inner); an index below zero gives 0. Args: x, y.
type Take struct {
	Outer, Axis, Inner int
	Index              []int
}

func (d Take) Args() []Arg {
	return []Arg{
		{"x", []int{d.Outer, d.Axis, d.Inner}, Float32, In},
		{"y", []int{d.Outer, len(d.Index), d.Inner}, Float32, Out},
	}
}

// TakeBackward adds each gradient where Take read: dx = scatter-add of dy.
// Args: dy, dx.
type TakeBackward struct {
	Outer, Axis, Inner int
	Index              []int
}

func (d TakeBackward) Args() []Arg {
	return []Arg{
		{"dy", []int{d.Outer, len(d.Index), d.Inner}, Float32, In},
		{"dx", []int{d.Outer, d.Axis, d.Inner}, Float32, Out},
	}
}

// Dropout zeroes elements with probability Ratio and scales the others by
// 1/(1-Ratio). The mask is a function of the seed, the step, the Stream and
// the element index (logical NCHW order of Shape), so the backward pass is the same kernel applied
// to dy. With Channel, whole (N,C) planes are dropped. rng holds the seed and
// the step. Args: x, rng (2 x uint64), y (may be x's buffer).
type Dropout struct {
	Shape   []int
	Ratio   float32
	Channel bool
	Stream  uint64
}

func (d Dropout) Args() []Arg {
	return []Arg{{"x", d.Shape, Float32, In}, {"rng", []int{2}, Uint64, In}, {"y", d.Shape, Float32, Out}}
}
