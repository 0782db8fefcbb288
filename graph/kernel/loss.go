package kernel

// Pixels is what a pixel-wise loss works on: log-probabilities (N,C,H,W), and
// labels (N,H,W), int32, of which those that are Ignore take no part. Below, p
// are the probabilities, y the labels, V the labelled pixels.
type Pixels struct {
	N, C, H, W int
	Ignore     int32
}

// Labels returns how many labels there are.
func (p Pixels) Labels() int { return p.N * p.H * p.W }

// Args: logprob, label, out.
func (p Pixels) Args() []Arg {
	return []Arg{{"logprob", []int{p.N, p.C, p.H, p.W}, Float32, In}, {"label", []int{p.N, p.H, p.W}, Int32, In}, {"out", []int{3}, Float32, Out}}
}

// Size returns p itself.
func (p Pixels) Size() Pixels { return p }

// Loss is a loss of log-probabilities against labels. out is as NLL's: the
// loss, the correct pixels, the labelled pixels. Without any labelled pixel the
// loss is 0. NaN at a labelled pixel makes it NaN. Sums run in float64.
type Loss interface {
	Desc
	// On returns the loss of maps of that size.
	On(Pixels) Loss
	// Size returns the size of its maps.
	Size() Pixels
}

// LossBackward is the gradient of a Loss by logprob. Args: logprob, label, dout
// (3; only dout[0] counts), dlogprob.
type LossBackward struct{ Loss Loss }

func (d LossBackward) Args() []Arg {
	a := d.Loss.Size().Args()
	return []Arg{a[0], a[1], {"dout", []int{3}, Float32, In}, {"dlogprob", a[0].Shape, Float32, Out}}
}

// CrossEntropy is PyTorch's, with the weights w of the classes (all 1 if there
// are none) and label smoothing s:
//
//	sum over V of -[(1-s) w(y) log p(y) + s/C sum over c of w(c) log p(c)] / sum over V of w(y)
type CrossEntropy struct {
	Pixels
	Weights   []float32 // C of them, or none
	Smoothing float32
}

func (d CrossEntropy) On(p Pixels) Loss { d.Pixels = p; return d }

// OHEM is the mean of -log p(y) over the hard pixels: those of V where p(y) is
// below Threshold, and if they are fewer than MinKept, the MinKept pixels of
// least p(y), or all; of equals the first in memory. NaN is hard.
type OHEM struct {
	Pixels
	Threshold float32 // a probability
	MinKept   int     // pixels of the batch
}

func (d OHEM) On(p Pixels) Loss { d.Pixels = p; return d }

// Dice is the mean of 1 - (2 I + s) / (P + T + s) over the classes that occur in
// V: I sums p of the class over its pixels, P over V, T counts its pixels.
type Dice struct {
	Pixels
	Smooth float32 // s
}

func (d Dice) On(p Pixels) Loss { d.Pixels = p; return d }

// Focal is the mean of -alpha(y) (1-p(y))^gamma log p(y) over V (Lin et al.,
// 2017); alpha is 1 if there is none.
type Focal struct {
	Pixels
	Gamma float32
	Alpha []float32 // C of them, or none
}

func (d Focal) On(p Pixels) Loss { d.Pixels = p; return d }

// Lovasz is the Lovasz-Softmax loss over all of V at once (Berman et al.,
// 2018): the mean, over the classes that occur in V, of the Lovasz extension of
// 1 - IoU at the errors |[y is the class] - p|.
type Lovasz struct{ Pixels }

func (d Lovasz) On(p Pixels) Loss { d.Pixels = p; return d }
