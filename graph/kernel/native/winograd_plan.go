package native

import (
	"os"

	"github.com/graft-onnx/graft/graph/kernel"
)

// EnvWinograd is the environment variable that switches Winograd's convolution
// off ("off").
const EnvWinograd = "GRAFT_WINOGRAD"

func useWinograd() bool { return os.Getenv(EnvWinograd) != "off" }

// PrefersWinograd reports whether a convolution, in any direction, is computed
// by Winograd's method, which takes fewer products than its definition.
func (d *Device) PrefersWinograd(desc kernel.Desc) bool {
	_, fits := d.planWinograd(desc)
	return fits
}

// planWinograd returns the division of a convolution by Winograd's method, and
// whether that is the faster way: for filters of 3 by 3 with stride 1, if it
// saves more products than the transforms cost. On AMX the definition is faster
// in bfloat16.
func (d *Device) planWinograd(desc kernel.Desc) (w *winograd, faster bool) {
	var g kernel.Geometry
	half := false
	if m, mixed := desc.(kernel.Mixed); mixed {
		desc, half = m.Desc, d.isa.half != nil
	}
	switch c := desc.(type) {
	case kernel.Conv:
		g = c.Geometry
	case kernel.ConvBackwardData:
		g = c.Geometry
	case kernel.ConvBackwardFilter:
		g = c.Geometry
	default:
		return nil, false
	}
	if !d.winograd || g.KH != winogradTaps || g.KW != winogradTaps || g.StrideH != 1 || g.StrideW != 1 || g.Groups != 1 ||
		kernel.Len(g.X()) == 0 || kernel.Len(g.Y()) == 0 {
		return nil, false
	}
	definition := int(g.FLOPs() / 2)
	if half && d.isa.half.amx {
		definition = 0
	}
	_, gradient := desc.(kernel.ConvBackwardData)
	w = newWinograd(g, gradient)
	if _, filter := desc.(kernel.ConvBackwardFilter); filter {
		if half {
			definition = int(float64(definition) / halfFilterRate)
		}
		return w, w.planFilter(d.isa) < definition
	}
	if half {
		definition = int(float64(definition) / halfRate)
	}
	return w, w.plan(d.isa) < definition
}

// winogradPlan divides the work into blocks, for each of which the sums that
// products are added to are held in scratch: sums of the output for blocks of
// tiles by output channels, sums of the filter's gradient for blocks of output
// by input channels.
type winogradPlan struct {
	tileBlock   int
	outputBlock int // channels
	inputBlock  int // channels
}

const (
	// winogradSums is how many sums of one frequency are held at a time, 12 MB
	// of all, for winogradWide channels at most. Transformed pixels take no
	// more than sums do.
	winogradSums = 80 << 10
	winogradWide = 512
	// winogradDepth is how many products are added to a sum in one pass over
	// the sums: enough to pay for loading and storing them.
	winogradDepth = 128
)

// What the transforms cost, in products of a direct convolution in the same
// time, for a tile's or a filter's numbers in one channel or pair of channels.
// Measured on layers of ResNets on a Zen 5 with AVX-512, in float32 and in
// bfloat16 alike: memory bounds them.
const (
	winogradImageCost    = 1000
	winogradGradientCost = 900
	winogradOutputCost   = 900
	winogradFilterCost   = 600
	winogradStageCost    = 2 << 20 // starting and ending the threads' work
	// winogradProductCost is of one product: frequencies come from further away
	// than pixels do.
	winogradProductCost = 1.25
)

// How many times as fast as float32 the definition is computed on bfloat16: by
// AVX512_BF16 measured 1.8 to 2.1 for convolutions and gradients of images, for
// gradients of filters 1.5 to 2 and less on small images.
const (
	halfRate       = 2
	halfFilterRate = 1.5
)

// plan divides a convolution, or its gradient by the data, and estimates its
// cost in products.
func (w *winograd) plan(v *isa) (cost int) {
	sc, dc := w.image.c, w.output.c
	w.outputBlock = roundUp(pieceOf(dc, winogradWide), v.nr)
	w.inputBlock = roundUp(pieceOf(sc, winogradDepth), v.lanes)
	w.tileBlock = pieceOf(w.tiles, winogradSums/max(w.outputBlock, w.inputBlock))
	tileBlocks, outputBlocks, inputBlocks := ceilDiv(w.tiles, w.tileBlock), ceilDiv(dc, w.outputBlock), ceilDiv(sc, w.inputBlock)
	return int(winogradProductCost*winogradPlanes*float64(w.tiles*sc*dc)) +
		winogradImageCost*w.tiles*sc*outputBlocks +
		winogradOutputCost*w.tiles*dc +
		winogradFilterCost*sc*dc*tileBlocks +
		winogradStageCost*tileBlocks*outputBlocks*(2*inputBlocks+1)
}

// planFilter is the same for the gradient by the filter.
func (w *winograd) planFilter(v *isa) (cost int) {
	sc, dc := w.image.c, w.output.c
	w.outputBlock = roundUp(pieceOf(dc, winogradWide), v.lanes)
	w.inputBlock = roundUp(pieceOf(sc, min(winogradWide, winogradSums/w.outputBlock)), v.nr)
	w.tileBlock = pieceOf(w.tiles, winogradDepth)
	tileBlocks, outputBlocks, inputBlocks := ceilDiv(w.tiles, w.tileBlock), ceilDiv(dc, w.outputBlock), ceilDiv(sc, w.inputBlock)
	return int(winogradProductCost*winogradPlanes*float64(w.tiles*sc*dc)) +
		winogradImageCost*w.tiles*sc*outputBlocks +
		winogradGradientCost*w.tiles*dc*inputBlocks +
		winogradFilterCost*sc*dc +
		winogradStageCost*outputBlocks*inputBlocks*(2*tileBlocks+1)
}

// pieceOf is the size of the largest of the most equal pieces of n of at most
// size.
func pieceOf(n, size int) int { return ceilDiv(n, ceilDiv(n, size)) }
