package models

import "fmt"

// Paper: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted
// Residuals and Linear Bottlenecks", 2018.

// invertedStage is a row of the paper's table of inverted residuals.
type invertedStage struct{ expand, channels, blocks, stride int }

var invertedStages = []invertedStage{
	{1, 16, 1, 1},
	{6, 24, 2, 2},
	{6, 32, 3, 2},
	{6, 64, 4, 2},
	{6, 96, 3, 1},
	{6, 160, 3, 2},
	{6, 320, 1, 1},
}

// mobileNetV2Taps are the blocks whose values are the taps. As in the
// reference the third is the first block of the stage of 160 channels, so its
// deep supervision sees what is behind the last change of stride.
var mobileNetV2Taps = []int{2, 4, 14, 17}

// mobileNetV2 describes the network up to its last inverted residual. With
// dilated, what follows stride 8 stays there.
func mobileNetV2(name string, dilated bool) encoder {
	e := encoder{name: name, strides: strides(dilated), init: encoderInit, momentum: normMomentum}
	e.channels = invertedStages[len(invertedStages)-1].channels
	for _, i := range mobileNetV2Taps {
		e.taps = append(e.taps, fmt.Sprintf("features.%d.conv.7", i))
	}
	e.build = func(n *network, image value, width int) []value {
		x := n.conv("features.0.0", image, convolution{outputs: narrow(32, width), kernel: 3, stride: 2})
		x = n.relu6("features.0.2", n.norm("features.0.1", x))
		stride, index := 2, 1
		blocks := []value{x}
		for _, row := range invertedStages {
			stride *= row.stride
			s := stage{dilate: 1}
			if dilated {
				s.dilate = max(stride/8, 1)
			}
			for j := range row.blocks {
				step := 1
				if j == 0 {
					step = row.stride
				}
				x = invertedResidual(n, fmt.Sprintf("features.%d", index), x, row.expand, narrow(row.channels, width), step, s)
				blocks = append(blocks, x)
				index++
			}
		}
		var taps []value
		for _, i := range mobileNetV2Taps {
			taps = append(taps, blocks[i])
		}
		return taps
	}
	return e
}

// invertedResidual widens by expand, convolves every channel by itself and
// narrows again, without an activation at the end; there is a shortcut where
// the block changes neither size nor channels.
func invertedResidual(n *network, path string, x value, expand, outputs, stride int, s stage) value {
	at := 0
	layer := func() string {
		at++
		return fmt.Sprintf("%s.conv.%d", path, at-1)
	}
	y := x
	if expand != 1 {
		y = n.conv(layer(), y, convolution{outputs: x.channels * expand, kernel: 1})
		y = n.norm(layer(), y)
		y = n.relu6(layer(), y)
	}
	step, dilation := s.layout(stride)
	y = n.conv(layer(), y, convolution{outputs: y.channels, kernel: 3, stride: step, dilation: dilation, groups: y.channels})
	y = n.norm(layer(), y)
	y = n.relu6(layer(), y)
	y = n.conv(layer(), y, convolution{outputs: outputs, kernel: 1})
	y = n.norm(layer(), y)
	if stride == 1 && x.channels == outputs {
		return n.add(path+".add", x, y)
	}
	return y
}
