package export_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// TestInspectCounts checks every number of a graph small enough to count by
// hand.
func TestInspectCounts(t *testing.T) {
	b := onnx.NewBuilder("hand", 15)
	zeros := func(name string, dims ...int) string {
		n := 1
		for _, d := range dims {
			n *= d
		}
		return b.Initializer(onnx.NewFloats(name, dims, make([]float32, n)))
	}
	x := b.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	c := b.Op("Conv", "c", []string{x, zeros("c.weight", 8, 3, 3, 3), zeros("c.bias", 8)}, onnx.IntsAttr("pads", 1, 1, 1, 1), onnx.IntsAttr("strides", 2, 2))
	n := b.Op("BatchNormalization", "n", []string{c, zeros("n.scale", 8), zeros("n.shift", 8), zeros("n.mean", 8), zeros("n.var", 8)})
	d := b.Op("Conv", "d", []string{n, zeros("d.weight", 8, 1, 3, 3)}, onnx.IntAttr("group", 8), onnx.IntsAttr("pads", 1, 1, 1, 1))
	u := b.Op("ConvTranspose", "u", []string{d, zeros("u.weight", 8, 4, 2, 2)}, onnx.IntsAttr("strides", 2, 2))
	p := b.Op("GlobalAveragePool", "p", []string{u})
	f := b.Op("Flatten", "f", []string{p})
	g := b.Op("Gemm", "g", []string{f, zeros("g.weight", 5, 4)}, onnx.IntAttr("transB", 1))
	y := b.Op("MatMul", "y", []string{g, zeros("y.weight", 5, 6)})
	b.Output(y, pb.TensorProto_FLOAT, "N", 6)
	b.Metadata("author", "someone")
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	got := export.Inspect(m, export.InspectOptions{
		Inputs:    map[string][]int{"image": {2, 3, 10, 14}},
		Supported: func(domain, op string) bool { return domain == "" && op != "ConvTranspose" },
	})
	conv, depthwise := int64(2*8*5*7*27), int64(2*8*5*7*9)
	transposed, gemm, matmul := int64(2*8*5*7*16), int64(2*5*4), int64(2*6*5)
	if want := conv + depthwise + transposed + gemm + matmul; got.Cost == nil || got.Cost.MACs != want {
		t.Fatalf("cost %+v, want %d multiplications; notes %v", got.Cost, want, got.Notes)
	}
	if want := (export.OperatorMACs{Operator: "Conv", MACs: conv + depthwise}); got.Cost.Operators[0] != want {
		t.Errorf("most work is %+v, want %+v", got.Cost.Operators[0], want)
	}
	if l := got.Cost.Largest; len(l) != 5 || l[0].Node != "c" || l[0].MACs != conv || !reflect.DeepEqual(l[0].Output, []int{2, 8, 5, 7}) {
		t.Errorf("largest nodes are %+v", l)
	}
	activations := int64(2 * (8*35*3 + 4*140 + 4 + 4 + 5 + 6))
	if got.Cost.Activations != activations {
		t.Errorf("%d activations, want %d", got.Cost.Activations, activations)
	}
	parameters := int64(8*27 + 8 + 4*8 + 8*9 + 8*16 + 20 + 30)
	if got.Parameters != parameters || got.Statistics != 16 || got.Bytes != 4*parameters {
		t.Errorf("%d parameters, %d statistics, %d bytes; want %d, 16, %d", got.Parameters, got.Statistics, got.Bytes, parameters, 4*parameters)
	}
	if len(got.Types) != 1 || got.Types[0].Tensors != 10 || got.Types[0].Elements != parameters {
		t.Errorf("types are %+v", got.Types)
	}
	if got.Nodes != 8 || got.Operators[0] != (export.OperatorCount{Operator: "Conv", Count: 2, Node: "c"}) || len(got.Operators) != 7 {
		t.Errorf("%d nodes, operators %+v", got.Nodes, got.Operators)
	}
	if len(got.Unsupported) != 1 || got.Unsupported[0] != (export.OperatorCount{Operator: "ConvTranspose", Count: 1, Node: "u"}) {
		t.Errorf("unsupported are %+v", got.Unsupported)
	}
	if len(got.Inputs) != 1 || got.Inputs[0].Name != "image" || !strings.Contains(got.Inputs[0].Type, "(N,3,H,W)") {
		t.Errorf("inputs are %+v", got.Inputs)
	}
	if len(got.Notes) > 0 {
		t.Errorf("notes: %v", got.Notes)
	}

	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back export.Inspection
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(&back, got) {
		t.Errorf("JSON form %s, %v", data, err)
	}
	var text bytes.Buffer
	if err := got.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ai.onnx 15", "(N,3,H,W)", "506, of which 16", "author = someone", "cannot be trained: ConvTranspose (1, first at node \"u\")"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("text does not hold %q:\n%s", want, text.String())
		}
	}
}

// TestInspectShared inspects whole networks: parameters as published.
func TestInspectShared(t *testing.T) {
	tests := []struct {
		path   []string
		counts map[string]int
	}{
		{[]string{"torchvision", "resnet18", "evalkeep_op13.onnx"}, map[string]int{"Conv": 20, "BatchNormalization": 20}},
		{[]string{"reference", "r18d-ppmds", "model.onnx"}, map[string]int{"Conv": 31, "BatchNormalization": 29}},
		{[]string{"torchvision", "deeplabv3_mobilenet_v3_large", "train_dyn_op13.onnx"}, map[string]int{"Conv": 70}},
	}
	for _, tt := range tests {
		t.Run(tt.path[1], func(t *testing.T) {
			got := export.Inspect(load(t, tt.path...), export.InspectOptions{})
			if len(got.Notes) > 0 || got.Cost == nil || got.Cost.MACs == 0 {
				t.Fatalf("cost %+v, notes %v", got.Cost, got.Notes)
			}
			for _, o := range got.Operators {
				if want, ok := tt.counts[o.Operator]; ok && want != o.Count {
					t.Errorf("%d %s, want %d", o.Count, o.Operator, want)
				}
			}
			for _, out := range got.Outputs {
				if strings.Contains(out.Type, "?") {
					t.Errorf("output %+v has an unknown dimension", out)
				}
			}
		})
	}
}

// TestInspectTellsWhatIsMissing inspects a graph whose cost cannot be told.
func TestInspectTellsWhatIsMissing(t *testing.T) {
	m := &onnx.Model{ModelProto: &pb.ModelProto{IrVersion: 8, OpsetImport: []*pb.OperatorSetIdProto{{Version: 15}}, Graph: &pb.GraphProto{
		Name: "g", Node: []*pb.NodeProto{{OpType: "NoSuchOperator", Input: []string{"x"}, Output: []string{"y"}}},
		Input:  []*pb.ValueInfoProto{{Name: "x"}},
		Output: []*pb.ValueInfoProto{{Name: "y"}},
	}}, Path: "odd.onnx"}
	got := export.Inspect(m, export.InspectOptions{Supported: func(_, op string) bool { return false }})
	if got.Cost != nil || len(got.Notes) == 0 || len(got.Unsupported) != 1 {
		t.Errorf("%+v", got)
	}
	if err := got.WriteText(&bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

// TestPublishedCounts compares the count of well-known networks at 224x224 with
// the published one: 300.77 million multiplications for MobileNetV2, 349.15
// million for SqueezeNet 1.1.
func TestPublishedCounts(t *testing.T) {
	for _, tt := range []struct {
		file       string
		macs       int64
		parameters int64
	}{
		{"mobilenetv2_in1k_fp32_dequant.onnx", 300_774_272, 3_487_818}, // 3,504,872 less the folded statistics and scales
		{"squeezenet_in1k_fp32_from_fp16.onnx", 349_151_936, 1_235_496},
	} {
		got := export.Inspect(load(t, "onnx", "backbone", tt.file), export.InspectOptions{})
		if got.Cost == nil || got.Cost.MACs != tt.macs || got.Parameters != tt.parameters {
			t.Errorf("%s: %d parameters, cost %+v; want %d and %d", tt.file, got.Parameters, got.Cost, tt.parameters, tt.macs)
		}
	}
}
