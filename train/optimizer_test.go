package train

import (
	"math"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
)

// smallNetwork has a weight that decays and a bias of the decoder.
func smallNetwork(t *testing.T) *graph.Network {
	t.Helper()
	b := onnx.NewBuilder("small", 15)
	image := b.Input("image", pb.TensorProto_FLOAT, "N", 2, "H", "W")
	b.Node("Conv", []string{image, b.Initializer(onnx.NewFloats("weight", []int{2, 2, 1, 1}, []float32{0.5, -1, 2, 0.25})),
		b.Initializer(onnx.NewFloats("decoder.bias", []int{2}, []float32{0.1, -0.2}))}, []string{"y"})
	b.Output("y", pb.TensorProto_FLOAT, "N", 2, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	net, err := graph.NewNetwork(m, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// TestOptimizersAgainstPyTorch compares five steps with those of PyTorch 2.6, in
// float32, on gradients that are short binary fractions: weight at rate 0.1 and
// decay 0.05, bias at rate 0.2 without decay.
func TestOptimizersAgainstPyTorch(t *testing.T) {
	const tolerance = 3e-7 // of values of up to 2: two or three units in the last place
	for name, c := range map[string]struct {
		rule         Rule
		weight, bias []float64
	}{
		"SGD": {SGD{Momentum: 0.9, Decay: 0.05},
			[]float64{0.33074238896369934, -1.205291986465454, 1.58942449092865, 0.18969854712486267}, []float64{-0.0016999937361106277, -0.30190253257751465}},
		"Nesterov": {SGD{Momentum: 0.9, Decay: 0.05, Nesterov: true},
			[]float64{0.20989938080310822, -1.255612850189209, 1.5139164924621582, 0.13832254707813263}, []float64{0.008470005355775356, -0.2917122542858124}},
		"AdamW": {AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decay: 0.05},
			[]float64{0.5220822691917419, -1.2517107725143433, 1.7114895582199097, 0.29689109325408936}, []float64{-0.160623237490654, -0.5551113486289978}},
	} {
		t.Run(name, func(t *testing.T) {
			net := smallNetwork(t)
			o, err := NewOptimizer(net, c.rule)
			if err != nil {
				t.Fatal(err)
			}
			weight, bias := net.Parameter("weight"), net.Parameter("decoder.bias")
			for step := range 5 {
				for p, f := range map[*graph.Parameter]func(i int) float32{
					weight: func(i int) float32 { return float32((i+1)*(step+2)%7-3) / 4 },
					bias:   func(i int) float32 { return float32((i+2)*(step+1)%5-2) / 8 },
				} {
					grad := make([]float32, p.Len())
					for i := range grad {
						grad[i] = f(i)
					}
					if p.Grad == nil {
						if p.Grad, err = net.Device().Alloc(4 * p.Len()); err != nil {
							t.Fatal(err)
						}
					}
					if err := net.Device().Upload(p.Grad, kernel.Bytes(grad)); err != nil {
						t.Fatal(err)
					}
				}
				if err := o.Step(step, 0.1, 0.2); err != nil {
					t.Fatal(err)
				}
			}
			for p, want := range map[*graph.Parameter][]float64{weight: c.weight, bias: c.bias} {
				got, err := net.Value(p)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range got {
					if math.Abs(float64(v)-want[i]) > tolerance {
						t.Errorf("%s: element %d is %v, want %v", p.Name, i, v, want[i])
					}
				}
			}
		})
	}
}

func TestOptimizerStateOfAnother(t *testing.T) {
	net := smallNetwork(t)
	sgd, err := NewOptimizer(net, SGD{})
	if err != nil {
		t.Fatal(err)
	}
	adam, err := NewOptimizer(net, AdamW{})
	if err != nil {
		t.Fatal(err)
	}
	if err := adam.SetState(OptimizerState{Name: sgd.Name()}); err == nil || !strings.Contains(err.Error(), "TRAIN.optim SGD") || !strings.Contains(err.Error(), "AdamW") {
		t.Errorf("SGD's state for AdamW: %v", err)
	}
	if err := adam.SetState(OptimizerState{Name: "AdamW"}); err == nil || !strings.Contains(err.Error(), `"exp_avg" for parameter "weight"`) {
		t.Errorf("no state: %v", err)
	}
}

func TestConfiguredRule(t *testing.T) {
	for text, want := range map[string]Rule{
		"TRAIN.optim sgd TRAIN.nesterov True TRAIN.beta1 0.8":        SGD{Momentum: 0.8, Decay: 1e-4, Nesterov: true},
		"TRAIN.optim AdamW TRAIN.weight_decay 0.01 TRAIN.beta2 0.99": AdamW{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Decay: 0.01},
	} {
		cfg, err := config.Parse(nil, "", strings.Fields(text)...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := configuredRule(&cfg.Train); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"TRAIN.optim Adam", "TRAIN.optim AdamW TRAIN.nesterov True", "TRAIN.beta1 0 TRAIN.nesterov True", "TRAIN.beta2 1", "TRAIN.eps 0"} {
		if _, err := config.Parse(nil, "", strings.Fields(text)...); err == nil {
			t.Errorf("%s passes", text)
		}
	}
}
