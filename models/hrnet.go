package models

import (
	"fmt"
	"math"
)

// Paper: Wang, Sun, Cheng, Jiang, Deng, Zhao, Liu, Mu, Tan, Wang, Liu, Xiao,
// "Deep High-Resolution Representation Learning for Visual Recognition", 2019.

// highResolutionStage is a row of the paper's table: so many modules, each of
// one branch for every width, at strides 4, 8, 16, ...
type highResolutionStage struct {
	modules int
	widths  []int
}

// highResolutionStagesW48 are the stages behind the first.
var highResolutionStagesW48 = []highResolutionStage{
	{1, []int{48, 96}},
	{4, []int{48, 96, 192}},
	{3, []int{48, 96, 192, 384}},
}

// highResolutionBlocks is how many basic blocks a branch has in a module, and
// how many bottlenecks the first stage.
const highResolutionBlocks = 4

var (
	// highResolutionInit is PyTorch's own for a convolution: evenly spread
	// within 1 / sqrt(fan in).
	highResolutionInit = initialisation{
		convStd: func(fanIn, _, _ int) float64 { return 1 / math.Sqrt(3*float64(fanIn)) }, uniform: true,
	}
	// highResolutionMomentum is the weight of the old running value that the
	// reference trains this network with, unlike the others.
	highResolutionMomentum float32 = 0.9
)

// highResolution describes a network that keeps a branch at stride 4 from end
// to end and exchanges with coarser ones. Its taps are its four stages, each
// with its branches joined at stride 4: the last is the feature map the
// reference has, the others serve decoders that read more than one.
func highResolution(name string, stages []highResolutionStage) encoder {
	e := encoder{name: name, taps: []string{fmt.Sprintf("layer1.%d.relu", highResolutionBlocks-1)}, strides: []int{4, 4, 4, 4},
		init: highResolutionInit, momentum: highResolutionMomentum}
	for i := range stages {
		e.taps = append(e.taps, fmt.Sprintf("stage%d.concat", i+2))
	}
	for _, w := range stages[len(stages)-1].widths {
		e.channels += w
	}
	e.build = func(n *network, image value, width int) []value {
		size := n.sizes("exchange")
		x := image
		for i := 1; i <= 2; i++ {
			x = n.conv(fmt.Sprintf("conv%d", i), x, convolution{outputs: narrow(64, width), kernel: 3, stride: 2})
			x = n.relu(fmt.Sprintf("relu%d", i), n.norm(fmt.Sprintf("bn%d", i), x))
		}
		for j := range highResolutionBlocks {
			x = residual(n, fmt.Sprintf("layer1.%d", j), x, bottleneck, narrow(64, width), 1, stage{})
		}
		branches, taps := []value{x}, []value{x}
		for i, row := range stages {
			widths := make([]int, len(row.widths))
			for j, w := range row.widths {
				widths[j] = narrow(w, width)
			}
			branches = transition(n, fmt.Sprintf("transition%d", i+1), branches, widths)
			path := fmt.Sprintf("stage%d", i+2)
			for k := range row.modules {
				branches = highResolutionModule(n, size, fmt.Sprintf("%s.%d", path, k), branches)
			}
			taps = append(taps, joinBranches(n, size, path, branches))
		}
		return taps
	}
	return e
}

// transition brings the branches of a stage to the widths of the next and adds
// coarser ones, made from the coarsest there is.
func transition(n *network, path string, branches []value, widths []int) []value {
	next := make([]value, len(widths))
	for i, w := range widths {
		to := fmt.Sprintf("%s.%d", path, i)
		switch {
		case i >= len(branches):
			x := branches[len(branches)-1]
			for k := len(branches); k <= i; k++ {
				outputs := x.channels
				if k == i {
					outputs = w
				}
				x = n.convNormRelu(fmt.Sprintf("%s.%d", to, k-len(branches)), 0, x, convolution{outputs: outputs, kernel: 3, stride: 2})
			}
			next[i] = x
		case branches[i].channels != w:
			next[i] = n.convNormRelu(to, 0, branches[i], convolution{outputs: w, kernel: 3})
		default:
			next[i] = branches[i]
		}
	}
	return next
}

// highResolutionModule deepens every branch and then gives each the sum of
// all, brought to its resolution and width.
func highResolutionModule(n *network, size *sizes, path string, branches []value) []value {
	deep := make([]value, len(branches))
	for i, x := range branches {
		for j := range highResolutionBlocks {
			x = residual(n, fmt.Sprintf("%s.branches.%d.%d", path, i, j), x, basicBlock, x.channels, 1, stage{})
		}
		deep[i] = x
	}
	fused := make([]value, len(branches))
	for i := range deep {
		to := fmt.Sprintf("%s.fuse_layers.%d", path, i)
		sum := exchange(n, size, to+".0", deep, 0, i)
		for j := 1; j < len(deep); j++ {
			from := fmt.Sprintf("%s.%d", to, j)
			sum = n.add(from+".add", sum, exchange(n, size, from, deep, j, i))
		}
		fused[i] = n.relu(to+".relu", sum)
	}
	return fused
}

// exchange brings branch from to the resolution and width of branch to: down
// by 3x3 convolutions of stride 2, the last of which changes the width; up by
// a 1x1 convolution and interpolation.
func exchange(n *network, size *sizes, path string, branches []value, from, to int) value {
	x, like := branches[from], branches[to]
	if from > to {
		x = n.norm(path+".1", n.conv(path+".0", x, convolution{outputs: like.channels, kernel: 1}))
		return size.resizeLike(path+".resize", x, like)
	}
	for k := from; k < to; k++ {
		step := fmt.Sprintf("%s.%d", path, k-from)
		if k == to-1 {
			x = n.norm(step+".1", n.conv(step+".0", x, convolution{outputs: like.channels, kernel: 3, stride: 2}))
			break
		}
		x = n.convNormRelu(step, 0, x, convolution{outputs: x.channels, kernel: 3, stride: 2})
	}
	return x
}

// joinBranches concatenates the branches at the resolution of the finest.
func joinBranches(n *network, size *sizes, path string, branches []value) value {
	levels := []value{branches[0]}
	for i, x := range branches[1:] {
		levels = append(levels, size.resizeLike(fmt.Sprintf("%s.resize%d", path, i+1), x, branches[0]))
	}
	return n.concat(path+".concat", levels...)
}
