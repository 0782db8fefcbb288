package models

import "fmt"

// Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition",
// 2015; Xie, Girshick, Dollar, Tu, He, "Aggregated Residual Transformations for
// Deep Neural Networks", 2016. The stem is the deep one of the reference
// project: three 3x3 convolutions where the papers have one 7x7.

// residualBlock adds one block of a ResNet stage behind x; planes is its inner
// width. The block's last value is called path.relu.
type residualBlock struct {
	planes    int // inner width in the first stage; it doubles from stage to stage
	expansion int // of the block's output over its inner width
	groups    int // of the 3x3 convolution
	build     func(n *network, path string, x value, planes, stride int, s stage) value
}

// basicBlock is two 3x3 convolutions.
var basicBlock = residualBlock{planes: 64, expansion: 1, groups: 1, build: func(n *network, path string, x value, planes, stride int, s stage) value {
	step, dilation := s.layout(stride)
	y := n.conv(path+".conv1", x, convolution{outputs: planes, kernel: 3, stride: step, dilation: dilation})
	y = n.relu(path+".relu1", n.norm(path+".bn1", y))
	_, dilation = s.layout(1)
	y = n.conv(path+".conv2", y, convolution{outputs: planes, kernel: 3, dilation: dilation})
	return n.norm(path+".bn2", y)
}}

// bottleneck is the block of the deep ResNets, groupBottleneck that of ResNeXt.
var (
	bottleneck      = residualBlock{planes: 64, expansion: 4, groups: 1, build: bottleneckOf(4)}
	groupBottleneck = residualBlock{planes: 128, expansion: 2, groups: 32, build: bottleneckOf(2)}
)

// bottleneckOf narrows, convolves 3x3 and widens again to planes * expansion.
func bottleneckOf(expansion int) func(n *network, path string, x value, planes, stride int, s stage) value {
	return func(n *network, path string, x value, planes, stride int, s stage) value {
		y := n.conv(path+".conv1", x, convolution{outputs: planes, kernel: 1})
		y = n.relu(path+".relu1", n.norm(path+".bn1", y))
		step, dilation := s.layout(stride)
		y = n.conv(path+".conv2", y, convolution{outputs: planes, kernel: 3, stride: step, dilation: dilation, groups: s.groups})
		y = n.relu(path+".relu2", n.norm(path+".bn2", y))
		y = n.conv(path+".conv3", y, convolution{outputs: planes * expansion, kernel: 1})
		return n.norm(path+".bn3", y)
	}
}

// resNeXt describes a residual network of grouped bottlenecks, not dilated.
func resNeXt(name string, blocks [4]int) encoder {
	e := resNet(name, groupBottleneck, blocks, false)
	e.init = groupInit
	return e
}

// resNet describes a residual network of four stages of so many blocks. With
// dilated, stages three and four stay at stride 8.
func resNet(name string, block residualBlock, blocks [4]int, dilated bool) encoder {
	e := encoder{name: name, strides: strides(dilated), init: encoderInit, momentum: normMomentum}
	e.channels = block.planes << (len(blocks) - 1) * block.expansion
	for i, count := range blocks {
		e.taps = append(e.taps, fmt.Sprintf("layer%d.%d.relu", i+1, count-1))
	}
	dilate := [4]int{1, 1, 1, 1}
	if dilated {
		dilate = [4]int{1, 1, 2, 4}
	}
	e.build = func(n *network, image value, width int) []value {
		x := resNetStem(n, image, width)
		var taps []value
		for i := range blocks {
			s := stage{dilate: dilate[i], groups: narrow(block.groups, width)}
			planes := narrow(block.planes<<i, width)
			planes -= planes % s.groups // groups of one size
			for j := range blocks[i] {
				stride := 1
				if i > 0 && j == 0 {
					stride = 2
				}
				x = residual(n, fmt.Sprintf("layer%d.%d", i+1, j), x, block, planes, stride, s)
			}
			taps = append(taps, x)
		}
		return taps
	}
	return e
}

// resNetStem brings the picture to stride 4.
func resNetStem(n *network, image value, width int) value {
	x := image
	for i, outputs := range []int{64, 64, 128} {
		stride := 1
		if i == 0 {
			stride = 2
		}
		x = n.conv(fmt.Sprintf("conv%d", i+1), x, convolution{outputs: narrow(outputs, width), kernel: 3, stride: stride})
		x = n.relu(fmt.Sprintf("relu%d", i+1), n.norm(fmt.Sprintf("bn%d", i+1), x))
	}
	return n.maxPool("maxpool", x, 3, 2)
}

// residual adds a block and its shortcut, which is a 1x1 convolution where the
// size or the number of channels changes.
func residual(n *network, path string, x value, block residualBlock, planes, stride int, s stage) value {
	y := block.build(n, path, x, planes, stride, s)
	shortcut := x
	if stride != 1 || x.channels != y.channels {
		step, _ := s.layout(stride)
		shortcut = n.conv(path+".downsample.0", x, convolution{outputs: y.channels, kernel: 1, stride: step})
		shortcut = n.norm(path+".downsample.1", shortcut)
	}
	return n.relu(path+".relu", n.add(path+".add", y, shortcut))
}
