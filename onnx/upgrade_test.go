package onnx_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/export/ort"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// oldOperators are nodes as versions before 13 write them, applied to x
// (2,4,3,5).
var oldOperators = []struct {
	opset int64
	build func(b *onnx.Builder) string
}{
	{7, func(b *onnx.Builder) string {
		var in []string
		for _, name := range []string{"scale", "bias", "mean", "var"} {
			in = append(in, b.Initializer(onnx.NewFloats(name, []int{4}, []float32{1, 2, 3, 4})))
		}
		return b.Op("BatchNormalization", "y", append([]string{"x"}, in...), onnx.IntAttr("spatial", 1))
	}},
	{7, func(b *onnx.Builder) string { return b.Op("Clip", "y", []string{"x"}, onnx.FloatAttr("min", -0.5)) }},
	{10, func(b *onnx.Builder) string {
		return b.Op("Clip", "y", []string{"x"}, onnx.FloatAttr("max", 0.25), onnx.FloatAttr("min", 0))
	}},
	{10, func(b *onnx.Builder) string { return b.Op("Dropout", "y", []string{"x"}, onnx.FloatAttr("ratio", 0.5)) }},
	{7, func(b *onnx.Builder) string { return b.Op("Softmax", "y", []string{"x"}) }},
	{11, func(b *onnx.Builder) string { return b.Op("LogSoftmax", "y", []string{"x"}, onnx.IntAttr("axis", 2)) }},
	{11, func(b *onnx.Builder) string { return b.Op("Softmax", "y", []string{"x"}, onnx.IntAttr("axis", -1)) }},
	{9, func(b *onnx.Builder) string {
		return b.Op("Pad", "y", []string{"x"}, onnx.IntsAttr("pads", 0, 0, 1, 2, 0, 0, 3, 0), onnx.FloatAttr("value", 7))
	}},
	{9, func(b *onnx.Builder) string {
		return b.Op("Pad", "y", []string{"x"}, onnx.IntsAttr("pads", 0, 0, 1, 2, 0, 0, 1, 0), onnx.StringAttr("mode", "reflect"))
	}},
	{9, func(b *onnx.Builder) string {
		return b.Op("Slice", "y", []string{"x"}, onnx.IntsAttr("starts", 1, 0), onnx.IntsAttr("ends", 3, -1), onnx.IntsAttr("axes", 1, 3))
	}},
	{9, func(b *onnx.Builder) string {
		return b.Op("Slice", "y", []string{"x"}, onnx.IntsAttr("starts", 1, 2), onnx.IntsAttr("ends", 2, 900))
	}},
	{11, func(b *onnx.Builder) string {
		return b.Node("Split", []string{"x"}, []string{"first", "y"}, onnx.IntAttr("axis", 1), onnx.IntsAttr("split", 1, 3))[1]
	}},
	{11, func(b *onnx.Builder) string {
		return b.Node("Split", []string{"x"}, []string{"first", "y"}, onnx.IntAttr("axis", 1))[1]
	}},
	{11, func(b *onnx.Builder) string {
		u := b.Op("Unsqueeze", "u", []string{"x"}, onnx.IntsAttr("axes", 0, 3))
		return b.Op("Squeeze", "y", []string{u}, onnx.IntsAttr("axes", 3))
	}},
	{11, func(b *onnx.Builder) string {
		return b.Op("ReduceSum", "y", []string{"x"}, onnx.IntsAttr("axes", 1, 2), onnx.IntAttr("keepdims", 0))
	}},
	{11, func(b *onnx.Builder) string { return b.Op("ReduceSum", "y", []string{"x"}) }},
	{7, func(b *onnx.Builder) string {
		return b.Op("Upsample", "y", []string{"x"}, onnx.FloatsAttr("scales", 1, 1, 2, 1.5))
	}},
	{9, func(b *onnx.Builder) string {
		scales := b.Initializer(onnx.NewFloats("scales", []int{4}, []float32{1, 1, 2.5, 2}))
		return b.Op("Upsample", "y", []string{"x", scales}, onnx.StringAttr("mode", "linear"))
	}},
	{7, func(b *onnx.Builder) string {
		return b.Op("MaxPool", "y", []string{"x"}, onnx.IntsAttr("kernel_shape", 2, 2), onnx.IntsAttr("strides", 1, 2))
	}},
	{7, func(b *onnx.Builder) string { return b.Op("Flatten", "y", []string{"x"}, onnx.IntAttr("axis", 2)) }},
}

// What was written for an old operator set computes the same, to the last bit
// but 1e-6 for sums, after it is brought to a newer one.
func TestUpgradeKeepsTheResult(t *testing.T) {
	shape := []int{2, 4, 3, 5}
	x := make([]float32, 2*4*3*5)
	for i := range x {
		x[i] = float32((i*37)%23)/11 - 1
	}
	in := map[string]ort.Tensor{"x": ort.New(x, shape...)}
	for i, tc := range oldOperators {
		b := onnx.NewBuilder("old", tc.opset)
		b.Input("x", pb.TensorProto_FLOAT, 2, 4, 3, 5)
		y := tc.build(b)
		b.Output(y, pb.TensorProto_FLOAT)
		old, err := b.Model()
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		old.Graph.Output[0].Type.GetTensorType().Shape = nil // any
		op := old.Graph.Node[len(old.Graph.Node)-1].GetOpType()
		t.Run(fmt.Sprintf("%d-%s", i, op), func(t *testing.T) {
			before := serialise(t, old)
			want := testutil.RunORTBytes(t, before, "old.onnx", in)["y"]
			for _, opset := range []int64{13, 15, 17} {
				m, err := onnx.Upgrade(old, opset)
				if err != nil {
					t.Fatal(err)
				}
				if err := onnx.Check(m); err != nil {
					t.Fatal(err)
				}
				if m.Opset("") != opset {
					t.Fatalf("opset %d, want %d", m.Opset(""), opset)
				}
				got := testutil.RunORTBytes(t, serialise(t, m), "new.onnx", in)["y"]
				if !slices.Equal(got.Shape, want.Shape) {
					t.Fatalf("opset %d: shape %v, want %v", opset, got.Shape, want.Shape)
				}
				g, w := got.Data.([]float32), want.Data.([]float32)
				for k := range w {
					if d := g[k] - w[k]; !(d < 1e-6 && d > -1e-6) {
						t.Fatalf("opset %d: element %d is %g, want %g", opset, k, g[k], w[k])
					}
				}
			}
			if string(serialise(t, old)) != string(before) {
				t.Error("the model given was changed")
			}
		})
	}
}

func serialise(t testing.TB, m *onnx.Model) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.ModelProto)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Exporters write BatchNormalization in training mode with five outputs before
// version 14, with three and an attribute since.
func TestUpgradeTrainingMode(t *testing.T) {
	m, err := onnx.Load(testutil.SharedDir(t, "torchvision", "resnet18", "train_op13.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	m, err = onnx.Upgrade(m, 15)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Check(m); err != nil {
		t.Fatal(err)
	}
	for _, n := range m.Graph.Node {
		if n.GetOpType() == "BatchNormalization" && (len(n.Output) != 3 || onnx.AttrInt(n, "training_mode", 0) != 1) {
			t.Fatalf("%s has %d outputs and training_mode %d", n.GetName(), len(n.Output), onnx.AttrInt(n, "training_mode", 0))
		}
	}
}

func TestUpgradeErrors(t *testing.T) {
	b := onnx.NewBuilder("old", 8)
	b.Input("x", pb.TensorProto_FLOAT, 1, 2, 3, 4)
	var in []string
	for _, name := range []string{"scale", "bias", "mean", "var"} {
		in = append(in, b.Initializer(onnx.NewFloats(name, []int{2}, []float32{1, 1})))
	}
	y := b.Op("BatchNormalization", "a", append([]string{"x"}, in...), onnx.IntAttr("spatial", 0))
	y = b.Op("BatchNormalization", "b", append([]string{y}, in...), onnx.IntAttr("spatial", 0))
	b.Output(y, pb.TensorProto_FLOAT, 1, 2, 3, 4)
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Path = "old.onnx"
	_, err = onnx.Upgrade(m, 15)
	var check *onnx.CheckError
	if !errors.As(err, &check) || len(check.Findings) != 2 || !errors.Is(err, onnx.ErrUnsupported) ||
		!strings.Contains(err.Error(), "spatial is 0") || !strings.Contains(err.Error(), "old.onnx") {
		t.Errorf("two unfit nodes: %v", err)
	}
	if _, err := onnx.Upgrade(m, 99); !errors.Is(err, onnx.ErrUnsupported) {
		t.Errorf("opset 99: %v", err)
	}
}
