package models

import "fmt"

// Paper: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", 2016.

// pyramidScales are the grids that the pyramid pooling module pools to.
var pyramidScales = []int{1, 2, 3, 6}

const (
	pyramidChannels = 512
	pyramidDropout  = 0.1
)

// ppm is the pyramid pooling decoder: the last tap beside what is left of it
// on coarse grids, so that each cell sees the whole picture.
func ppm(name string, deepSupervision bool) decoder {
	return decoder{name: name, deepSupervision: deepSupervision, build: func(n *network, taps []value, classes, width int) (logits, deep value) {
		last, channels := taps[len(taps)-1], narrow(pyramidChannels, width)
		size := n.sizes("ppm")
		levels := []value{last}
		for i, scale := range pyramidScales {
			path := fmt.Sprintf("ppm.%d", i)
			y := n.adaptiveAveragePool(path+".0", last, scale)
			y = n.convNormRelu(path, 1, y, convolution{outputs: channels, kernel: 1})
			levels = append(levels, size.resizeLike(path+".resize", y, last))
		}
		x := n.convNormRelu("conv_last", 0, n.concat("ppm.concat", levels...), convolution{outputs: channels, kernel: 3})
		x = n.channelDropout("conv_last.3", x, pyramidDropout)
		logits = n.conv("conv_last.4", x, convolution{outputs: classes, kernel: 1, bias: true})
		if deepSupervision {
			x = n.channelDropout("dropout_deepsup", deepBranch(n, taps), pyramidDropout)
			deep = n.conv("conv_last_deepsup", x, convolution{outputs: classes, kernel: 1, bias: true})
		}
		return logits, deep
	}}
}
