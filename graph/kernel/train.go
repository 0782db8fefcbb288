package kernel

// Softmax works along the middle physical axis of (Outer,Axis,Inner); the
// channels of a rank-4 tensor are (N*H*W, C, 1). Log gives log-probabilities.
// Args: x, y (may be x's buffer).
type Softmax struct {
	Outer, Axis, Inner int
	Log                bool
}

func (d Softmax) Args() []Arg {
	s := []int{d.Outer, d.Axis, d.Inner}
	return []Arg{{"x", s, Float32, In}, {"y", s, Float32, Out}}
}

// SoftmaxBackward is the gradient of Softmax by x. Args: y, dy, dx (may be
// dy's buffer).
type SoftmaxBackward struct{ Softmax }

func (d SoftmaxBackward) Args() []Arg {
	s := []int{d.Outer, d.Axis, d.Inner}
	return []Arg{{"y", s, Float32, In}, {"dy", s, Float32, In}, {"dx", s, Float32, Out}}
}

// NLL is the mean negative log-likelihood over the pixels whose label is not
// Ignore, with the pixel accuracy on the side (the first of equal maxima
// wins). logprob is (N,C,H,W), label (N,H,W) int32. out is (3): the loss,
// the number of correct pixels, the number of labelled pixels; without any
// labelled pixel the loss is 0. Sums run in float64.
// Args: logprob, label, out.
type NLL struct {
	N, C, H, W int
	Ignore     int32
}

func (d NLL) Args() []Arg {
	return []Arg{{"logprob", []int{d.N, d.C, d.H, d.W}, Float32, In}, {"label", []int{d.N, d.H, d.W}, Int32, In}, {"out", []int{3}, Float32, Out}}
}

// NLLBackward is the gradient of NLL by logprob: -dloss/labelled at the
// label's channel, 0 elsewhere. Args: label, out, dout (3; only dout[0]
// counts), dlogprob.
type NLLBackward struct{ NLL }

func (d NLLBackward) Args() []Arg {
	return []Arg{{"label", []int{d.N, d.H, d.W}, Int32, In}, {"out", []int{3}, Float32, In}, {"dout", []int{3}, Float32, In},
		{"dlogprob", []int{d.N, d.C, d.H, d.W}, Float32, Out}}
}

// LogSoftmaxNLLBackward is NLLBackward and then SoftmaxBackward: the gradient of
// NLL by scores whose log-softmax over the channels is y. At labelled pixels it is
// (exp(y) - [the channel is the label's])*dout[0]/out[2], NaN where y is; elsewhere
// 0. Args: y (N,C,H,W), label, out, dout (3; only dout[0] counts), dx.
type LogSoftmaxNLLBackward struct{ NLL }

func (d LogSoftmaxNLLBackward) Args() []Arg {
	a := NLLBackward{d.NLL}.Args()
	y, dx := a[3], a[3]
	y.Name, y.Dir, dx.Name = "y", In, "dx"
	return []Arg{y, a[0], a[1], a[2], dx}
}
