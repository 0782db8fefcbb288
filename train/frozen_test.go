package train

import (
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// firstBatch returns the model and the first batch of a configuration.
func firstBatch(t *testing.T, cfg *config.Config) (*onnx.Model, *data.Batch) {
	t.Helper()
	set, err := data.Open(cfg, data.Train)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := data.NewTrainLoader(set, data.OptionsFrom(cfg))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := loader.Batch(0)
	if err != nil {
		t.Fatal(err)
	}
	model, err := InitialModel(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return model, batch
}

func valuesOf(t *testing.T, net *graph.Network) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, p := range net.Parameters() {
		v, err := net.Value(p)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Name] = v
	}
	return out
}

func TestFrozenParametersStay(t *testing.T) {
	dir := t.TempDir()
	for name, frozen := range map[string]struct{ key, prefix string }{
		"encoder": {"encoder", models.EncoderPrefix}, "decoder": {"decoder", models.DecoderPrefix}, "prefix": {"(encoder.features.0.,)", "encoder.features.0."},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := smallRun(t, dir)
			if err := cfg.Set("MODEL.frozen", frozen.key); err != nil {
				t.Fatal(err)
			}
			model, batch := firstBatch(t, cfg)
			trainer, err := NewTrainer(cfg, model, nativeDevice(t))
			if err != nil {
				t.Fatal(err)
			}
			before := valuesOf(t, trainer.Net)
			if _, err := trainer.Step(batch.Images, []int{batch.N, 3, batch.H, batch.W}, batch.Labels); err != nil {
				t.Fatal(err)
			}
			after := valuesOf(t, trainer.Net)
			kept, moved := 0, 0
			for _, p := range trainer.Net.Parameters() {
				same := slices.Equal(before[p.Name], after[p.Name])
				if strings.HasPrefix(p.Name, frozen.prefix) {
					kept++
					if !same || p.Grad != nil {
						t.Errorf("%s: kept %v, gradient %v", p.Name, same, p.Grad != nil)
					}
				} else if !same {
					moved++
				}
			}
			if kept == 0 || moved == 0 {
				t.Errorf("%d parameters frozen, %d moved", kept, moved)
			}
		})
	}
}

// TestFrozenEncoderSparesItsBackwardPass compares the plan with that of the
// whole network under fixed statistics: equal gradients of the decoder, and less
// memory, since no activation of the encoder waits for its gradient.
func TestFrozenEncoderSparesItsBackwardPass(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, batch := firstBatch(t, cfg)
	shape := []int{batch.N, 3, batch.H, batch.W}
	run := func(frozen bool) (*graph.Network, *graph.Plan) {
		net, err := graph.NewNetwork(model, nativeDevice(t))
		if err != nil {
			t.Fatal(err)
		}
		if frozen {
			if err := net.Freeze(models.EncoderPrefix); err != nil {
				t.Fatal(err)
			}
		}
		loss := &graph.Loss{Ignore: -1, Outputs: []graph.LossOutput{{Name: models.OutputName, Weight: 1}}}
		plan, err := net.Plan(graph.Spec{Inputs: map[string][]int{models.InputName: shape}, Mode: graph.Train, FixBN: true, Loss: loss})
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.SetInput(models.InputName, batch.Images); err != nil {
			t.Fatal(err)
		}
		if err := plan.SetLabels(models.OutputName, batch.Labels); err != nil {
			t.Fatal(err)
		}
		if err := plan.RunAll(); err != nil {
			t.Fatal(err)
		}
		return net, plan
	}
	whole, wholePlan := run(false)
	part, partPlan := run(true)
	compared := 0
	for _, p := range part.Parameters() {
		if p.Grad == nil {
			continue
		}
		got, err := part.Gradient(p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := whole.Gradient(whole.Parameter(p.Name))
		if err != nil {
			t.Fatal(err)
		}
		if compared++; !strings.HasPrefix(p.Name, models.DecoderPrefix) || !slices.Equal(got, want) {
			t.Errorf("%s: the gradient differs", p.Name)
		}
	}
	if compared == 0 || partPlan.ArenaSize() >= wholePlan.ArenaSize()/2 {
		t.Errorf("%d gradients; %d bytes of memory, %d without freezing", compared, partPlan.ArenaSize(), wholePlan.ArenaSize())
	}
}

func TestFrozenNamesRefused(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, _ := firstBatch(t, cfg)
	for names, want := range map[string]string{
		"(encoder, backbone)": `no parameter's name begins with "backbone"; they begin with ["decoder" "encoder"]`,
		"(encoder, decoder)":  "leaves no parameter to train",
	} {
		if err := cfg.Set("MODEL.frozen", names); err != nil {
			t.Fatal(err)
		}
		if _, err := NewTrainer(cfg, model, nativeDevice(t)); err == nil || !strings.Contains(err.Error(), "MODEL.frozen") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", names, err, want)
		}
	}
}
