package native

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// layer is a 3 by 3 convolution of stride 1 that keeps the size of its image.
func layer(n, c, h, w, o, dilation int) kernel.Geometry {
	return kernel.Geometry{N: n, C: c, H: h, W: w, O: o, OH: h, OW: w, KH: 3, KW: 3, StrideH: 1, StrideW: 1,
		DilationH: dilation, DilationW: dilation, PadTop: dilation, PadLeft: dilation, PadBottom: dilation, PadRight: dilation, Groups: 1}
}

// compileWinograd compiles a convolution by Winograd's method, whether or not
// it is the faster one.
func compileWinograd(dev *Device, desc kernel.Desc) kernel.Kernel {
	p := newProgram(dev, desc)
	w, _ := dev.planWinograd(desc)
	if m, mixed := desc.(kernel.Mixed); mixed {
		desc = m.Desc
	}
	switch c := desc.(type) {
	case kernel.Conv:
		w.conv(p, c)
	case kernel.ConvBackwardData:
		w.convBackwardData(p)
	case kernel.ConvBackwardFilter:
		w.convBackwardFilter(p)
	}
	return p
}

// directions are the three convolutions of a geometry.
func directions(g kernel.Geometry) map[string]kernel.Desc {
	return map[string]kernel.Desc{
		"forward": kernel.Conv{Geometry: g}, "data": kernel.ConvBackwardData{Geometry: g}, "filter": kernel.ConvBackwardFilter{Geometry: g},
		"fused": kernel.Conv{Geometry: g, Bias: true, Act: kernel.Clip{On: true, Lo: -1, Hi: float32(math.Inf(1))}},
	}
}

// results runs a kernel on fixed pseudo-random numbers and returns its output.
// The arguments start out as fill, so that what is read before it is written
// shows.
func results(t *testing.T, desc kernel.Desc, k kernel.Kernel, fill float32, change func(args []kernel.Buffer)) []float32 {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	args := buffers(desc, k)
	inputs := len(desc.Args()) - 1
	for i, a := range args {
		x := host.Float32(a)
		for j := range x {
			x[j] = fill
			if i < inputs {
				x[j] = float32(rng.NormFloat64())
			}
		}
	}
	if change != nil {
		change(args)
	}
	if err := k.Run(args); err != nil {
		t.Fatal(err)
	}
	return host.Float32(args[inputs])
}

// TestWinogradAgreesWithDefinition compares the two ways where Winograd's is
// hard put: channels that fill no vector, tiles over the edges, dilation wider
// than the image, blocks of every kind.
func TestWinogradAgreesWithDefinition(t *testing.T) {
	valid := layer(2, 20, 9, 10, 19, 1)
	valid.PadTop, valid.PadLeft, valid.PadBottom, valid.PadRight = 0, 0, 0, 0
	valid.OH, valid.OW = 7, 8
	beyond := layer(1, 8, 4, 4, 9, 1)
	beyond.OH, beyond.OW = 9, 7
	uneven := layer(1, 17, 8, 9, 16, 2)
	uneven.PadTop, uneven.PadLeft, uneven.OH, uneven.OW = 3, 0, 8, 5
	geometries := []kernel.Geometry{
		layer(1, 1, 1, 1, 1, 1), layer(2, 5, 6, 3, 33, 1), layer(1, 16, 13, 11, 32, 2), layer(2, 31, 8, 7, 18, 3),
		layer(1, 18, 5, 6, 17, 4), layer(1, 3, 2, 3, 4, 7), layer(1, 300, 5, 4, 530, 1), layer(1, 40, 70, 67, 600, 1), valid, beyond, uneven,
	}
	for _, simd := range []string{"", "avx2", "off"} {
		t.Setenv("GRAFT_SIMD", simd)
		dev := New(3)
		defer dev.Close()
		for _, g := range geometries {
			if simd == "off" && g.FLOPs() > 1e8 {
				continue
			}
			for name, desc := range directions(g) {
				dev.winograd = false
				plain, err := dev.Compile(desc)
				if err != nil {
					t.Fatal(err)
				}
				dev.winograd = true
				nan := float32(math.NaN())
				want := results(t, desc, plain, nan, nil)
				got := results(t, desc, compileWinograd(dev, desc), nan, nil)
				var worst, most float64
				for i, v := range want {
					worst = max(worst, math.Abs(float64(v-got[i])))
					most = max(most, math.Abs(float64(v)))
				}
				if !(worst <= 1e-5*(most+1)) {
					t.Errorf("%s, %s of %+v: differs by %v of at most %v", dev.isa.name, name, g, worst, most)
				}
			}
		}
	}
}

// TestWinogradOnHalf compares convolutions of bfloat16 images with those of the
// same numbers in float32, which TestWinogradAgreesWithDefinition covers: they
// may differ by the last rounding, half a unit of bfloat16.
func TestWinogradOnHalf(t *testing.T) {
	dev := New(3)
	defer dev.Close()
	if dev.isa.half == nil {
		t.Skip("the processor has no instructions for bfloat16")
	}
	dev.winograd = true
	uneven := layer(1, 17, 8, 9, 16, 2)
	uneven.PadTop, uneven.PadLeft, uneven.OH, uneven.OW = 3, 0, 8, 5
	for _, g := range []kernel.Geometry{
		layer(1, 1, 1, 1, 1, 1), layer(2, 5, 6, 3, 33, 1), layer(2, 31, 8, 7, 18, 3), layer(1, 3, 2, 3, 4, 7),
		layer(1, 300, 5, 4, 530, 1), layer(1, 40, 70, 67, 600, 1), uneven,
	} {
		for name, desc := range directions(g) {
			half := mixed(desc)
			plain, narrow := compileWinograd(dev, desc), compileWinograd(dev, half)
			wideArgs, args := buffers(desc, plain), buffers(half, narrow)
			rng := rand.New(rand.NewPCG(9, 10))
			for i, a := range desc.Args() {
				number := func(int) float32 {
					var h [1]uint16
					var x [1]float32
					vecNarrow(h[:], []float32{float32(rng.NormFloat64())})
					vecWiden(x[:], h[:])
					return x[0]
				}
				if a.Dir == kernel.Out {
					number = func(int) float32 { return float32(math.NaN()) }
				}
				write(wideArgs[i], kernel.Float32, number)
				write(args[i], half.DTypes[i], func(j int) float32 { return host.Float32(wideArgs[i])[j] })
			}
			for k, args := range map[kernel.Kernel][]kernel.Buffer{plain: wideArgs, narrow: args} {
				if err := k.Run(args); err != nil {
					t.Fatal(err)
				}
			}
			out := len(half.DTypes) - 1
			want := host.Float32(wideArgs[out])
			got := make([]float32, len(want))
			if half.DTypes[out] == kernel.Float32 {
				copy(got, host.Float32(args[out]))
			} else {
				vecWiden(got, host.Uint16(args[out]))
			}
			for i, v := range want {
				room := 0.0
				if half.DTypes[out] == kernel.BFloat16 {
					room = math.Abs(float64(v)) / 256
				}
				if !(math.Abs(float64(v-got[i])) <= room) {
					t.Errorf("%s of %+v: element %d is %v, in float32 %v", name, g, i, got[i], v)
					break
				}
			}
		}
	}
}

// TestWinogradError holds the error beside that of the definition, for numbers
// as a network has them: images after a ReLU, filters as they are initialised.
// docs/performance.md states what it logs.
func TestWinogradError(t *testing.T) {
	dev := New(0)
	defer dev.Close()
	for _, c := range []int{64, 512, 2560} {
		g := layer(1, c, 16, 16, 16, 1)
		for name, desc := range directions(g) {
			if name == "fused" {
				continue
			}
			var inputs [2][]float64
			nature := func(args []kernel.Buffer) {
				for i := range inputs {
					x := host.Float32(args[i])
					inputs[i] = make([]float64, len(x))
					for j := range x {
						if desc.Args()[i].Name == "x" {
							x[j] = max(x[j], 0)
						}
						inputs[i][j] = float64(x[j])
					}
				}
			}
			dev.winograd = false
			plain, err := dev.Compile(desc)
			if err != nil {
				t.Fatal(err)
			}
			dev.winograd = true
			direct := results(t, desc, plain, 0, nature)
			fast := results(t, desc, compileWinograd(dev, desc), 0, nature)
			want := make([]float64, len(direct))
			for oh := range g.OH {
				for ow := range g.OW {
					for k := range 9 {
						h, w := oh+k/3-1, ow+k%3-1
						if h < 0 || w < 0 || h >= g.H || w >= g.W {
							continue
						}
						x, y := (h*g.W+w)*g.C, (oh*g.OW+ow)*g.O
						for o := range g.O {
							f := (o*9 + k) * g.C
							for i := range g.C {
								switch name {
								case "forward":
									want[y+o] += inputs[0][x+i] * inputs[1][f+i]
								case "data":
									want[x+i] += inputs[0][y+o] * inputs[1][f+i]
								case "filter":
									want[f+i] += inputs[0][x+i] * inputs[1][y+o]
								}
							}
						}
					}
				}
			}
			var size, a, b, maxA, maxB float64
			for i, v := range want {
				size += v * v
				u, w := float64(direct[i])-v, float64(fast[i])-v
				a, b = a+u*u, b+w*w
				maxA, maxB = max(maxA, math.Abs(u)), max(maxB, math.Abs(w))
			}
			size = math.Sqrt(size / float64(len(want)))
			a, b = math.Sqrt(a/float64(len(want)))/size, math.Sqrt(b/float64(len(want)))/size
			t.Logf("%d channels, %s: error %.2g (at most %.2g), by the definition %.2g (%.2g)", c, name, b, maxB/size, a, maxA/size)
			if !(b <= 3*a) {
				t.Errorf("%d channels, %s: error %.2g of the numbers' size, by the definition %.2g", c, name, b, a)
			}
		}
	}
}

// TestWinogradKeepsNaN checks that an output which depends on a NaN is NaN and
// that one which is infinite is not finite, even through a fused activation.
func TestWinogradKeepsNaN(t *testing.T) {
	g := layer(1, 16, 9, 9, 16, 1)
	for _, simd := range []string{"", "avx2", "off"} {
		t.Setenv("GRAFT_SIMD", simd)
		dev := New(2)
		defer dev.Close()
		for name, desc := range directions(g) {
			for _, bad := range []float64{math.NaN(), math.Inf(1)} {
				for input := range 2 {
					spoil := func(args []kernel.Buffer) { x := host.Float32(args[input]); x[len(x)/2+3] = float32(bad) }
					dev.winograd = false
					plain, err := dev.Compile(desc)
					if err != nil {
						t.Fatal(err)
					}
					dev.winograd = true
					want := results(t, desc, plain, 0, spoil)
					got := results(t, desc, compileWinograd(dev, desc), 0, spoil)
					lost, spoiled := 0, 0
					for i, v := range want {
						if v != v || math.IsInf(float64(v), 0) {
							spoiled++
							if u := float64(got[i]); !math.IsNaN(u) && !math.IsInf(u, 0) {
								lost++
							}
						}
					}
					if lost > 0 || spoiled == 0 && name != "fused" {
						t.Errorf("%s, %s with %v in argument %d: %d of %d outputs hide it", dev.isa.name, name, bad, input, lost, spoiled)
					}
				}
			}
		}
	}
}

// TestWinogradIsChosen pins the choice down at both ends, and the switch.
func TestWinogradIsChosen(t *testing.T) {
	strided := layer(2, 256, 32, 32, 256, 1)
	strided.StrideH = 2
	grouped := layer(2, 256, 32, 32, 256, 1)
	grouped.Groups = 2
	for _, c := range []struct {
		name     string
		g        kernel.Geometry
		winograd bool
	}{
		{"many channels", layer(2, 256, 32, 32, 256, 1), true},
		{"dilated", layer(2, 256, 32, 32, 256, 2), true},
		{"three channels", layer(2, 3, 224, 224, 64, 1), false},
		{"hardly a tile", layer(1, 18, 5, 6, 17, 4), false},
		{"strided", strided, false},
		{"grouped", grouped, false},
	} {
		for _, way := range []string{"", "off"} {
			t.Setenv("GRAFT_WINOGRAD", way)
			dev := New(2)
			defer dev.Close()
			for name, desc := range directions(c.g) {
				for _, d := range []kernel.Desc{desc, mixed(desc)} {
					_, half := d.(kernel.Mixed)
					tiles := half && dev.isa.half != nil && dev.isa.half.amx
					if got, want := dev.PrefersWinograd(d), c.winograd && way == "" && !tiles; got != want {
						t.Errorf("%s, %s, %T, GRAFT_WINOGRAD=%q: Winograd is chosen: %v", c.name, name, d, way, got)
					}
				}
			}
		}
	}
}

// mixed is a convolution whose images are bfloat16.
func mixed(desc kernel.Desc) kernel.Mixed {
	m := kernel.Mixed{Desc: desc}
	for _, a := range desc.Args() {
		if a.Name != "w" && a.Name != "dw" && a.Name != "bias" {
			a.DType = kernel.BFloat16
		}
		m.DTypes = append(m.DTypes, a.DType)
	}
	return m
}

// write fills a buffer with numbers.
func write(b kernel.Buffer, t kernel.DType, number func(i int) float32) {
	if t == kernel.Float32 {
		for i := range host.Float32(b) {
			host.Float32(b)[i] = number(i)
		}
		return
	}
	for i := range host.Uint16(b) {
		vecNarrow(host.Uint16(b)[i:i+1], []float32{number(i)})
	}
}

// BenchmarkWinograd compares the two ways on layers of ResNet18dilated with
// ppm_deepsup, of ResNet50 with UPerNet, and of a ResNet-18 classifier. GFLOP/s
// counts the products of the definition.
func BenchmarkWinograd(b *testing.B) {
	for _, g := range []kernel.Geometry{
		layer(2, 2560, 30, 40, 512, 1),
		layer(2, 512, 30, 40, 512, 4),
		layer(2, 256, 30, 40, 256, 2),
		layer(2, 128, 30, 40, 128, 1),
		layer(2, 64, 60, 80, 64, 1),
		layer(2, 64, 120, 160, 128, 1),
		layer(2, 2048, 64, 64, 512, 1),
		layer(2, 512, 64, 64, 512, 1),
		layer(2, 512, 8, 8, 512, 1),
		layer(8, 64, 56, 56, 64, 1),
		layer(8, 128, 28, 28, 128, 1),
		layer(8, 256, 14, 14, 256, 1),
		layer(8, 512, 7, 7, 512, 1),
	} {
		for _, pass := range []struct {
			name string
			desc kernel.Desc
		}{
			{"forward", kernel.Conv{Geometry: g}},
			{"data", kernel.ConvBackwardData{Geometry: g}},
			{"filter", kernel.ConvBackwardFilter{Geometry: g}},
		} {
			half := mixed(pass.desc)
			for _, way := range []struct {
				name     string
				desc     kernel.Desc
				winograd bool
			}{{"off", pass.desc, false}, {"on", pass.desc, true}, {"bf16-off", half, false}, {"bf16-on", half, true}} {
				name := fmt.Sprintf("%dx%dto%d_%dx%d_d%d/%s/%s", g.N, g.C, g.O, g.H, g.W, g.DilationH, pass.name, way.name)
				b.Run(name, func(b *testing.B) {
					dev := New(0)
					defer dev.Close()
					dev.winograd = way.winograd
					k, err := dev.Compile(way.desc)
					if way.winograd {
						k = compileWinograd(dev, way.desc)
					}
					if err != nil {
						b.Fatal(err)
					}
					args := buffers(way.desc, k)
					for i, a := range args[:2] {
						write(a, way.desc.Args()[i].DType, func(j int) float32 { return float32(j%7) - 3 })
					}
					fastest := math.Inf(1)
					for b.Loop() {
						start := time.Now()
						if err := k.Run(args); err != nil {
							b.Fatal(err)
						}
						fastest = min(fastest, time.Since(start).Seconds())
					}
					b.ReportMetric(g.FLOPs()*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
					b.ReportMetric(g.FLOPs()/fastest/1e9, "GFLOP/s-at-best")
					b.ReportMetric(float64(k.Scratch())/1e6, "MB-scratch")
				})
			}
		}
	}
}
