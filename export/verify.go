package export

import (
	"fmt"
	"image"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

// Evaluator computes the outputs of a training graph in evaluation mode.
type Evaluator interface {
	// Evaluate takes a batch of normalised pictures, float32 of shape (N,3,H,W)
	// in row-major order, and returns every output and its shape by name.
	Evaluate(image []float32, shape []int) (map[string][]float32, map[string][]int, error)
}

// VerifyOptions says how a deployed file is compared. The zero value is the
// usual comparison.
type VerifyOptions struct {
	Runtime  string        // path of ONNX Runtime; empty as in ort.Open
	Threads  int           // of ONNX Runtime; 0 leaves it the choice
	Sizes    [][2]int      // heights and widths; nil means 96x96, 97x131, 120x64
	Batches  []int         // pictures at once; nil means 1 and 2
	Pictures []image.Image // taken in turn and scaled to size; nil means generated ones
	Seed     uint64        // of the generated pictures
	// Device runs the file on graft's own kernels instead of ONNX Runtime, for
	// machines that have none: it checks the graph, not another program's
	// reading of it. Files that take uint8 pictures need ONNX Runtime.
	Device kernel.Device
	// Tolerance is the largest difference of a probability that passes; 0
	// means 1e-4.
	Tolerance float64
	// Agreement is the share of pixels whose label must be the same; 0 means
	// 0.9999. Ties count as agreement.
	Agreement float64
	// Tie is how much less likely than the likeliest class, by the reference,
	// a class may be and still pass for it; 0 means the tolerance.
	Tie float64
}

func (o VerifyOptions) withDefaults() VerifyOptions {
	if o.Sizes == nil {
		o.Sizes = [][2]int{{96, 96}, {97, 131}, {120, 64}}
	}
	if o.Batches == nil {
		o.Batches = []int{1, 2}
	}
	if o.Tolerance == 0 {
		o.Tolerance = 1e-4
	}
	if o.Agreement == 0 {
		o.Agreement = 0.9999
	}
	if o.Tie == 0 {
		o.Tie = o.Tolerance
	}
	return o
}

// Verify runs a file that Inference made in ONNX Runtime, or on opts.Device,
// and compares it with reference, which evaluates the training graph it came from: the reference's
// output is upsampled and put through softmax here, pixel by pixel in float64,
// and the file's output is turned into probabilities too, whatever its head.
// The argmax head is compared by its labels alone.
//
// The error says that the comparison could not be made; that it did not pass
// is in Report.Err.
func Verify(path string, reference Evaluator, opts VerifyOptions) (*Report, error) {
	opts = opts.withDefaults()
	m, err := onnx.Load(path)
	if err != nil {
		return nil, err
	}
	deploy, ok, err := ReadDeployment(m)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, &onnx.Error{File: path, Msg: "was not exported by graft: metadata " + DeployKey + " is missing",
			Remedy: "export the training file first, then verify what that wrote", Err: onnx.ErrUnsupported}
	}
	mean, std, err := onnx.Normalisation(m)
	if err != nil {
		return nil, err
	}
	s, engine, err := openSession(m, opts)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	v := &verifier{path: path, deploy: deploy, mean: mean, std: std, session: s, reference: reference, opts: opts}
	report := &Report{File: path, Runtime: engine, Deployment: deploy,
		Tolerance: opts.Tolerance, Agreement: opts.Agreement, Tie: opts.Tie}
	for _, c := range v.cases() {
		result, err := v.run(c)
		if err != nil {
			return nil, fmt.Errorf("verify %s with %d pictures of %dx%d: %w", path, c.Batch, c.Height, c.Width, err)
		}
		report.Cases = append(report.Cases, result)
	}
	report.conclude()
	return report, nil
}

// verifier holds what the cases of one Verify share.
type verifier struct {
	path      string
	deploy    Deployment
	mean, std []float32
	session   session
	reference Evaluator
	opts      VerifyOptions
	shown     int // pictures used so far
}

// cases returns every batch at every size, or what the file fixes of them.
func (v *verifier) cases() []Case {
	batches, sizes := v.opts.Batches, v.opts.Sizes
	if in := v.session.Inputs()[0].Shape; len(in) == 4 {
		h, w := in[2], in[3]
		if v.deploy.Layout == PixelsNHWC {
			h, w = in[1], in[2]
		}
		if in[0] > 0 {
			batches = []int{in[0]}
		}
		if h > 0 && w > 0 {
			sizes = [][2]int{{h, w}}
		}
	}
	var out []Case
	for _, size := range sizes {
		for _, batch := range batches {
			out = append(out, Case{Batch: batch, Height: size[0], Width: size[1]})
		}
	}
	return out
}

// run compares one batch.
func (v *verifier) run(c Case) (Case, error) {
	if c.Batch < 1 || c.Height < 1 || c.Width < 1 {
		return c, fmt.Errorf("a batch and a size of 1 or more are needed")
	}
	p := v.pictures(c.Batch, c.Height, c.Width)
	values, shapes, err := v.reference.Evaluate(p.floats, []int{c.Batch, 3, c.Height, c.Width})
	if err != nil {
		return c, fmt.Errorf("reference: %w", err)
	}
	scores, shape := values[v.deploy.Source], shapes[v.deploy.Source]
	if len(shape) != 4 || shape[0] != c.Batch || shape[1] < 1 || shape[2] < 1 || shape[3] < 1 || len(scores) != shape[0]*shape[1]*shape[2]*shape[3] {
		return c, fmt.Errorf("reference: output %q has shape %v and %d values; (%d,C,h,w) is needed", v.deploy.Source, shape, len(scores), c.Batch)
	}
	in, out := v.session.Inputs()[0].Name, v.session.Outputs()[0].Name
	got, err := v.session.Run(map[string]ort.Tensor{in: p.tensor(v.deploy.Layout)}, out)
	if err != nil {
		return c, err
	}
	height, width := shape[2], shape[3]
	if v.deploy.Upsample {
		height, width = c.Height, c.Width
	}
	want := sampler{data: scores, n: shape[0], classes: shape[1], h: shape[2], w: shape[3], height: height, width: width}
	result := comparison{Case: c, head: v.deploy.Head, tie: v.opts.Tie}
	if err := result.compare(want, got[out]); err != nil {
		return c, fmt.Errorf("output %q: %w", out, err)
	}
	return result.Case, nil
}
