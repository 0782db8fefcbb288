package onnx

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/onnx/pb"
)

// foldedNet is an encoder as Import makes it of a file with folded batch
// normalisation: every kind of convolution that BareConvs tells apart.
func foldedNet(t *testing.T) *Model {
	return build(t, 15, func(b *Builder) {
		conv := func(name, x string, dims []int, bias string, attrs ...*pb.AttributeProto) string {
			in := []string{x, b.Initializer(NewFloats("encoder."+name+".weight", dims, noise(dims[0]*dims[1]*dims[2]*dims[3], uint32(len(name)))))}
			if bias == "" {
				bias = b.Initializer(NewFloats("encoder."+name+".bias", dims[:1], noise(dims[0], 7)))
			}
			if bias != "-" {
				in = append(in, bias)
			}
			return b.Op("Conv", name, in, attrs...)
		}
		two, same := IntsAttr("strides", 2, 2), IntsAttr("pads", 1, 1, 1, 1)
		x := b.Input("image", float32Type, "N", 3, "H", "W")
		x = b.Op("Relu", "a", []string{conv("stem", x, []int{4, 3, 3, 3}, "", two, same)})
		shared := b.Initializer(NewFloats("encoder.shared", []int{4}, noise(4, 3)))
		x = conv("depthwise", x, []int{4, 1, 3, 3}, shared, same, IntAttr("group", 4))
		gate := b.Op("GlobalAveragePool", "pooled", []string{x})
		gate = b.Op("Sigmoid", "gate", []string{conv("squeeze", gate, []int{4, 4, 1, 1}, shared)})
		x = b.Op("Mul", "gated", []string{x, gate})
		y := conv("pointwise", x, []int{4, 4, 1, 1}, "-")
		x = b.Op("Add", "features_0", []string{x, y})
		var norm []string
		for i, v := range [][]float32{{1, 2, 1, 2}, noise(4, 1), noise(4, 2), {1, 3, 1, 2}} {
			norm = append(norm, b.Initializer(NewFloats(fmt.Sprint("encoder.bn.", i), []int{4}, v)))
		}
		x = conv("normalised", x, []int{4, 4, 3, 3}, "", two, same)
		x = b.Op("BatchNormalization", "bn", append([]string{x}, norm...))
		conv("features_1", x, []int{6, 4, 1, 1}, "")
		conv("other", x, []int{2, 4, 1, 1}, "")
		b.Output("features_0", float32Type, "N", 4, nil, nil)
		b.Output("features_1", float32Type, "N", 6, nil, nil)
		b.Output("other", float32Type, "N", 2, nil, nil)
	})
}

// someMoments are moments of any pictures: evaluation must not depend on them.
func someMoments() map[string]Moments {
	return map[string]Moments{
		"stem":       {[]float64{0.5, -2, 30, 0}, []float64{1, 4, 1e-8, 0}},
		"depthwise":  {[]float64{0, 1, 2, 3}, []float64{0.25, 1e4, 1, 0.5}},
		"pointwise":  {[]float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}},
		"features_1": {[]float64{0, 1, 2, 3, 4, 5}, []float64{1, 2, 3, 4, 5, 6}},
	}
}

func TestBareConvs(t *testing.T) {
	list, err := BareConvs(foldedNet(t))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range list {
		got[c.Output] = c.Reason
	}
	want := map[string]string{
		"stem": "", "depthwise": "", "pointwise": "", "features_1": "",
		"squeeze": "its output is no map of the picture",
		"other":   "its output is the network's, and no feature map",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUnfold(t *testing.T) {
	m := foldedNet(t)
	before := m.Clone()
	got, err := Unfold(m, someMoments())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(m.ModelProto) != fmt.Sprint(before.ModelProto) {
		t.Error("the model given was changed")
	}
	norms := map[string]*pb.NodeProto{}
	for _, n := range got.Graph.Node {
		if OpName(n) == "BatchNormalization" {
			norms[n.Output[0]] = n
		}
	}
	values := func(name string) []float32 {
		v, err := Floats(got.Initializer(name))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for y, mo := range someMoments() {
		n := norms[y]
		if n == nil {
			t.Errorf("no normalisation makes %q", y)
			continue
		}
		var want []string
		for _, part := range []string{"weight", "bias", "running_mean", "running_var"} {
			want = append(want, "encoder."+y+".norm."+part)
		}
		if !slices.Equal(n.Input[1:], want) {
			t.Errorf("parameters %v, want %v", n.Input[1:], want)
		}
		bias := make([]float32, len(mo.Mean))
		for _, c := range before.Graph.Node {
			if c.Output[0] == y && len(c.Input) > 2 {
				bias, _ = Floats(before.Initializer(c.Input[2]))
			}
		}
		for c, mean := range mo.Mean {
			have := [4]float64{}
			for i, name := range n.Input[1:] {
				have[i] = float64(values(name)[c])
			}
			for i, want := range [4]float64{math.Sqrt(mo.Var[c] + 1e-5), mean, mean - float64(bias[c]), mo.Var[c]} {
				if math.Abs(have[i]-want) > 1e-6*max(1, math.Abs(want)) {
					t.Errorf("%s channel %d: %s is %g, want %g", y, c, n.Input[1+i], have[i], want)
				}
			}
		}
	}
	for _, n := range got.Graph.Node {
		if norms[strings.TrimSuffix(n.Output[0], "_conv")] != nil && OpName(n) == "Conv" && len(n.Input) != 2 {
			t.Errorf("%s has a bias still", n.Name)
		}
	}
	// A bias that only the convolution read is gone, the squeeze's is not.
	if got.Initializer("encoder.stem.bias") != nil || got.Initializer("encoder.shared") == nil {
		t.Error("biases: the unread one is left, or the shared one is gone")
	}
	if left, err := BareConvs(got); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// In evaluation the network computes the same, in ONNX Runtime too.
func TestUnfoldKeepsValues(t *testing.T) {
	m := foldedNet(t)
	got, err := Unfold(m, someMoments())
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]ort.Tensor{"image": ort.New(noise(2*3*24*40, 5), 2, 3, 24, 40)}
	a, b := runORT(t, m, in), runORT(t, got, in)
	for name := range a {
		if d := differ(b[name].Data.([]float32), a[name].Data.([]float32)); d > 1e-5 {
			t.Errorf("%s differs by %g", name, d)
		}
	}
}

func TestUnfoldRefuses(t *testing.T) {
	one := func(mean, variance float64) Moments {
		return Moments{slices.Repeat([]float64{mean}, 4), slices.Repeat([]float64{variance}, 4)}
	}
	for says, moments := range map[string]map[string]Moments{
		`"squeeze" is not the output`:             {"squeeze": one(0, 1)},
		`"nowhere" is not the output`:             {"nowhere": one(0, 1)},
		"moments of 4 and 4 channels for 6":       {"features_1": one(0, 1)},
		"channel 0 has mean NaN and variance 1":   {"stem": one(math.NaN(), 1)},
		"channel 0 has mean 0 and variance +Inf":  {"stem": one(0, math.Inf(1))},
		"channel 0 has mean 0 and variance 1e+40": {"stem": one(0, 1e40)},
		"channel 0 has mean 0 and variance -1":    {"stem": one(0, -1)},
	} {
		_, err := Unfold(foldedNet(t), moments)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}
