package train

import (
	"errors"
	"fmt"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/data"
)

// Predictor turns pictures into class probabilities, with stored statistics
// and without dropout.
type Predictor struct {
	net     *graph.Network
	Classes int
	// Flip averages every result with that of the mirrored input.
	Flip bool
	// Window, unless zero, has larger inputs evaluated by parts.
	Window Window

	mirrored, one []float32 // scratch of add
}

// errNotNumbers tells of a weight that is NaN or infinite.
var errNotNumbers = errors.New("the model's probabilities are not numbers; a weight is NaN or infinite")

// NewPredictor uploads a trained model or checkpoint, whose output is
// log-probabilities named logprob.
func NewPredictor(m *onnx.Model, dev kernel.Device) (*Predictor, error) {
	net, err := graph.NewNetwork(m, dev)
	if err != nil {
		return nil, err
	}
	classes, err := classCount(m)
	if err != nil {
		return nil, err
	}
	return &Predictor{net: net, Classes: classes}, nil
}

// classCount returns the channels of a model's log-probabilities, and refuses
// models of other than three input channels, which is what pictures have.
func classCount(m *onnx.Model) (int, error) {
	shapes, err := onnx.Infer(m)
	if err != nil {
		return 0, err
	}
	out, ok := shapes[models.OutputName]
	if !ok || len(out.Dims) != 4 || out.Dims[1].Size < 1 {
		return 0, fmt.Errorf("%s: no output %q of log-probabilities (N,classes,H,W); `graft new` makes such a model of a backbone and a decoder, and training writes it as a checkpoint", modelName(m), models.OutputName)
	}
	return int(out.Dims[1].Size), takesPictures(m, shapes)
}

// takesPictures refuses models whose input has not the channels of a picture.
func takesPictures(m *onnx.Model, shapes map[string]onnx.Info) error {
	if in := shapes[models.InputName]; len(in.Dims) == 4 && in.Dims[1].Size > 0 && in.Dims[1].Size != 3 {
		return fmt.Errorf("%s: its input has %d channels; pictures are RGB, so a backbone of 3 channels is needed", modelName(m), in.Dims[1].Size)
	}
	return nil
}

// Probabilities returns the class probabilities (Classes,H,W) at the size of
// the picture, averaged over the item's inputs.
func (p *Predictor) Probabilities(item *data.EvalItem) ([]float32, error) {
	h, w := item.Picture.Height, item.Picture.Width
	sum := make([]float32, p.Classes*h*w)
	for i, in := range item.Inputs {
		if err := p.add(sum, i == 0, in.Image, in.H, in.W, h, w); err != nil {
			return nil, err
		}
	}
	if n := float32(len(item.Inputs)); n > 1 {
		for i := range sum {
			sum[i] /= n
		}
	}
	// A weight that is not finite makes every class of a pixel NaN, and the
	// first class would win.
	for _, v := range sum[:h*w] {
		if v != v {
			return nil, errNotNumbers
		}
	}
	return sum, nil
}

// add adds the class probabilities (Classes,h,w) of one input (3,H,W) to sum,
// or puts them there when they are the first. With Flip they are the mean of
// the input's and the mirrored one's.
func (p *Predictor) add(sum []float32, first bool, image []float32, H, W, h, w int) error {
	plan, err := p.net.Plan(graph.Spec{
		Inputs:        map[string][]int{models.InputName: {1, 3, H, W}},
		Probabilities: &graph.Probabilities{Output: models.OutputName, Height: h, Width: w},
	})
	if err != nil {
		return err
	}
	run := func(image, into []float32) error {
		if err := plan.SetInput(models.InputName, image); err != nil {
			return err
		}
		if err := plan.RunAll(); err != nil {
			return err
		}
		return plan.OutputInto(graph.OutputProbabilities, into)
	}
	if first && !p.Flip {
		return run(image, sum)
	}
	p.one = grown(p.one, len(sum))
	if err := run(image, p.one); err != nil {
		return err
	}
	share := float32(1)
	if p.Flip {
		share = 0.5
	}
	if first {
		clear(sum)
	}
	for i, v := range p.one {
		sum[i] += share * v
	}
	if !p.Flip {
		return nil
	}
	p.mirrored = grown(p.mirrored, len(image))
	mirror(p.mirrored, image, W)
	if err := run(p.mirrored, p.one); err != nil {
		return err
	}
	for at := 0; at < len(sum); at += w {
		for i := range w {
			sum[at+i] += share * p.one[at+w-1-i]
		}
	}
	return nil
}

// mirror reverses rows of w elements.
func mirror(dst, src []float32, w int) {
	for at := 0; at < len(src); at += w {
		for i, v := range src[at : at+w] {
			dst[at+w-1-i] = v
		}
	}
}

func grown(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// Classify returns the most probable class of every pixel (H,W); the first of
// equals wins.
func Classify(probabilities []float32, classes int) []int32 {
	n := len(probabilities) / classes
	best := append([]float32(nil), probabilities[:n]...)
	result := make([]int32, n)
	for c := 1; c < classes; c++ {
		for i, v := range probabilities[c*n : (c+1)*n] {
			if v > best[i] {
				best[i], result[i] = v, int32(c)
			}
		}
	}
	return result
}
