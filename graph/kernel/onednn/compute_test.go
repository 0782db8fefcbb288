package onednn

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// openDevice returns a device of oneDNN, or skips. GRAFT_WANT_ONEDNN names the
// generation that must be there: then its absence is a failure.
func openDevice(t testing.TB, threads int) *Device {
	t.Helper()
	want := os.Getenv("GRAFT_WANT_ONEDNN")
	d, err := New(threads)
	if err != nil {
		if want != "" {
			t.Fatalf("GRAFT_WANT_ONEDNN=%s: %v", want, err)
		}
		t.Skipf("skipped: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	if want != "" && want != strconv.Itoa(d.lib.version.Major) {
		t.Fatalf("oneDNN %v, GRAFT_WANT_ONEDNN=%s", d.lib.version, want)
	}
	return d
}

// geometry makes a square convolution with "same" padding.
func geometry(n, c, size, o, k, stride, dilation, groups int) kernel.Geometry {
	pad := dilation * (k - 1) / 2
	out := (size+2*pad-dilation*(k-1)-1)/stride + 1
	return kernel.Geometry{
		N: n, C: c, H: size, W: size, O: o, OH: out, OW: out, KH: k, KW: k,
		StrideH: stride, StrideW: stride, DilationH: dilation, DilationW: dilation,
		PadTop: pad, PadLeft: pad, PadBottom: pad, PadRight: pad, Groups: groups,
	}
}

// geometries are those that oneDNN must have vector code for, forward and
// backward, on any processor with AVX2.
func geometries() map[string]kernel.Geometry {
	uneven := geometry(2, 16, 9, 24, 3, 2, 1, 1)
	uneven.W, uneven.KW, uneven.PadLeft, uneven.PadRight = 12, 5, 1, 2
	uneven.OW = (uneven.W+3-uneven.KW)/2 + 1
	return map[string]kernel.Geometry{
		"3x3":             geometry(2, 32, 10, 48, 3, 1, 1, 1),
		"3x3 stride 2":    geometry(2, 32, 11, 32, 3, 2, 1, 1),
		"3x3 even size":   geometry(2, 32, 12, 32, 3, 2, 1, 1),
		"3x3 dilation 2":  geometry(1, 32, 13, 32, 3, 1, 2, 1),
		"1x1":             geometry(2, 40, 7, 24, 1, 1, 1, 1),
		"1x1 stride 2":    geometry(2, 32, 9, 16, 1, 2, 1, 1),
		"1x1 on 1 pixel":  geometry(1, 64, 1, 32, 1, 1, 1, 1),
		"odd channels":    geometry(1, 33, 8, 19, 3, 1, 1, 1),
		"image":           geometry(1, 3, 21, 16, 7, 2, 1, 1),
		"groups":          geometry(1, 64, 7, 64, 3, 1, 1, 2),
		"depthwise":       geometry(2, 32, 9, 32, 3, 1, 1, 32),
		"depthwise s2":    geometry(1, 24, 10, 24, 3, 2, 1, 24),
		"asymmetric pads": uneven,
	}
}

// values fills a buffer with reproducible numbers of about unit size.
func values(b kernel.Buffer, rng *rand.Rand) []float32 {
	v := host.Float32(b)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// runPoisoned runs a program on new buffers; outputs and scratch memory start
// as NaN, so anything not written shows.
func runPoisoned(t *testing.T, p *program, rng *rand.Rand) [][]float32 {
	t.Helper()
	nan := float32(math.NaN())
	var bufs []kernel.Buffer
	var data [][]float32
	for _, a := range p.args {
		b := host.Alloc(a.Size())
		v := host.Float32(b)
		if a.Dir == kernel.In {
			values(b, rng)
		} else {
			for i := range v {
				v[i] = nan
			}
		}
		bufs, data = append(bufs, b), append(data, v)
	}
	if n := p.Scratch(); n > 0 {
		b := host.Alloc(n)
		for i := range host.Float32(b) {
			host.Float32(b)[i] = nan
		}
		bufs = append(bufs, b)
	}
	if err := p.Run(bufs); err != nil {
		t.Fatal(err)
	}
	return data
}

// near fails unless got is want within the rounding of a float32 sum of terms
// products of unit size: 8 ulps of its root mean square.
func near(t *testing.T, what string, got []float32, want []float64, terms int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	tolerance := 8 * math.Sqrt(float64(terms)) * 0x1p-23
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= tolerance*(1+math.Abs(w))) {
			t.Fatalf("%s[%d] = %g, want %g (off by %g, tolerance %g)", what, i, got[i], w, d, tolerance)
		}
	}
}

// eachTap calls f for every product of a convolution, with the indices of x, w
// and y in memory.
func eachTap(g kernel.Geometry, f func(x, w, y int)) {
	ci, co := g.C/g.Groups, g.O/g.Groups
	for n := range g.N {
		for oh := range g.OH {
			for ow := range g.OW {
				for kh := range g.KH {
					for kw := range g.KW {
						ih := oh*g.StrideH - g.PadTop + kh*g.DilationH
						iw := ow*g.StrideW - g.PadLeft + kw*g.DilationW
						if ih < 0 || ih >= g.H || iw < 0 || iw >= g.W {
							continue
						}
						for o := range g.O {
							for i := range ci {
								f(((n*g.H+ih)*g.W+iw)*g.C+o/co*ci+i, ((o*g.KH+kh)*g.KW+kw)*ci+i, ((n*g.OH+oh)*g.OW+ow)*g.O+o)
							}
						}
					}
				}
			}
		}
	}
}

func TestConv(t *testing.T) {
	d := openDevice(t, 2)
	acts := map[string]kernel.Clip{
		"off":   {},
		"relu":  {On: true, Hi: float32(math.Inf(1))},
		"relu6": {On: true, Hi: 6},
		"clip":  {On: true, Lo: -1.5, Hi: 2.5},
		"below": {On: true, Lo: float32(math.Inf(-1)), Hi: 0.5},
	}
	for name, g := range geometries() {
		for act, clip := range acts {
			for _, bias := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/bias=%v", name, act, bias), func(t *testing.T) {
					p := compiled(t, d, kernel.Conv{Geometry: g, Bias: bias, Act: clip})
					data := runPoisoned(t, p, rand.New(rand.NewPCG(1, 2)))
					want := make([]float64, kernel.Len(g.Y()))
					if bias {
						for i := range want {
							want[i] = float64(data[2][i%g.O])
						}
					}
					eachTap(g, func(x, w, y int) { want[y] += float64(data[0][x]) * float64(data[1][w]) })
					if clip.On {
						for i, w := range want {
							want[i] = min(max(w, float64(clip.Lo)), float64(clip.Hi))
						}
					}
					near(t, "y", data[len(data)-1], want, g.C/g.Groups*g.KH*g.KW)
				})
			}
		}
	}
}

func TestConvBackward(t *testing.T) {
	d := openDevice(t, 2)
	for name, g := range geometries() {
		t.Run(name+"/data", func(t *testing.T) {
			p := compiled(t, d, kernel.ConvBackwardData{Geometry: g})
			data := runPoisoned(t, p, rand.New(rand.NewPCG(3, 4)))
			want := make([]float64, kernel.Len(g.X()))
			eachTap(g, func(x, w, y int) { want[x] += float64(data[0][y]) * float64(data[1][w]) })
			near(t, "dx", data[2], want, g.O/g.Groups*g.KH*g.KW)
		})
		t.Run(name+"/filter", func(t *testing.T) {
			p := compiled(t, d, kernel.ConvBackwardFilter{Geometry: g})
			data := runPoisoned(t, p, rand.New(rand.NewPCG(5, 6)))
			want := make([]float64, kernel.Len(g.Filter()))
			eachTap(g, func(x, w, y int) { want[w] += float64(data[0][x]) * float64(data[1][y]) })
			near(t, "dw", data[2], want, g.N*g.OH*g.OW)
		})
	}
}

func TestMatMul(t *testing.T) {
	d := openDevice(t, 2)
	for _, shape := range []kernel.MatMul{{Batch: 1, M: 17, N: 33, K: 40}, {Batch: 3, M: 16, N: 24, K: 9}, {Batch: 2, M: 1, N: 7, K: 64}} {
		for bits := range 16 {
			m := shape
			m.TransA, m.TransB, m.SharedA, m.SharedB = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
			t.Run(fmt.Sprintf("%+v", m), func(t *testing.T) {
				p, err := d.compileMatMul(m)
				if m.SharedA && m.SharedB && m.Batch > 1 {
					// The same product again and again: oneDNN refuses it.
					if !errors.Is(err, kernel.ErrUnsupported) {
						t.Fatalf("error %v, want one that sends it to the native device", err)
					}
					return
				}
				if _, slow := err.(*SlowError); slow {
					t.Skipf("skipped: %v", err) // the native device takes it
				}
				if err != nil {
					t.Fatal(err)
				}
				data := runPoisoned(t, p, rand.New(rand.NewPCG(7, 8)))
				near(t, "y", data[2], product(m, data[0], data[1]), m.K)
			})
		}
	}
}

// product is MatMul in the plainest way.
func product(m kernel.MatMul, a, b []float32) []float64 {
	y := make([]float64, m.Batch*m.M*m.N)
	for n := range m.Batch {
		na, nb := n, n
		if m.SharedA {
			na = 0
		}
		if m.SharedB {
			nb = 0
		}
		for i := range m.M {
			for j := range m.N {
				for k := range m.K {
					ia, ib := na*m.M*m.K+i*m.K+k, nb*m.K*m.N+k*m.N+j
					if m.TransA {
						ia = na*m.M*m.K + k*m.M + i
					}
					if m.TransB {
						ib = nb*m.K*m.N + j*m.K + k
					}
					y[(n*m.M+i)*m.N+j] += float64(a[ia]) * float64(b[ib])
				}
			}
		}
	}
	return y
}

// compiled compiles a description that oneDNN itself must take.
func compiled(t *testing.T, d *Device, desc kernel.Desc) *program {
	t.Helper()
	p, err := d.compile(desc)
	if err != nil {
		t.Fatalf("%+v: %v", desc, err)
	}
	return p
}
