package models

import (
	"math"
	"testing"
)

// moments returns mean and standard deviation.
func moments(v []float32) (mean, std float64) {
	for _, x := range v {
		mean += float64(x)
	}
	mean /= float64(len(v))
	for _, x := range v {
		std += (float64(x) - mean) * (float64(x) - mean)
	}
	return mean, math.Sqrt(std / float64(len(v)))
}

func TestDistributions(t *testing.T) {
	const n = 200_000
	// Five standard errors: mean std/sqrt(n), standard deviation std/sqrt(2n).
	near := func(got, want, std float64) bool { return math.Abs(got-want) < 5*std/math.Sqrt(n) }
	v := normal(stream(7, "encoder.conv1.weight"), n, 0.3)
	if mean, std := moments(v); !near(mean, 0, 0.3) || !near(std, 0.3, 0.3) {
		t.Errorf("normal of standard deviation 0.3 has mean %g, standard deviation %g", mean, std)
	}
	v = uniform(stream(7, "decoder.conv_last.bias"), n, 0.5)
	if mean, std := moments(v); !near(mean, 0, 0.5) || !near(std, 0.5/math.Sqrt(3), 0.5) {
		t.Errorf("uniform within 0.5 has mean %g, standard deviation %g", mean, std)
	}
	for _, x := range v {
		if math.Abs(float64(x)) > 0.5 {
			t.Fatalf("uniform within 0.5 gave %g", x)
		}
	}
}

// The numbers of a seed are part of what a seed promises: they must not change
// with a version of graft or Go.
func TestStreamIsFixed(t *testing.T) {
	got := normal(stream(304, "encoder.conv1.weight"), 3, 1)
	want := []float32{-1.7005254, -0.32718372, 1.7692653}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("first numbers are %v, want %v", got, want)
		}
	}
	if other := normal(stream(304, "encoder.conv2.weight"), 3, 1); other[0] == got[0] {
		t.Error("two parameters begin with the same number")
	}
}

// Standard deviations of the layers by hand: a 3x3 convolution of 16 to 32
// channels.
func TestConvolutionSpread(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  float64
		want float64
	}{
		{"encoder, by outputs", encoderInit.convStd(144, 288, 1), 0.08333333333333333},
		{"decoder, by inputs", decoderInit.convStd(144, 288, 1), 0.11785113019775793},
		{"ResNeXt, by outputs of a group", groupInit.convStd(144, 288, 32), 0.47140452079103168},
		{"HRNet, as PyTorch by itself", highResolutionInit.convStd(144, 288, 1), 1 / math.Sqrt(3) / 12},
		{"bias", biasBound(144), 1.0 / 12},
	} {
		if math.Abs(tc.got-tc.want) > 1e-15 {
			t.Errorf("%s: %v, want %v", tc.name, tc.got, tc.want)
		}
	}
}

// Evenly spread weights have the standard deviation asked for, within five
// standard errors.
func TestWeightsKeepTheSpread(t *testing.T) {
	const n = 1 << 16
	for name, init := range map[string]initialisation{"normal": encoderInit, "uniform": highResolutionInit} {
		want := init.convStd(144, 288, 1)
		v := init.weights(stream(1, "w"), n, 144, 288, 1)
		if mean, std := moments(v); math.Abs(mean) > 5*want/math.Sqrt(n) || math.Abs(std-want) > 5*want/math.Sqrt(n) {
			t.Errorf("%s weights have mean %g and standard deviation %g, want 0 and %g", name, mean, std, want)
		}
	}
}
