package export_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// openTrace loads a network of the reference project and frees its batch,
// height and width.
func openTrace(t testing.TB, name string) *onnx.Model {
	t.Helper()
	m := load(t, "reference", name, "model.onnx")
	values := append(m.GetGraph().GetInput(), m.GetGraph().GetOutput()...)
	for _, v := range values {
		for _, i := range []int{0, 2, 3} {
			v.GetType().GetTensorType().GetShape().GetDim()[i].Value = nil
		}
	}
	return m
}

func save(t testing.TB, m *onnx.Model, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := m.Save(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// trained returns an evaluator of the training graph, run by ONNX Runtime.
func trained(t testing.TB, m *onnx.Model) export.Evaluator {
	t.Helper()
	rt, err := ort.Open(testutil.OnnxRuntime(t))
	if err != nil {
		t.Fatal(err)
	}
	e, err := export.NewRuntimeEvaluator(rt, save(t, m, "train.onnx"), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestVerifyPasses(t *testing.T) {
	m := openTrace(t, "mbv2-c1ds")
	reference := trained(t, m)
	for _, head := range export.Heads() {
		for _, layout := range []export.Layout{export.Normalised, export.PixelsNCHW, export.PixelsNHWC} {
			opts := export.DefaultOptions()
			opts.Head, opts.Preprocess = head, layout
			opts.Upsample = layout != export.PixelsNCHW // both kinds of size
			t.Run(string(head)+" "+string(layout), func(t *testing.T) {
				out, err := export.Inference(m, opts)
				if err != nil {
					t.Fatal(err)
				}
				report, err := export.Verify(save(t, out, "deploy.onnx"), reference, export.VerifyOptions{Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				if err := report.Err(); err != nil {
					t.Error(err)
				}
				if len(report.Cases) != 6 {
					t.Errorf("%d cases, want 3 sizes with 2 batches", len(report.Cases))
				}
				for _, c := range report.Cases {
					if want := c.Batch * c.Height * c.Width; opts.Upsample && c.Pixels != want {
						t.Errorf("%d pixels compared, want %d", c.Pixels, want)
					}
				}
				if head != export.ArgMax && (report.MaxAbs == 0 || report.MaxAbs > 2e-5) {
					t.Errorf("largest difference is %v; rounding gives some, and less than 2e-5", report.MaxAbs)
				}
			})
		}
	}
}

func TestVerifyPictures(t *testing.T) {
	m := openTrace(t, "mbv2-c1ds")
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	picture := image.NewRGBA(image.Rect(3, 5, 43, 35))
	for i := range picture.Pix {
		picture.Pix[i] = uint8(i * 7)
	}
	report, err := export.Verify(save(t, out, "deploy.onnx"), trained(t, m), export.VerifyOptions{
		Pictures: []image.Image{picture, image.NewUniform(color.White)}, Sizes: [][2]int{{61, 45}}, Batches: []int{3}})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
}

// TestVerifyNotices changes one weight of the deployed file, little and much.
func TestVerifyNotices(t *testing.T) {
	m := openTrace(t, "mbv2-c1ds")
	reference := trained(t, m)
	for _, head := range []export.Head{export.Softmax, export.ArgMax} {
		opts := export.DefaultOptions()
		opts.Head = head
		out, err := export.Inference(m, opts)
		if err != nil {
			t.Fatal(err)
		}
		w := out.Initializer("decoder.conv_last.bias")
		values, err := onnx.Floats(w)
		if err != nil {
			t.Fatal(err)
		}
		values[1] += 0.2
		if err := onnx.SetFloats(w, values); err != nil {
			t.Fatal(err)
		}
		report, err := export.Verify(save(t, out, "deploy.onnx"), reference, export.VerifyOptions{Sizes: [][2]int{{97, 131}}, Batches: []int{1}})
		if err != nil {
			t.Fatal(err)
		}
		var mismatch *export.MismatchError
		if !errors.As(report.Err(), &mismatch) {
			t.Fatalf("%s: a changed bias passed: %+v", head, report)
		}
		if c := report.Cases[0]; head == export.Softmax && (c.MaxAbs < 1e-2 || c.Worst.Y >= 97 || c.Worst.X >= 131) {
			t.Errorf("largest difference %v at %+v", c.MaxAbs, c.Worst)
		}
		if head == export.ArgMax && report.Cases[0].Mismatches == 0 {
			t.Error("no label differs")
		}
		var text bytes.Buffer
		if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), "FAILED") {
			t.Errorf("text %q, %v", text.String(), err)
		}
		data, err := json.Marshal(report)
		if err != nil {
			t.Fatal(err)
		}
		var back export.Report
		if err := json.Unmarshal(data, &back); err != nil || back.Passed || len(back.Cases) != 1 || back.Cases[0] != report.Cases[0] {
			t.Errorf("JSON form %s, %v", data, err)
		}
	}
}

// made is an evaluator that returns what it is told.
type made struct {
	values []float32
	shape  []int
}

func (e made) Evaluate([]float32, []int) (map[string][]float32, map[string][]int, error) {
	return map[string][]float32{"y": e.values}, map[string][]int{"y": e.shape}, nil
}

// TestVerifyCounts compares the picture itself, as scores of three classes,
// with made-up references.
func TestVerifyCounts(t *testing.T) {
	b := onnx.NewBuilder("g", 15)
	x := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	zero := b.Op("Mul", "zero", []string{x, b.Initializer(onnx.NewFloats("nothing", []int{1}, []float32{0}))})
	b.Op("Add", "y", []string{zero, b.Initializer(onnx.NewFloats("scores", []int{1, 3, 1, 1}, []float32{1, 2, 2.00001}))})
	b.Output("y", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	out, err := export.Inference(m, export.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	path := save(t, out, "deploy.onnx")
	opts := export.VerifyOptions{Runtime: testutil.OnnxRuntime(t), Sizes: [][2]int{{2, 3}}, Batches: []int{1}}
	// constant returns scores of 2x3 pixels, the same at each.
	constant := func(a, b, c float32) made {
		e := made{shape: []int{1, 3, 2, 3}}
		for _, v := range []float32{a, b, c} {
			for range 6 {
				e.values = append(e.values, v)
			}
		}
		return e
	}
	nan := float32(math.NaN())
	one := constant(1, 2, 2.00001)
	one.values[0] = nan // the top left corner, which no other pixel blends in
	tests := []struct {
		name                        string
		reference                   made
		ties, mismatches, nonFinite int
		passed                      bool
	}{
		{"same", constant(1, 2, 2.00001), 0, 0, 0, true},
		{"shifted scores", constant(-5, -4, -3.99999), 0, 0, 0, true},
		{"tie", constant(1, 2.00001, 2), 6, 0, 0, true},
		{"other label", constant(1, 2.1, 2), 0, 6, 0, false},
		{"other probability", constant(0.9, 2, 2.00001), 0, 0, 0, false},
		{"not a number", one, 0, 1, 3, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			report, err := export.Verify(path, tt.reference, opts)
			if err != nil {
				t.Fatal(err)
			}
			c := report.Cases[0]
			if c.Pixels != 6 || c.Ties != tt.ties || c.Mismatches != tt.mismatches || c.NonFinite != tt.nonFinite || report.Passed != tt.passed {
				t.Errorf("got %+v, passed %v; want %d ties, %d mismatches, %d not finite, passed %v", c, report.Passed, tt.ties, tt.mismatches, tt.nonFinite, tt.passed)
			}
			if _, err := json.Marshal(report); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := export.Verify(path, made{values: []float32{1}, shape: []int{1}}, opts); err == nil || !strings.Contains(err.Error(), "shape [1]") {
		t.Errorf("reference of another rank: %v", err)
	}
	if _, err := export.Verify(path, made{values: make([]float32, 24), shape: []int{1, 4, 2, 3}}, opts); err == nil || !strings.Contains(err.Error(), "[1 3 2 3]") {
		t.Errorf("reference of other classes: %v", err)
	}
	if _, err := export.Verify(save(t, m, "train.onnx"), one, opts); err == nil || !strings.Contains(err.Error(), "not exported by graft") {
		t.Errorf("a file that was not exported: %v", err)
	}
	opts.Batches = []int{0}
	if _, err := export.Verify(path, one, opts); err == nil {
		t.Error("a batch of nothing passed")
	}
}
