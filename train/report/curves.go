package report

import (
	"fmt"
	"html/template"

	"github.com/graft-onnx/graft/train/history"
)

// curves draws the charts of a history; those without values are left out.
func curves(h *history.History) ([]template.HTML, error) {
	if h == nil {
		return nil, nil
	}
	var out []template.HTML
	for _, c := range charts(h) {
		svg, err := Curve(c)
		if err != nil {
			return nil, err
		}
		if svg != "" {
			out = append(out, template.HTML(svg)) // made here, from numbers and fixed words
		}
	}
	return out, nil
}

func charts(h *history.History) []Chart {
	n := len(h.Records)
	x := make([]float64, n)
	for i, r := range h.Records {
		x[i] = float64(r.Iteration + 1)
	}
	of := func(field func(r *history.Record) float64) []float64 {
		y := make([]float64, n)
		for i := range h.Records {
			y[i] = field(&h.Records[i])
		}
		return y
	}
	var ex, iou, present, evalAcc []float64
	for _, e := range h.Evaluations {
		ex, iou = append(ex, float64(e.Iteration)), append(iou, 100*e.MeanIoU)
		present, evalAcc = append(present, 100*e.MeanIoUPresent), append(evalAcc, 100*e.Accuracy)
	}
	window := max(1, n/50)
	mean := fmt.Sprintf("mean of %d", window)
	// raw and smoothed values, smoothed alone, and nothing where all are zero.
	both := func(name string, y []float64) []Series {
		return []Series{{X: x, Y: y, Faint: true}, {Name: name, X: x, Y: Smooth(y, window)}}
	}
	smooth := func(name string, y []float64) []Series {
		if zero(y) {
			return nil
		}
		return []Series{{Name: name, X: x, Y: Smooth(y, window)}}
	}
	loss := both("all, "+mean, of(func(r *history.Record) float64 { return r.Loss }))
	if deep := smooth("deep supervision", of(func(r *history.Record) float64 { return r.LossDeepSup })); deep != nil {
		loss = append(loss, smooth("output", of(func(r *history.Record) float64 { return r.LossMain }))...)
		loss = append(loss, deep...)
	}
	accuracy := append(both("training, "+mean, of(func(r *history.Record) float64 { return 100 * r.Accuracy })), Series{Name: "validation", X: ex, Y: evalAcc, Points: true})
	return []Chart{
		{Title: "Training loss", XLabel: "iteration", YLabel: "loss", FromZero: true, Series: loss},
		{Title: "Pixel accuracy", XLabel: "iteration", YLabel: "%", Rising: true, Series: accuracy},
		{Title: "Validation mean IoU", XLabel: "iteration", YLabel: "%", FromZero: true, Rising: true, Series: []Series{
			{Name: "all classes", X: ex, Y: iou, Points: true}, {Name: "classes present", X: ex, Y: present, Points: true}}},
		{Title: "Learning rate", XLabel: "iteration", YLabel: "rate", FromZero: true, Series: []Series{
			{Name: "encoder", X: x, Y: of(func(r *history.Record) float64 { return r.LREncoder })},
			{Name: "decoder", X: x, Y: of(func(r *history.Record) float64 { return r.LRDecoder })}}},
		{Title: "Norm of the gradient before clipping", XLabel: "iteration", YLabel: "norm", FromZero: true,
			Series: smooth(mean, of(func(r *history.Record) float64 { return r.GradientNorm }))},
		{Title: "Time of an iteration", XLabel: "iteration", YLabel: "seconds", FromZero: true, Series: append(
			smooth("step, "+mean, of(func(r *history.Record) float64 { return r.StepSeconds })),
			smooth("waiting for pictures", of(func(r *history.Record) float64 { return r.DataSeconds }))...)},
	}
}

func zero(y []float64) bool {
	for _, v := range y {
		if v != 0 {
			return false
		}
	}
	return true
}
