package kernel

// A batch normalisation is split into its parts, so that each is one plain
// tensor in, one plain tensor out, and a synchronised version can reduce the
// statistics between devices. Statistics are a (3,C) tensor: mean, biased
// variance, 1/sqrt(variance+eps). x has the logical shape (N,C,H,W); H and W
// are 1 for rank 2.

// BatchNormStats computes the statistics of a batch. Args: x, stats.
type BatchNormStats struct {
	N, C, H, W int
	Eps        float32
}

func (d BatchNormStats) Args() []Arg {
	return []Arg{{"x", []int{d.N, d.C, d.H, d.W}, Float32, In}, {"stats", []int{3, d.C}, Float32, Out}}
}

// BatchNormFrozen makes statistics of stored ones. Args: mean, variance, stats.
type BatchNormFrozen struct {
	C   int
	Eps float32
}

func (d BatchNormFrozen) Args() []Arg {
	return []Arg{{"mean", []int{d.C}, Float32, In}, {"variance", []int{d.C}, Float32, In}, {"stats", []int{3, d.C}, Float32, Out}}
}

// BatchNorm computes y = scale*(x-mean)*invstd + bias, adds the residual if
// asked, and then applies Act.
// Args: x, scale, bias, stats, [residual], y (may be x's or residual's buffer).
type BatchNorm struct {
	N, C, H, W int
	Residual   bool
	Act        Clip
}

func (d BatchNorm) Args() []Arg {
	s, c := []int{d.N, d.C, d.H, d.W}, []int{d.C}
	a := []Arg{{"x", s, Float32, In}, {"scale", c, Float32, In}, {"bias", c, Float32, In}, {"stats", []int{3, d.C}, Float32, In}}
	if d.Residual {
		a = append(a, Arg{"residual", s, Float32, In})
	}
	return append(a, Arg{"y", s, Float32, Out})
}

// BatchNormReduce computes the parameter gradients, (2,C): the sum of
// dy*(x-mean)*invstd (scale's) and the sum of dy (bias's). With Act, dy is the
// gradient behind that activation, and counts where the normalised value lies
// between its bounds; the value is computed again, as BatchNorm does.
//
// With Residual, Act is behind the sum of the normalised value and another, and
// y is what it made of the sum. What it lets through of dy, where y lies between
// its bounds, is the gradient dsum of both: of the normalised value, whose sums
// grads are, and of the other.
//
// Args: x, dy, [scale, bias with Act], stats, grads, or with Residual
// x, dy, y, stats, grads, dsum (may be dy's buffer).
type BatchNormReduce struct {
	N, C, H, W int
	Residual   bool
	Act        Clip
}

func (d BatchNormReduce) Args() []Arg {
	s, c := []int{d.N, d.C, d.H, d.W}, []int{d.C}
	a := []Arg{{"x", s, Float32, In}, {"dy", s, Float32, In}}
	stats, grads := Arg{"stats", []int{3, d.C}, Float32, In}, Arg{"grads", []int{2, d.C}, Float32, Out}
	switch {
	case d.Residual:
		return append(a, Arg{"y", s, Float32, In}, stats, grads, Arg{"dsum", s, Float32, Out})
	case d.Act.On:
		a = append(a, Arg{"scale", c, Float32, In}, Arg{"bias", c, Float32, In})
	}
	return append(a, stats, grads)
}

// BatchNormBackward is the gradient by x. With Frozen the statistics were
// constants: dx = dy*scale*invstd. Otherwise they came from the batch of
// Count elements a channel (N*H*W on one device):
// dx = scale*invstd*(dy - grads[1]/Count - xhat*grads[0]/Count).
// Act is that of BatchNormReduce.
// Args: x, dy, scale, [bias with Act], stats, grads, dx (may be dy's buffer).
type BatchNormBackward struct {
	N, C, H, W int
	Count      int
	Frozen     bool
	Act        Clip
}

func (d BatchNormBackward) Args() []Arg {
	s, c := []int{d.N, d.C, d.H, d.W}, []int{d.C}
	a := []Arg{{"x", s, Float32, In}, {"dy", s, Float32, In}, {"scale", c, Float32, In}}
	if d.Act.On {
		a = append(a, Arg{"bias", c, Float32, In})
	}
	return append(a, Arg{"stats", []int{3, d.C}, Float32, In}, Arg{"grads", []int{2, d.C}, Float32, In}, Arg{"dx", s, Float32, Out})
}

// BatchNormRunning updates running statistics: running = Momentum*running +
// (1-Momentum)*batch (ONNX's momentum), with the unbiased variance
// (biased*Count/(Count-1)). Args: stats, mean, variance.
type BatchNormRunning struct {
	C        int
	Momentum float32
	Count    int
}

func (d BatchNormRunning) Args() []Arg {
	c := []int{d.C}
	return []Arg{{"stats", []int{3, d.C}, Float32, In}, {"mean", c, Float32, InOut}, {"variance", c, Float32, InOut}}
}
