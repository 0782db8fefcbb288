package kernel

// Geometry is the shape of a two-dimensional convolution:
// x (N,C,H,W) * w (O,C/Groups,KH,KW) -> y (N,O,OH,OW).
type Geometry struct {
	N, C, H, W                           int
	O, OH, OW                            int
	KH, KW                               int
	StrideH, StrideW                     int
	DilationH, DilationW                 int // 1 for a dense filter
	PadTop, PadLeft, PadBottom, PadRight int
	Groups                               int
}

// X returns the input shape.
func (g Geometry) X() []int { return []int{g.N, g.C, g.H, g.W} }

// Filter returns the weight shape.
func (g Geometry) Filter() []int { return []int{g.O, g.C / g.Groups, g.KH, g.KW} }

// Y returns the output shape.
func (g Geometry) Y() []int { return []int{g.N, g.O, g.OH, g.OW} }

// FLOPs counts one pass: forward, backward by data and backward by filter
// cost the same.
func (g Geometry) FLOPs() float64 {
	return 2 * float64(g.N*g.OH*g.OW) * float64(g.O*g.KH*g.KW) * float64(g.C/g.Groups)
}

// Depthwise reports whether every channel has its own single filter.
func (g Geometry) Depthwise() bool { return g.Groups == g.C && g.O == g.C && g.Groups > 1 }

// Conv is a convolution, with bias and a clipping activation fused if asked. With
// Packed, w is what PackFilter makes of the filter, Packed numbers.
// Args: x, w, [bias (O)], y.
type Conv struct {
	Geometry
	Bias   bool
	Act    Clip
	Packed int
}

// Clip is the fused activation of a kernel: y = min(max(y, Lo), Hi).
// The zero value does nothing; ReLU is {On: true, Hi: +Inf}.
type Clip struct {
	On     bool
	Lo, Hi float32
}

func (d Conv) Args() []Arg {
	w := d.Filter()
	if d.Packed > 0 {
		w = []int{d.Packed}
	}
	a := []Arg{{"x", d.X(), Float32, In}, {"w", w, Float32, In}}
	if d.Bias {
		a = append(a, Arg{"bias", []int{d.O}, Float32, In})
	}
	return append(a, Arg{"y", d.Y(), Float32, Out})
}

// PackFilter puts a filter (O, C/Groups, KH, KW) into the order in which the
// kernel of a convolution reads it: a device's own, the same for all sizes of
// picture. It is for filters that serve many runs. Args: w, packed (Packed).
type PackFilter struct {
	O, C, KH, KW, Groups int
	Packed               int // what PackedFilter says
}

func (d PackFilter) Args() []Arg {
	return []Arg{{"w", []int{d.O, d.C / d.Groups, d.KH, d.KW}, Float32, In}, {"packed", []int{d.Packed}, Float32, Out}}
}

// Pack returns the two computations that do what d does with a filter packed to so
// many numbers.
func (d Conv) Pack(packed int) (PackFilter, Conv) {
	d.Packed = packed
	return PackFilter{O: d.O, C: d.C, KH: d.KH, KW: d.KW, Groups: d.Groups, Packed: packed}, d
}

// PackedFilter returns how many numbers a packed filter has, 0 if the device has
// no use for one. It asks the device's own method of this name, if there is one.
func PackedFilter(dev Device, c Conv) int {
	if d, ok := dev.(interface{ PackedFilter(c Conv) int }); ok {
		return d.PackedFilter(c)
	}
	return 0
}

// ConvBackwardData is the gradient of Conv by x. Args: dy, w, dx.
type ConvBackwardData struct{ Geometry }

func (d ConvBackwardData) Args() []Arg {
	return []Arg{{"dy", d.Y(), Float32, In}, {"w", d.Filter(), Float32, In}, {"dx", d.X(), Float32, Out}}
}

// ConvBackwardFilter is the gradient of Conv by w. Args: x, dy, dw.
type ConvBackwardFilter struct{ Geometry }

func (d ConvBackwardFilter) Args() []Arg {
	return []Arg{{"x", d.X(), Float32, In}, {"dy", d.Y(), Float32, In}, {"dw", d.Filter(), Float32, Out}}
}

// MatMul multiplies matrices in batches: y (Batch,M,N) = a (Batch,M,K) *
// b (Batch,K,N). TransA stores a as (Batch,K,M), TransB stores b as
// (Batch,N,K). SharedA and SharedB use one matrix for the whole batch.
// All are row-major whatever their rank. Args: a, b, y.
type MatMul struct {
	Batch, M, N, K   int
	TransA, TransB   bool
	SharedA, SharedB bool
}

func (d MatMul) Args() []Arg {
	na, nb := d.Batch, d.Batch
	if d.SharedA {
		na = 1
	}
	if d.SharedB {
		nb = 1
	}
	return []Arg{
		{"a", []int{na, d.M * d.K}, Float32, In},
		{"b", []int{nb, d.K * d.N}, Float32, In},
		{"y", []int{d.Batch, d.M * d.N}, Float32, Out},
	}
}

// FLOPs counts the products and sums.
func (d MatMul) FLOPs() float64 {
	return 2 * float64(d.Batch) * float64(d.M) * float64(d.N) * float64(d.K)
}
