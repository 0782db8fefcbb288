package models

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// stream returns the random numbers of one parameter. Each parameter draws
// from a stream of its own, chosen by the seed and its name, so that adding,
// removing or reordering layers leaves every other parameter as it was.
func stream(seed int64, parameter string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(parameter))
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// normal draws n values of a normal distribution of mean 0.
func normal(r *rand.Rand, n int, std float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * std)
	}
	return v
}

// uniform draws n values evenly spread over [-bound, bound).
func uniform(r *rand.Rand, n int, bound float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32((2*r.Float64() - 1) * bound)
	}
	return v
}

// constant returns n times the same value.
func constant(n int, value float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = value
	}
	return v
}

// initialisation says how the parameters of a part of the network begin.
type initialisation struct {
	// convStd is the standard deviation of a convolution's weights, drawn
	// from a distribution of mean 0. fanIn is the number of products summed
	// into one output, fanOut the kernel's area times the outputs.
	convStd func(fanIn, fanOut, groups int) float64
	// uniform spreads the weights evenly; otherwise they are normally
	// distributed.
	uniform bool
	// shift is the bias of batch normalisation; its scale is always 1.
	shift float32
}

var (
	// encoderInit is the one of ResNet and MobileNetV2 before any
	// pre-training: the variance of the gradient is kept, 2 / (k*k*outputs).
	encoderInit = initialisation{
		convStd: func(_, fanOut, _ int) float64 { return math.Sqrt(2 / float64(fanOut)) },
	}
	// groupInit is the one of ResNeXt: an output of a group feeds on its share
	// of the kernels alone.
	groupInit = initialisation{
		convStd: func(_, fanOut, groups int) float64 { return math.Sqrt(2 / float64(fanOut/groups)) },
	}
	// decoderInit is He's normal distribution, 2 / (k*k*inputs), and a touch
	// of bias behind batch normalisation so that no ReLU starts exactly at 0.
	decoderInit = initialisation{
		convStd: func(fanIn, _, _ int) float64 { return math.Sqrt(2 / float64(fanIn)) },
		shift:   1e-4,
	}
)

// weights draws n weights of a convolution.
func (i initialisation) weights(r *rand.Rand, n, fanIn, fanOut, groups int) []float32 {
	std := i.convStd(fanIn, fanOut, groups)
	if i.uniform {
		return uniform(r, n, std*math.Sqrt(3))
	}
	return normal(r, n, std)
}

// biasBound is the bound of the uniform distribution of a convolution's bias.
func biasBound(fanIn int) float64 { return 1 / math.Sqrt(float64(fanIn)) }
