package train

import (
	"fmt"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/models"
)

// outputSlack is how many elements the height and width of log-probabilities
// may differ from the picture's size over DATASET.segm_downsampling_rate.
// Backbones that do not pad, such as SqueezeNet, lose one or two at the border.
const outputSlack = 2

// setLabels gives every loss the labels of the batch, of shape (n,height,width).
// Maps of another size than these, from backbones that do not pad and in deep
// supervision at another stride, get the nearest labels, as evaluation
// stretches the same maps to the size of the picture.
func setLabels(plan *graph.Plan, loss *graph.Loss, labels []int32, n, height, width int) error {
	for _, o := range loss.Outputs {
		fitted := labels
		shape, ok := plan.InputShape(graph.LabelInput(o.Name))
		if ok && len(shape) == 3 && shape[0] == n && len(labels) == n*height*width {
			h, w := shape[1], shape[2]
			if o.Name == models.OutputName && max(distance(h, height), distance(w, width)) > outputSlack {
				return fmt.Errorf("the model puts out %dx%d elements where DATASET.segm_downsampling_rate makes %dx%d labels; set it to the model's stride", h, w, height, width)
			}
			fitted = nearestLabels(labels, n, height, width, h, w)
		}
		if err := plan.SetLabels(o.Name, fitted); err != nil {
			return fmt.Errorf("%w; DATASET.segm_downsampling_rate must be the model's stride", err)
		}
	}
	return nil
}

func distance(a, b int) int { return max(a-b, b-a) }

// nearestLabels resizes maps (n,height,width) to (n,h,w); the centre of each
// new element chooses. Maps of that size already are returned as they are.
func nearestLabels(labels []int32, n, height, width, h, w int) []int32 {
	if h == height && w == width {
		return labels
	}
	out := make([]int32, 0, n*h*w)
	for i := range n {
		for y := range h {
			row := labels[(i*height+(2*y+1)*height/(2*h))*width:]
			for x := range w {
				out = append(out, row[(2*x+1)*width/(2*w)])
			}
		}
	}
	return out
}
