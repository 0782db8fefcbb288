package models

// c1 is the smallest decoder: one 3x3 convolution and a classifier behind the
// last tap; with deep supervision the same behind the tap before it.
func c1(name string, deepSupervision bool) decoder {
	return decoder{name: name, deepSupervision: deepSupervision, build: func(n *network, taps []value, classes, _ int) (logits, deep value) {
		last := taps[len(taps)-1]
		x := n.convNormRelu("cbr", 0, last, convolution{outputs: narrow(last.channels, 4), kernel: 3})
		logits = n.conv("conv_last", x, convolution{outputs: classes, kernel: 1, bias: true})
		if deepSupervision {
			deep = n.conv("conv_last_deepsup", deepBranch(n, taps), convolution{outputs: classes, kernel: 1, bias: true})
		}
		return logits, deep
	}}
}

// deepBranch is the 3x3 convolution behind the second last tap; its width
// follows the last tap.
func deepBranch(n *network, taps []value) value {
	last, before := taps[len(taps)-1], taps[len(taps)-2]
	return n.convNormRelu("cbr_deepsup", 0, before, convolution{outputs: narrow(last.channels, 4), kernel: 3})
}
