package native

// lane is one axis of a gather.
type lane struct {
	src, out      int
	step          int
	offset        []int // of each tap, ascending
	filter        []int // filter position of each tap
	dst           int   // length of the destination axis
	dst0, dstStep int   // destination position of output 0, and of the next
}

// reach returns the lowest and highest source position of outputs lo to hi-1.
func (l *lane) reach(lo, hi int) (first, last int) {
	if len(l.offset) == 0 {
		return lo * l.step, lo * l.step
	}
	return lo*l.step + l.offset[0], (hi-1)*l.step + l.offset[len(l.offset)-1]
}

func (l *lane) inside() bool {
	first, last := l.reach(0, l.out)
	return first >= 0 && last < l.src
}

// plain reports whether the axis maps position i to position i.
func (l *lane) plain() bool {
	return len(l.offset) == 1 && l.offset[0] == 0 && l.step == 1 && l.dstStep == 1 && l.dst0 == 0 && l.src == l.out && l.dst == l.out
}

// forwardLane is an axis of a convolution.
func forwardLane(in, out, k, stride, dilation, before int) lane {
	l := lane{src: in, out: out, step: stride, dst: out, dstStep: 1}
	for t := range k {
		l.offset = append(l.offset, t*dilation-before)
		l.filter = append(l.filter, t)
	}
	return l
}

// backwardLanes are the phases of an axis of its gradient.
func backwardLanes(in, out, k, stride, dilation, before int) []lane {
	var lanes []lane
	for phase := range min(stride, in) {
		l := lane{src: out, out: ceilDiv(in-phase, stride), step: 1, dst: in, dst0: phase, dstStep: stride}
		for t := k - 1; t >= 0; t-- {
			at := phase + before - t*dilation
			if at%stride == 0 {
				l.offset = append(l.offset, at/stride)
				l.filter = append(l.filter, t)
			}
		}
		lanes = append(lanes, l)
	}
	return lanes
}

// valid lists, for every output of an axis, the taps that fall inside.
func (l *lane) valid() [][2]int {
	v := make([][2]int, l.out)
	for i := range v {
		lo, hi := 0, len(l.offset)
		for lo < hi && i*l.step+l.offset[lo] < 0 {
			lo++
		}
		for hi > lo && i*l.step+l.offset[hi-1] >= l.src {
			hi--
		}
		v[i] = [2]int{lo, hi}
	}
	return v
}
