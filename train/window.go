package train

import (
	"slices"

	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// Window has pictures evaluated by parts that overlap, so that memory does not
// grow with the number of classes times the size of the picture: beside the
// picture, a strip of the window's height and the picture's width is held.
//
// Where parts overlap, their probabilities are averaged with weights that fall
// off linearly, from the middle of the window to 1/n at its border, n being
// half its side, in both directions: what is known with least surroundings
// counts least, and no seam shows.
type Window struct {
	Height, Width int     // pixels of the picture at its evaluation size; 0: the whole picture
	Overlap       float64 // share of the window that the next one repeats at least, 0 to below 1
}

// WindowOf takes the window out of a valid configuration.
func WindowOf(v *config.Val) Window {
	w := Window{Overlap: v.Overlap}
	if n := len(v.Window); n > 0 {
		w.Height, w.Width = v.Window[0], v.Window[n-1]
	}
	return w
}

// needed reports whether an input is larger than the window.
func (w Window) needed(item *data.EvalItem) bool {
	return w.Height > 0 && slices.ContainsFunc(item.Inputs, func(in data.Scaled) bool { return in.H > w.Height || in.W > w.Width })
}

// origins places windows of a size along a side, both multiples of m: the
// first at 0, the last at the end.
func origins(side, size, m int, overlap float64) []int {
	step := max(m, int(float64(size)*(1-overlap))/m*m)
	var at []int
	for o := 0; o+size < side; o += step {
		at = append(at, o)
	}
	return append(at, side-size)
}

// tent is the weights along a window's side.
func tent(size int) []float32 {
	w := make([]float32, size)
	for i := range w {
		w[i] = float32(min(i+1, size-i)) / float32((size+1)/2)
	}
	return w
}

// strip evaluates one input by windows, from the top down, and holds the rows
// of class probabilities that are being made.
type strip struct {
	p      *Predictor
	in     data.Scaled
	h, w   int   // of the window
	ys, xs []int // where windows begin
	done   int   // rows of windows done
	top    int   // the first row that is held
	rows   [][]float32
	weight []float32   // of the windows on each row that is held, down
	across []float32   // of all windows on each column
	spare  [][]float32 // rows to be used again
	part   []float32   // a window's input (3,h,w)
	result []float32   // and its probabilities (Classes,h,w)
}

func (p *Predictor) newStrip(in data.Scaled, m int) *strip {
	up := func(n int) int { return (n + m - 1) / m * m }
	s := &strip{p: p, in: in, h: min(up(p.Window.Height), in.H), w: min(up(p.Window.Width), in.W)}
	s.ys, s.xs = origins(in.H, s.h, m, p.Window.Overlap), origins(in.W, s.w, m, p.Window.Overlap)
	s.across = make([]float32, in.W)
	for _, x := range s.xs {
		for i, v := range tent(s.w) {
			s.across[x+i] += v
		}
	}
	s.part, s.result = make([]float32, 3*s.h*s.w), make([]float32, p.Classes*s.h*s.w)
	return s
}

// row returns the probabilities of row y (Classes,W), not yet divided by their
// weights; rows before the one named keep may be dropped.
func (s *strip) row(y, keep int) ([]float32, error) {
	for s.done < len(s.ys) && (s.done == 0 || y >= s.ys[s.done]) {
		for s.top < min(keep, s.ys[s.done]) && len(s.rows) > 0 {
			s.spare = append(s.spare, s.rows[0])
			s.rows, s.weight = s.rows[1:], s.weight[1:]
			s.top++
		}
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	return s.rows[y-s.top], nil
}

// next evaluates the next row of windows.
func (s *strip) next() error {
	y := s.ys[s.done]
	s.done++
	for s.top+len(s.rows) < y+s.h {
		var row []float32
		if n := len(s.spare); n > 0 {
			row, s.spare = s.spare[n-1], s.spare[:n-1]
			clear(row)
		} else {
			row = make([]float32, s.p.Classes*s.in.W)
		}
		s.rows, s.weight = append(s.rows, row), append(s.weight, 0)
	}
	down, side := tent(s.h), tent(s.w)
	for i, v := range down {
		s.weight[y+i-s.top] += v
	}
	for _, x := range s.xs {
		for plane := range 3 * s.h {
			from := (plane/s.h*s.in.H+y+plane%s.h)*s.in.W + x
			copy(s.part[plane*s.w:(plane+1)*s.w], s.in.Image[from:])
		}
		if err := s.p.add(s.result, true, s.part, s.h, s.w, s.h, s.w); err != nil {
			return err
		}
		for plane := range s.p.Classes * s.h {
			i := plane % s.h
			to := s.rows[y+i-s.top][plane/s.h*s.in.W+x:]
			for j, v := range s.result[plane*s.w : (plane+1)*s.w] {
				to[j] += v * down[i] * side[j]
			}
		}
	}
	return nil
}

// addRow adds the probabilities of a row of the picture to sum
// (Classes,width): bilinear between those of the input, corners not aligned,
// as the reference enlarges.
func (s *strip) addRow(sum []float32, y, height, width int) error {
	y0, y1, fy := between(y, height, s.in.H)
	above, err := s.row(y0, y0)
	if err != nil {
		return err
	}
	below, err := s.row(y1, y0)
	if err != nil {
		return err
	}
	wa, wb := (1-fy)/s.weight[y0-s.top], fy/s.weight[y1-s.top]
	for x := range width {
		x0, x1, fx := between(x, width, s.in.W)
		left, right := (1-fx)/s.across[x0], fx/s.across[x1]
		for c := range s.p.Classes {
			a, b := above[c*s.in.W:], below[c*s.in.W:]
			sum[c*width+x] += left*(wa*a[x0]+wb*b[x0]) + right*(wa*a[x1]+wb*b[x1])
		}
	}
	return nil
}

// between returns the two elements of a side of n that element i of a side of
// size lies between, and how far it is from the first.
func between(i, size, n int) (first, second int, share float32) {
	at := min(max((float64(i)+0.5)*float64(n)/float64(size)-0.5, 0), float64(n-1))
	first = int(at)
	return first, min(first+1, n-1), float32(at - float64(first))
}

// windowed returns the classes (H,W) of a picture, evaluated by windows whose
// places are multiples of m. Probabilities of all inputs are averaged, row by
// row.
func (p *Predictor) windowed(item *data.EvalItem, m int) ([]int32, error) {
	strips := make([]*strip, len(item.Inputs))
	for i, in := range item.Inputs {
		strips[i] = p.newStrip(in, m)
	}
	h, w := item.Picture.Height, item.Picture.Width
	classes, sum := make([]int32, 0, h*w), make([]float32, p.Classes*w)
	for y := range h {
		clear(sum)
		for _, s := range strips {
			if err := s.addRow(sum, y, h, w); err != nil {
				return nil, err
			}
		}
		if slices.ContainsFunc(sum[:w], func(v float32) bool { return v != v }) {
			return nil, errNotNumbers
		}
		classes = append(classes, Classify(sum, p.Classes)...)
	}
	return classes, nil
}
