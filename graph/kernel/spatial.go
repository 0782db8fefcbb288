package kernel

// PoolOp names a pooling.
type PoolOp uint8

// The poolings. AveragePool counts padded cells as zeros of the window when
// CountPad is set, as ONNX's count_include_pad does.
const (
	MaxPool PoolOp = iota
	AveragePool
)

// Pool slides a window: x (N,C,H,W) -> y (N,C,OH,OW). O, Groups of the
// geometry are unused; a window may hang over the bottom and right padding
// (ceil mode), where the overhang counts neither as cells nor as padding.
// The maximum takes the first of equals in row order, and a NaN before any
// number. A window without a single input cell has the maximum -Inf and the
// average 0. Args: x, y.
type Pool struct {
	Geometry
	Op       PoolOp
	CountPad bool
}

// Y returns the output shape, which has the input's channels.
func (d Pool) Y() []int { return []int{d.N, d.C, d.OH, d.OW} }

// FLOPs counts one sum or comparison for every cell of every window; the
// gradient costs the same.
func (d Pool) FLOPs() float64 {
	return float64(d.N*d.C*d.OH) * float64(d.OW*d.KH*d.KW)
}

func (d Pool) Args() []Arg {
	return []Arg{{"x", d.X(), Float32, In}, {"y", d.Y(), Float32, Out}}
}

// PoolBackward is the gradient of Pool. Args: x, dy, dx. AveragePool does not
// read x.
type PoolBackward struct{ Pool }

func (d PoolBackward) Args() []Arg {
	return []Arg{{"x", d.X(), Float32, In}, {"dy", d.Y(), Float32, In}, {"dx", d.X(), Float32, Out}}
}

// Taps is a sparse matrix (Out x In) in row-compressed form: output i is the
// sum of Weight[k]*input[Index[k]] for k in [Start[i], Start[i+1]).
type Taps struct {
	In     int
	Start  []int
	Index  []int
	Weight []float32
}

// Out returns the number of outputs.
func (t Taps) Out() int { return len(t.Start) - 1 }

// Transpose returns the taps of the gradient.
func (t Taps) Transpose() Taps {
	r := Taps{In: t.Out(), Start: make([]int, t.In+1), Index: make([]int, len(t.Index)), Weight: make([]float32, len(t.Index))}
	for _, i := range t.Index {
		r.Start[i+1]++
	}
	for i := range t.In {
		r.Start[i+1] += r.Start[i]
	}
	next := append([]int(nil), r.Start[:t.In]...)
	for o := range t.Out() {
		for k := t.Start[o]; k < t.Start[o+1]; k++ {
			i := t.Index[k]
			r.Index[next[i]], r.Weight[next[i]] = o, t.Weight[k]
			next[i]++
		}
	}
	return r
}

// Resample applies one sparse matrix along H and one along W:
// y[n,c,i,j] = sum over k,l of Rows[i,k]*Cols[j,l]*x[n,c,k,l].
// Nearest, linear and cubic Resize under every coordinate rule, adaptive
// average pooling, edge and reflect padding are all resamplings, and so are
// their gradients (with transposed taps). x and y may be some of the channels
// of wider tensors, as in a concatenation; the others of y keep their values.
// Args: x (N,C,Rows.In,Cols.In), y (N,C,Rows.Out,Cols.Out).
type Resample struct {
	N, C       int
	Rows, Cols Taps
	From, To   Channels // of x and y
}

func (d Resample) Args() []Arg {
	dir := Out
	if d.To.Of > 0 {
		dir = InOut
	}
	return []Arg{
		{"x", []int{d.N, d.From.Over(d.C).Of, d.Rows.In, d.Cols.In}, Float32, In},
		{"y", []int{d.N, d.To.Over(d.C).Of, d.Rows.Out(), d.Cols.Out()}, Float32, dir},
	}
}

// Channels says where in a tensor of Of channels those meant begin. The zero
// value is a tensor that has no others.
type Channels struct{ First, Of int }

// Over returns the channels of a tensor, n of which are meant.
func (c Channels) Over(n int) Channels {
	if c.Of == 0 {
		c.Of = n
	}
	return c
}
