package train

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
)

// threadEach returns devices of one thread each.
func threadEach(t *testing.T, n int) []kernel.Device {
	t.Helper()
	var devices []kernel.Device
	for range n {
		dev := native.New(1)
		t.Cleanup(func() { dev.Close() })
		devices = append(devices, dev)
	}
	return devices
}

// replicasOn makes replicas of a small model with overrides.
func replicasOn(t *testing.T, n int, cfg *config.Config, model *onnx.Model, overrides ...string) *Replicas {
	t.Helper()
	c := *cfg
	if err := c.Set(overrides...); err != nil {
		t.Fatal(err)
	}
	r, err := NewReplicas(threadEach(t, n), nil, func(dev kernel.Device) (*Trainer, error) { return NewTrainer(&c, model, dev) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sameBits checks that all replicas have the same parameters.
func sameBits(t *testing.T, r *Replicas) {
	t.Helper()
	want := valuesOf(t, r.First().Net)
	for i, other := range r.Trainers[1:] {
		got := valuesOf(t, other.Net)
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				t.Errorf("replica %d: %s differs from that of replica 0", i+1, name)
			}
		}
	}
}

// gradientsOf downloads all gradients.
func gradientsOf(t *testing.T, net *graph.Network) map[string][]float32 {
	t.Helper()
	out := map[string][]float32{}
	for _, p := range net.Parameters() {
		if p.Grad == nil {
			continue
		}
		v, err := net.Gradient(p)
		if err != nil {
			t.Fatal(err)
		}
		out[p.Name] = v
	}
	return out
}

// Two replicas are one trainer on the pictures of both, where all pictures have
// equally many labels: losses, gradients, updates and running statistics.
func TestReplicasAreOneOnAllPictures(t *testing.T) {
	const tolerance, ofGradients = 5e-6, 2e-5 // sums in another order
	cfg := smallRun(t, t.TempDir())
	for _, test := range []struct {
		encoder   string
		smooth    bool // tanh for ReLU: rounding puts some pixel on the other side of a kink, in time
		steps     int
		overrides []string
	}{
		{"resnet18dilated", true, 3, []string{"TRAIN.lr_encoder", "0.001", "TRAIN.lr_decoder", "0.001"}},
		{"resnet18dilated", true, 2, []string{"TRAIN.clip_norm", "1"}},
		{"resnet18dilated", false, 1, nil},
		{"resnet18dilated", false, 1, []string{"TRAIN.recompute", "full"}},
		{"resnet18dilated", false, 1, []string{"TRAIN.clip_norm", "1"}},
		{"resnet18dilated", false, 2, []string{"TRAIN.fix_bn", "True"}},
		{"resnet18dilated", true, 2, []string{"TRAIN.optim", "AdamW", "TRAIN.eps", "1"}}, // with a small one, the sign of a gradient near 0 is a change
		{"mobilenetv2dilated", false, 1, nil},
		{"mobilenetv2dilated", false, 1, []string{"TRAIN.clip_norm", "1"}},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			cfg.Model.ArchEncoder = test.encoder
			model, err := InitialModel(cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range model.GetGraph().GetNode() {
				if test.smooth && n.GetOpType() == "Relu" {
					n.OpType = "Tanh"
				}
			}
			whole, parts := halves(t, cfg)
			one := trainerOn(t, cfg, model, test.overrides...)
			two := replicasOn(t, 2, cfg, model, test.overrides...)
			for range test.steps {
				before := valuesOf(t, one.Net)
				want, err := one.StepOn(whole)
				if err != nil {
					t.Fatal(err)
				}
				got, err := two.Step(parts[:]...)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, two)
				if math.Abs(got.Loss-want.Loss) > 1e-6*want.Loss || math.Abs(got.Accuracy-want.Accuracy) > 1e-9 ||
					math.Abs(got.LossMain-want.LossMain) > 1e-6*want.LossMain || math.Abs(got.LossDeepSup-want.LossDeepSup) > 1e-6*want.LossDeepSup || got.Iteration != want.Iteration {
					t.Errorf("%+v, want %+v", got, want)
				}
				after, wanted := valuesOf(t, two.First().Net), valuesOf(t, one.Net)
				if d := difference(after, wanted, before); !(d <= tolerance) {
					t.Errorf("the updates differ by %.2g", d)
				}
				for name, mean := range wanted {
					variance, ok := wanted[strings.Replace(name, "running_mean", "running_var", 1)]
					if !ok || !strings.HasSuffix(name, "running_mean") {
						continue
					}
					other := after[strings.Replace(name, "running_mean", "running_var", 1)]
					for c := range mean {
						if d := math.Abs(float64(after[name][c]-mean[c])) / math.Sqrt(float64(variance[c])); !(d <= 1e-5) {
							t.Errorf("%s: channel %d is %v, want %v, %.2g of the deviation away", name, c, after[name][c], mean[c], d)
						}
						if d := math.Abs(float64(other[c]-variance[c])) / float64(variance[c]); !(d <= 1e-5) {
							t.Errorf("%s: the variance of channel %d is %v, want %v", name, c, other[c], variance[c])
						}
					}
				}
				if clipped := len(test.overrides) > 0 && test.overrides[0] == "TRAIN.clip_norm"; clipped {
					gradients := gradientsOf(t, one.Net)
					if len(gradients) == 0 {
						t.Fatal("no gradients are left to compare")
					}
					if d := relativeDistance(gradientsOf(t, two.First().Net), gradients); !(d <= ofGradients) {
						t.Errorf("the gradients differ by %.2g", d)
					}
					if math.Abs(got.GradientNorm-want.GradientNorm) > ofGradients*want.GradientNorm {
						t.Errorf("norm %v, want %v", got.GradientNorm, want.GradientNorm)
					}
				}
			}
		})
	}
}

// differentSizes are batches for two replicas of two batches each.
func differentSizes(t *testing.T, cfg *config.Config) (*onnx.Model, []Batch) {
	t.Helper()
	var batches []Batch
	var model *onnx.Model
	for i, size := range []int{48, 64, 56, 40} {
		c := *cfg
		c.Dataset.ImgSizes, c.Train.BatchSizePerGPU = []int{size}, 1+i%2
		m, b := firstBatch(t, &c)
		model = m
		batches = append(batches, Batch{b.Images, []int{b.N, 3, b.H, b.W}, b.Labels})
	}
	return model, batches
}

// Replicas on pictures of different sizes have the gradient of the mean of their
// losses: along it, the loss changes as the gradient says.
func TestReplicasOfDifferentSizes(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	cfg.Model.ArchEncoder = "resnet18dilated"
	model, batches := differentSizes(t, cfg)
	r := replicasOn(t, 2, cfg, model, "TRAIN.lr_encoder", "0", "TRAIN.lr_decoder", "0", "TRAIN.accumulate", "2")
	at := valuesOf(t, r.First().Net)
	if _, err := r.Step(batches...); err != nil {
		t.Fatal(err)
	}
	sameBits(t, r)
	gradient := gradientsOf(t, r.First().Net)
	squared := math.Pow(tensors(gradient).norm(), 2)
	loss := func(along float64) float64 {
		for _, trainer := range r.Trainers {
			for _, p := range trainer.Net.Parameters() {
				v := slices.Clone(at[p.Name])
				for i, g := range gradient[p.Name] {
					v[i] += float32(along) * g
				}
				if err := trainer.Net.SetValue(p, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		rec, err := r.Step(batches...)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Loss
	}
	// A longer step crosses kinks of ReLU, a shorter one is lost in float32.
	step := 0.0003 * loss(0) / squared
	slope := (loss(step) - loss(-step)) / (2 * step)
	if math.Abs(slope-squared) > 0.02*squared {
		t.Errorf("the loss rises by %v along the gradient, want %v", slope, squared)
	}
}

// The running statistics of the first normalisation, when they follow the last
// step alone, are those of both batches taken together.
func TestReplicasMergeStatistics(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	cfg.Model.ArchEncoder = "resnet18dilated"
	model, batches := differentSizes(t, cfg)
	newest := []string{"TRAIN.bn_momentum", "1", "TRAIN.lr_encoder", "0", "TRAIN.lr_decoder", "0"}
	const meanOf, varianceOf = "encoder.bn1.running_mean", "encoder.bn1.running_var"
	var counts []float64
	var means, variances [][]float32
	for _, b := range batches[:2] {
		one := trainerOn(t, cfg, model, newest...)
		if _, err := one.StepOn(b); err != nil {
			t.Fatal(err)
		}
		v := valuesOf(t, one.Net)
		counts = append(counts, float64(b.Shape[0]*b.Shape[2]/2*b.Shape[3]/2)) // the first convolution has stride 2
		means, variances = append(means, v[meanOf]), append(variances, v[varianceOf])
	}
	two := replicasOn(t, 2, cfg, model, newest...)
	if _, err := two.Step(batches[:2]...); err != nil {
		t.Fatal(err)
	}
	got := valuesOf(t, two.First().Net)
	all := counts[0] + counts[1]
	for c := range means[0] {
		mean, squares := 0.0, 0.0
		for i, n := range counts {
			mean += n / all * float64(means[i][c])
		}
		for i, n := range counts {
			squares += (n-1)*float64(variances[i][c]) + n*math.Pow(float64(means[i][c])-mean, 2)
		}
		variance := squares / (all - 1)
		if d := math.Abs(float64(got[meanOf][c]) - mean); d > 1e-6*math.Sqrt(variance) {
			t.Errorf("channel %d: mean %v, want %v", c, got[meanOf][c], mean)
		}
		if d := math.Abs(float64(got[varianceOf][c]) - variance); d > 1e-6*variance {
			t.Errorf("channel %d: variance %v, want %v", c, got[varianceOf][c], variance)
		}
	}
}

// A replica that fails ends the step for all, by its name, and no weight has
// changed.
func TestReplicaThatFails(t *testing.T) {
	cfg := smallRun(t, t.TempDir())
	model, batches := differentSizes(t, cfg)
	broken := batches[1]
	broken.Image = slices.Clone(broken.Image)
	broken.Image[7] = float32(math.NaN())
	short := batches[1]
	short.Image = short.Image[1:]
	for name, test := range map[string]struct {
		batches []Batch
		words   string
	}{
		"no number":    {[]Batch{batches[0], broken, batches[2]}, "the loss is NaN"},
		"wrong length": {[]Batch{batches[0], short, batches[2]}, "shape"},
	} {
		r := replicasOn(t, 3, cfg, model, "TRAIN.fix_bn", "True")
		before := valuesOf(t, r.First().Net)
		_, err := r.Step(test.batches...)
		if err == nil || !strings.Contains(err.Error(), "replica cpu:1: ") || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", name, err)
		}
		for _, trainer := range r.Trainers {
			for name, v := range valuesOf(t, trainer.Net) {
				if !slices.Equal(v, before[name]) {
					t.Errorf("%s has changed", name)
				}
			}
		}
		if _, err := r.Step(batches[:3]...); err == nil || !strings.Contains(err.Error(), "cpu:1") {
			t.Errorf("%s: a second step: %v", name, err)
		}
	}
	r := replicasOn(t, 2, cfg, model)
	if _, err := r.Step(batches[:3]...); err == nil || !strings.Contains(err.Error(), "3 batches for 2 replicas") {
		t.Errorf("uneven: %v", err)
	}
}

// A run on two devices writes the same bytes every time, and goes on with
// another number of them.
func TestRunOnTwoDevices(t *testing.T) {
	dir := t.TempDir()
	c := smallRun(t, dir)
	c.Train.NumEpoch, c.Train.EpochIters, c.Train.EMADecay = 1, 3, 0.5
	var files [2][]byte
	for i := range files {
		if err := os.RemoveAll(c.Dir); err != nil {
			t.Fatal(err)
		}
		result, err := Run(context.Background(), Options{Config: c, Devices: threadEach(t, 2)})
		if err != nil {
			t.Fatal(err)
		}
		if len(result.History.Records) != 3 || result.Evaluation == nil {
			t.Errorf("%+v", result)
		}
		if files[i], err = os.ReadFile(result.Checkpoint); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same run writes another checkpoint")
	}
	for i, n := range []int{1, 3} {
		c.Train.NumEpoch++
		result, err := Run(context.Background(), Options{Config: c, Devices: threadEach(t, n), Resume: c.Dir + "/" + CheckpointFile})
		if err != nil {
			t.Fatal(err)
		}
		if want := 3 * (i + 2); len(result.History.Records) != want {
			t.Errorf("%d devices: %d iterations, want %d", n, len(result.History.Records), want)
		}
	}
}
