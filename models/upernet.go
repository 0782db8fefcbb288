package models

import "fmt"

// Paper: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene
// Understanding", 2018.

// upernet is a feature pyramid over all taps, topped by pyramid pooling of the
// last one. What is coarse is brought down tap by tap and added to the finer;
// all levels are then joined at the first tap's resolution, stride 4, which is
// that of the output. So labels for training have a quarter of the picture's
// height and width. dim is the width of every level.
func upernet(name string, dim int) decoder {
	return decoder{name: name, allTaps: true, build: func(n *network, taps []value, classes, width int) (logits, _ value) {
		dim := narrow(dim, width)
		size := n.sizes("fpn")
		top := len(taps) - 1
		x := upernetTop(n, size, taps[top], dim, narrow(pyramidChannels, width))
		levels := make([]value, len(taps))
		levels[top] = x
		for i := top - 1; i >= 0; i-- {
			path := fmt.Sprintf("fpn_in.%d", i)
			side := n.convNormRelu(path, 0, taps[i], convolution{outputs: dim, kernel: 1})
			x = n.add(path+".add", side, size.resizeLike(path+".resize", x, side))
			levels[i] = n.convNormRelu(fmt.Sprintf("fpn_out.%d.0", i), 0, x, convolution{outputs: dim, kernel: 3})
		}
		for i := 1; i <= top; i++ {
			levels[i] = size.resizeLike(fmt.Sprintf("fpn_out.%d.resize", i), levels[i], levels[0])
		}
		x = n.convNormRelu("conv_last.0", 0, n.concat("fpn_out.concat", levels...), convolution{outputs: dim, kernel: 3})
		return n.conv("conv_last.1", x, convolution{outputs: classes, kernel: 1, bias: true}), value{}
	}}
}

// upernetTop is the pyramid pooling of the last tap. Unlike in the decoder
// ppm, the coarse grids are brought back to the tap's size before their
// convolution, so that batch normalisation sees every cell.
func upernetTop(n *network, size *sizes, last value, dim, channels int) value {
	levels := []value{last}
	for i, scale := range pyramidScales {
		y := n.adaptiveAveragePool(fmt.Sprintf("ppm_pooling.%d", i), last, scale)
		y = size.resizeLike(fmt.Sprintf("ppm_pooling.%d.resize", i), y, last)
		levels = append(levels, n.convNormRelu(fmt.Sprintf("ppm_conv.%d", i), 0, y, convolution{outputs: channels, kernel: 1}))
	}
	return n.convNormRelu("ppm_last_conv", 0, n.concat("ppm_conv.concat", levels...), convolution{outputs: dim, kernel: 3})
}
