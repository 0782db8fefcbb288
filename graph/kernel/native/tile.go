package native

import "github.com/graft-onnx/graft/graph/kernel"

// tile is one call of the micro-kernel. It computes a block of up to mr rows
// and nr columns of c; b always has nr columns:
//
//	c[i*cRow + j] = clamp(init + sum over r, k of
//	    a[runs[r].a + i*aRow + k*aStep] * b[runs[r].b + k*bStep + j])
//
// for k in [0, steps). All distances are in elements. init is the old c if
// accumulate is set, else bias[j], else 0. The old c is added last: that gives
// it time to come from memory, and sums by blocks lose less to rounding. Assembly reads the fields by name
// and trusts them: whoever fills a tile answers for its bounds. The micro-kernel
// for bfloat16 has words in a and b (half.go); it alone knows half.
type tile struct {
	a, b, c    []float32
	half       []uint16  // takes the result, narrowed, instead of c
	bias       []float32 // one for every column, or nil
	runs       []run
	steps      int
	aRow       int
	aStep      int
	bStep      int
	cRow       int
	rows, cols int // 1 to mr, 1 to nr
	accumulate bool
	clip       bool
	lo, hi     float32
	// Of the micro-kernel that takes any number of rows alone: after line rows
	// come gap rows that are computed and dropped, and c goes on next elements
	// further. It sets how many pieces of a run are summed, where in a the last
	// begins, and the tiles' shapes for most and for the last rows.
	line, gap, next int
	chunks, back    int
	lower           int // rows of the last one or two tiles, if not all are whole
	config, rest    *tileConfig
	// For assembly: the lanes of the last vector of columns, and whether they
	// are all.
	mask  *int32
	whole bool
}

// run is where one stretch of products starts.
type run struct{ a, b int }

// tileGo is the micro-kernel in Go: 4 columns, one row at a time in pairs.
func tileGo(t *tile) {
	for i := 0; i < t.rows; i += 2 {
		pair := i+1 < t.rows
		second := i
		if pair {
			second = i + 1
		}
		var s [2][4]float32
		for r := range s {
			if t.bias != nil && !t.accumulate {
				copy(s[r][:t.cols], t.bias)
			}
		}
		s00, s01, s02, s03 := s[0][0], s[0][1], s[0][2], s[0][3]
		s10, s11, s12, s13 := s[1][0], s[1][1], s[1][2], s[1][3]
		for _, r := range t.runs {
			pa, qa, pb := r.a+i*t.aRow, r.a+second*t.aRow, r.b
			for range t.steps {
				u, v := t.a[pa], t.a[qa]
				b := t.b[pb : pb+4 : pb+4]
				s00 += u * b[0]
				s01 += u * b[1]
				s02 += u * b[2]
				s03 += u * b[3]
				s10 += v * b[0]
				s11 += v * b[1]
				s12 += v * b[2]
				s13 += v * b[3]
				pa, qa, pb = pa+t.aStep, qa+t.aStep, pb+t.bStep
			}
		}
		s = [2][4]float32{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
		for r, row := range [2]int{i, second} {
			if r == 1 && !pair {
				break
			}
			c := t.c[row*t.cRow : row*t.cRow+t.cols]
			for j, v := range s[r][:t.cols] {
				if t.accumulate {
					v += c[j]
				}
				if t.clip {
					v = clamp32(v, t.lo, t.hi)
				}
				c[j] = v
			}
		}
	}
}

// setClip sets the activation that is fused into the tile.
func (t *tile) setClip(c kernel.Clip) { t.clip, t.lo, t.hi = c.On, c.Lo, c.Hi }

// cut returns the i'th of the most equal cuts of n into pieces of at most
// size.
func cut(n, size, i int) (lo, hi int) {
	pieces := (n + size - 1) / size
	return n * i / pieces, n * (i + 1) / pieces
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// roundUp returns the next multiple of b.
func roundUp(a, b int) int { return ceilDiv(a, b) * b }
