package onnx

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
)

// load reads a shared model.
func load(t testing.TB, elem ...string) *Model {
	t.Helper()
	m, err := Load(testutil.SharedDir(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// backbones are the files that Import has to understand.
var backbones = []struct {
	folder   string
	files    []string
	channels [4]int
	strides  [4]int // at output stride 32
	params   int    // stored tensors that training may change, of a file that keeps BatchNormalization
	exact    bool   // windows are centred: dilation is exact at the borders too
	height   int    // of the picture to compare at
}{
	{"torchvision/resnet18", torchvisionFiles, [4]int{8, 16, 32, 64}, [4]int{4, 8, 16, 32}, 100, true, 96},
	{"torchvision/resnet18_dedup", []string{"evalkeep_op13"}, [4]int{8, 16, 32, 64}, [4]int{4, 8, 16, 32}, 100, true, 96},
	{"torchvision/mobilenet_v2", torchvisionFiles, [4]int{6, 8, 24, 80}, [4]int{4, 8, 16, 32}, 255, true, 96},
	{"torchvision/shufflenet_v2_x0_5", torchvisionFiles, [4]int{12, 24, 48, 96}, [4]int{4, 8, 16, 32}, 0, true, 96},
	{"onnx/backbone", []string{"mobilenetv2_in1k_fp32_dequant"}, [4]int{24, 32, 96, 320}, [4]int{4, 8, 16, 32}, 102, true, 96},
	{"onnx/backbone", []string{"squeezenet_in1k_fp32_from_fp16"}, [4]int{64, 128, 256, 512}, [4]int{2, 4, 8, 16}, 50, false, 224},
}

var torchvisionFiles = []string{"evalfold_op13", "evalfold_dyn_op13", "evalkeep_op13", "train_op13", "train_op16", "train_dyn_op13"}

func eachBackbone(t *testing.T, test func(t *testing.T, m *Model, k int, file string)) {
	for k, b := range backbones {
		for _, file := range b.files {
			t.Run(b.folder+"/"+file, func(t *testing.T) {
				test(t, load(t, append(strings.Split(b.folder, "/"), file+".onnx")...), k, file)
			})
		}
	}
}

func TestImportFindsTaps(t *testing.T) {
	eachBackbone(t, func(t *testing.T, m *Model, k int, file string) {
		for _, outputStride := range []int{8, 16, 32} {
			enc, taps, err := Import(m, outputStride)
			if err != nil {
				t.Fatal(err)
			}
			var want []Tap
			for i := range 4 {
				want = append(want, Tap{fmt.Sprint("features_", i), backbones[k].channels[i], min(backbones[k].strides[i], outputStride)})
			}
			if !slices.Equal(taps, want) {
				t.Errorf("output stride %d: %v, want %v", outputStride, taps, want)
			}
			in := enc.Inputs()
			if len(in) != 1 || in[0].GetName() != "image" || declared(in[0]).String() != "float32(N,3,H,W)" {
				t.Errorf("inputs %v", in)
			}
			read := map[string]int{}
			for _, n := range enc.Graph.Node {
				if op := OpName(n); op == "Gemm" || op == "Softmax" || op == "GlobalAveragePool" {
					t.Errorf("the classifier's %s is left", op)
				}
				if OpName(n) == "BatchNormalization" && (len(n.Output) != 1 || Attr(n, "training_mode") != nil) {
					t.Errorf("%s is in training mode", NodeName(n))
				}
				for _, name := range n.Input {
					read[name]++
				}
			}
			params := 0
			for _, p := range enc.Graph.Initializer {
				if !strings.HasPrefix(p.GetName(), "encoder.") {
					t.Errorf("parameter %q", p.GetName())
				}
				if isParam(p) {
					params++
					if read[p.GetName()] != 1 {
						t.Errorf("parameter %q is read %d times", p.GetName(), read[p.GetName()])
					}
				}
			}
			if b := backbones[k]; b.params > 0 && !strings.HasPrefix(file, "evalfold") && params != b.params {
				t.Errorf("%d parameters, want %d", params, b.params)
			}
		}
	})
}

// features runs an encoder.
func features(t *testing.T, enc *Model, n, h, w int) map[string]ort.Tensor {
	t.Helper()
	return runORT(t, enc, map[string]ort.Tensor{"image": ort.New(noise(n*3*h*w, 11), n, 3, h, w)})
}

// At every size the encoder's maps are those that the backbone computes on its
// way to the classifier.
func TestImportKeepsValues(t *testing.T) {
	eachBackbone(t, func(t *testing.T, m *Model, k int, file string) {
		enc, _, err := Import(m, 32)
		if err != nil {
			t.Fatal(err)
		}
		// The same maps in the file as it is, at the size it was exported for.
		whole := shell(m)
		dropStoredInputs(whole)
		if whole, err = Upgrade(whole, importOpset); err != nil {
			t.Fatal(err)
		}
		plainBatchNorm(whole)
		storeConstants(whole)
		sizes := concrete(whole, 96)
		var input string
		for input = range sizes {
		}
		s := sizes[input]
		free, _, err := freed(whole)
		if err != nil {
			t.Fatal(err)
		}
		f, err := newFlow(free)
		if err != nil {
			t.Fatal(err)
		}
		names, err := f.taps()
		if err != nil {
			t.Fatal(err)
		}
		whole.Graph.Output = nil
		for _, name := range names {
			whole.Graph.Output = append(whole.Graph.Output, declare(name, Info{DType: f.values[name].DType}))
		}
		whole.Graph.ValueInfo = nil
		whole.IrVersion = 8
		got := features(t, enc, s[0], s[2], s[3])
		want := runORT(t, whole, map[string]ort.Tensor{input: ort.New(noise(s[0]*3*s[2]*s[3], 11), s...)})
		for i, name := range names {
			a, b := got[fmt.Sprint("features_", i)], want[name]
			if !slices.Equal(a.Shape, b.Shape) {
				t.Fatalf("features_%d is %v, %s is %v", i, a.Shape, name, b.Shape)
			}
			if d := differ(a.Data.([]float32), b.Data.([]float32)); d > 1e-6 {
				t.Errorf("features_%d differs from %s by %g", i, name, d)
			}
		}
	})
}

// Fixed and dynamic files, folded or not, of every opset give one encoder: the
// same maps at a size that no file was exported for. (Files exported for
// training hold other running statistics: writing them took training steps.)
func TestImportForgetsTheExportMode(t *testing.T) {
	for _, folder := range []string{"resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"} {
		t.Run(folder, func(t *testing.T) {
			var first map[string]ort.Tensor
			for k, file := range torchvisionFiles {
				if k == 3 { // the training files begin
					first = nil
				}
				enc, _, err := Import(load(t, "torchvision", folder, file+".onnx"), 8)
				if err != nil {
					t.Fatal(err)
				}
				got := features(t, enc, 3, 80, 112)
				if first == nil {
					first = got
					continue
				}
				for name, want := range first {
					if !slices.Equal(got[name].Shape, want.Shape) {
						t.Fatalf("%s: %s is %v, want %v", file, name, got[name].Shape, want.Shape)
					}
					// Folded BatchNormalization rounds differently.
					if d := differ(got[name].Data.([]float32), want.Data.([]float32)); d > 2e-5 {
						t.Errorf("%s: %s differs by %g", file, name, d)
					}
				}
			}
		})
	}
}

// Every r-th pixel of a dilated map is the pixel of the map with its strides.
func TestDilateKeepsSamples(t *testing.T) {
	eachBackbone(t, func(t *testing.T, m *Model, k int, file string) {
		b := backbones[k]
		if strings.HasPrefix(file, "evalfold") || strings.HasSuffix(file, "dyn_op13") {
			return // the same windows
		}
		plain, plainTaps, err := Import(m, 32)
		if err != nil {
			t.Fatal(err)
		}
		h, w := b.height, b.height+64
		want := features(t, plain, 1, h, w)
		for _, outputStride := range []int{4, 8, 16} {
			dilated, taps, err := Import(m, outputStride)
			if err != nil {
				t.Fatal(err)
			}
			got := features(t, dilated, 1, h, w)
			for i, tap := range taps {
				step := plainTaps[i].Stride / tap.Stride
				a, p := got[tap.Name], want[tap.Name]
				margin := 0
				if !b.exact {
					// Windows without padding end before the right and lower
					// border; each 3x3 behind them takes that one further.
					margin = 6
				}
				if p.Shape[2] <= margin || p.Shape[3] <= margin {
					t.Fatalf("%s is only %v", tap.Name, p.Shape)
				}
				var x, y []float32
				for c := range p.Shape[1] {
					for i := 0; i < p.Shape[2]-margin; i++ {
						for j := 0; j < p.Shape[3]-margin; j++ {
							x = append(x, a.Data.([]float32)[(c*a.Shape[2]+i*step)*a.Shape[3]+j*step])
							y = append(y, p.Data.([]float32)[(c*p.Shape[2]+i)*p.Shape[3]+j])
						}
					}
				}
				if d := differ(x, y); d > 5e-6 {
					t.Errorf("output stride %d: %s differs by %g", outputStride, tap.Name, d)
				}
				if b.exact && (a.Shape[2] != h/tap.Stride || a.Shape[3] != w/tap.Stride) {
					t.Errorf("output stride %d: %s is %v", outputStride, tap.Name, a.Shape)
				}
			}
		}
	})
}

// A head of matrix products over a flattened map fits one size; the encoder in
// front of it fits every size.
func TestImportDropsAHeadForOneSize(t *testing.T) {
	m := build(t, 11, func(b *Builder) {
		x := b.Input("picture", float32Type, 1, 3, 32, 32)
		for i, c := range []int{8, 8, 16, 16, 32} {
			in := []int{3, 8, 8, 16, 16}[i]
			w := b.Initializer(NewFloats(fmt.Sprint("w", i), []int{c, in, 3, 3}, noise(c*in*9, uint32(i))))
			x = b.Op("Conv", fmt.Sprint("conv", i), []string{x, w}, IntsAttr("pads", 1, 1, 1, 1))
			x = b.Op("Relu", fmt.Sprint("relu", i), []string{x})
			x = b.Op("MaxPool", fmt.Sprint("pool", i), []string{x}, IntsAttr("kernel_shape", 2, 2), IntsAttr("strides", 2, 2))
		}
		x = b.Op("Flatten", "flat", []string{x})
		b.Op("Gemm", "logits", []string{x, b.Initializer(NewFloats("fc", []int{32, 5}, noise(160, 9)))})
		b.Output("logits", float32Type, 1, 5)
	})
	enc, taps, err := Import(m, 16)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(taps); got != "[{features_0 16 4} {features_1 16 8} {features_2 32 16} {features_3 32 16}]" {
		t.Errorf("taps %s", got)
	}
	if got := features(t, enc, 2, 64, 48)["features_3"].Shape; !slices.Equal(got, []int{2, 32, 4, 3}) {
		t.Errorf("shape %v", got)
	}
	if text, ok := enc.Metadata(TapsKey); !ok || text != `[{"name":"features_0","channels":16,"stride":4},{"name":"features_1","channels":16,"stride":8},{"name":"features_2","channels":32,"stride":16},{"name":"features_3","channels":32,"stride":16}]` {
		t.Errorf("metadata %s", text)
	}
}

func TestImportRefuses(t *testing.T) {
	for file, says := range map[string]string{
		"cnn/espcn_subpixel_float.onnx":      "no backbone was recognised",
		"cnn/blazeface_front.onnx":           "channels were expected on axis 1",
		"cnn/fastestdet.onnx":                "is baked in",
		"quant/mobilenetv2_int8_matias.onnx": "no backbone was recognised",
		"edge/superres_prepost_op18.onnx":    "input",
	} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, _, err := Import(load(t, append([]string{"onnx"}, strings.Split(file, "/")...)...), 8)
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want an *Error that says %q", err, says)
			}
		})
	}
	if _, _, err := Import(load(t, "torchvision", "resnet18", "evalkeep_op13.onnx"), 12); !errors.Is(err, ErrInvalid) {
		t.Errorf("output stride 12: %v", err)
	}
}
