package train

import (
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
}

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
	if in := shapes[models.InputName]; len(in.Dims) == 4 && in.Dims[1].Size > 0 && in.Dims[1].Size != 3 {
		return 0, fmt.Errorf("%s: its input has %d channels; pictures are RGB, so a backbone of 3 channels is needed", modelName(m), in.Dims[1].Size)
	}
	return int(out.Dims[1].Size), nil
}

// Probabilities returns the class probabilities (Classes,H,W) at the size of
// the picture, averaged over the item's inputs.
func (p *Predictor) Probabilities(item *data.EvalItem) ([]float32, error) {
	h, w := item.Picture.Height, item.Picture.Width
	sum := make([]float32, p.Classes*h*w)
	var one []float32
	for i, in := range item.Inputs {
		plan, err := p.net.Plan(graph.Spec{
			Inputs:        map[string][]int{models.InputName: {1, 3, in.H, in.W}},
			Probabilities: &graph.Probabilities{Output: models.OutputName, Height: h, Width: w},
		})
		if err != nil {
			return nil, err
		}
		if err := plan.SetInput(models.InputName, in.Image); err != nil {
			return nil, err
		}
		if err := plan.RunAll(); err != nil {
			return nil, err
		}
		if i == 0 {
			if err := plan.OutputInto(graph.OutputProbabilities, sum); err != nil {
				return nil, err
			}
			continue
		}
		if one == nil {
			one = make([]float32, len(sum))
		}
		if err := plan.OutputInto(graph.OutputProbabilities, one); err != nil {
			return nil, err
		}
		for i, v := range one {
			sum[i] += v
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
			return nil, fmt.Errorf("%s: the model's probabilities are not numbers; a weight is NaN or infinite", item.Record.Name)
		}
	}
	return sum, nil
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
