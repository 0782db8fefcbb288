package onnx

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export/ort"
)

func TestExtractAndJoinGiveTheWholeBack(t *testing.T) {
	m := load(t, "torchvision", "mobilenet_v2", "evalkeep_op13.onnx")
	cut := "/features/features.6/Add_output_0"
	front, err := Extract(m, []string{"input"}, []string{cut})
	if err != nil {
		t.Fatal(err)
	}
	back, err := Extract(m, []string{cut}, []string{"output"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(front.Graph.Node) + len(back.Graph.Node); n != len(m.Graph.Node) {
		t.Errorf("the parts have %d nodes, the whole %d", n, len(m.Graph.Node))
	}
	if n := len(front.Graph.Initializer) + len(back.Graph.Initializer); n != len(m.Graph.Initializer) {
		t.Errorf("the parts have %d initializers, the whole %d", n, len(m.Graph.Initializer))
	}
	whole, err := Join(front, back, map[string]string{cut: cut})
	if err != nil {
		t.Fatal(err)
	}
	x := ort.New(noise(2*3*64*64, 3), 2, 3, 64, 64)
	want := runORT(t, m, map[string]ort.Tensor{"input": x})["output"]
	mid := runORT(t, front, map[string]ort.Tensor{"input": x})[cut]
	for name, got := range map[string]ort.Tensor{
		"parts":  runORT(t, back, map[string]ort.Tensor{cut: mid})["output"],
		"joined": runORT(t, whole, map[string]ort.Tensor{"input": x})["output"],
	} {
		if d := differ(got.Data.([]float32), want.Data.([]float32)); d != 0 {
			t.Errorf("%s: differs by %g", name, d)
		}
	}
	if _, err := Extract(m, []string{cut}, []string{"/features/features.3/conv/conv.0/conv.0.0/Conv_output_0"}); err == nil || !strings.Contains(err.Error(), `need ["input"]`) {
		t.Errorf("an input too few: %v", err)
	}
	if _, err := Extract(m, []string{"input"}, []string{"nowhere"}); err == nil {
		t.Error("an unknown output is accepted")
	}
}

func TestJoinRenamesAndUpgrades(t *testing.T) {
	encoder := build(t, 9, func(b *Builder) {
		b.Input("x", float32Type, "N", 2)
		b.Op("Relu", "h", []string{"x"})
		b.Op("Neg", "f", []string{"h"})
		b.Output("f", float32Type, "N", 2)
		b.Metadata("kept", "1")
		b.Metadata("both", "encoder")
	})
	decoder := build(t, 13, func(b *Builder) {
		b.Input("in", float32Type, "N", 2)
		b.Input("gain", float32Type)
		b.Op("Exp", "h", []string{"in"}) // the encoder has an h
		b.Op("Mul", "y", []string{"h", "gain"})
		b.Output("y", float32Type, "N", 2)
		b.Metadata("both", "decoder")
	})
	m, err := Join(encoder, decoder, map[string]string{"in": "f"})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := m.Metadata("both"); v != "decoder" || m.Opset("") != 13 {
		t.Errorf("metadata %q, opset %d", v, m.Opset(""))
	}
	if v, _ := m.Metadata("kept"); v != "1" {
		t.Error("the encoder's metadata is lost")
	}
	y := runORT(t, m, map[string]ort.Tensor{"x": ort.New([]float32{-1, 0}, 1, 2), "gain": ort.New([]float32{5})})["y"]
	if got := fmt.Sprint(y.Data); got != "[5 5]" {
		t.Errorf("got %s", got)
	}
	for says, wire := range map[string]map[string]string{
		`no input "out"`:  {"out": "f"},
		`no value "none"`: {"in": "none"},
	} {
		if _, err := Join(encoder, decoder, wire); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", wire, err)
		}
	}
	clash := build(t, 13, func(b *Builder) {
		b.Input("in", float32Type, 2)
		b.Op("Add", "y", []string{"in", b.Initializer(NewFloats("f", []int{2}, []float32{1, 2}))})
		b.Output("y", float32Type, 2)
	})
	if _, err := Join(encoder, clash, map[string]string{"in": "f"}); err == nil || !strings.Contains(err.Error(), "both have") {
		t.Errorf("two tensors of one name: %v", err)
	}
}

func TestUnshare(t *testing.T) {
	m := load(t, "torchvision", "resnet18_dedup", "evalkeep_op13.onnx")
	own, err := Unshare(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(own); err != nil {
		t.Fatal(err)
	}
	// The names of the files that PyTorch writes without merging.
	plain := load(t, "torchvision", "resnet18", "evalkeep_op13.onnx")
	var got, want []string
	for _, p := range own.Graph.Initializer {
		got = append(got, p.GetName())
	}
	for _, p := range plain.Graph.Initializer {
		want = append(want, p.GetName())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("parameters %v, want %v", got, want)
	}
	x := map[string]ort.Tensor{"input": ort.New(noise(2*3*64*64, 3), 2, 3, 64, 64)}
	if d := differ(runORT(t, own, x)["output"].Data.([]float32), runORT(t, m, x)["output"].Data.([]float32)); d != 0 {
		t.Errorf("the output differs by %g", d)
	}
}

func TestUnshareWithoutIdentity(t *testing.T) {
	m := build(t, 13, func(b *Builder) {
		b.Input("x", float32Type, 3)
		b.Initializer(NewFloats("w", []int{3}, []float32{1, 2, 3}))
		b.Initializer(NewFloats("s", nil, []float32{2}))
		b.Op("Mul", "a", []string{"x", "w"})
		b.Op("Add", "b", []string{"a", "w"})
		b.Op("Mul", "c", []string{"b", "s"})
		b.Op("Mul", "y", []string{"c", "s"})
		b.Output("y", float32Type, 3)
	})
	own, err := Unshare(m)
	if err != nil {
		t.Fatal(err)
	}
	if own.Initializer("w") == nil || own.Initializer("w_2") == nil || own.Graph.Node[1].Input[1] != "w_2" || len(own.Graph.Initializer) != 3 {
		t.Errorf("%v", own.Graph)
	}
	if m.Graph.Node[1].Input[1] != "w" {
		t.Error("the original has changed")
	}
}

// A network exported for one size computes what its dynamic twin does at
// another.
func TestDynamicFreesBakedSizes(t *testing.T) {
	for _, folder := range []string{"resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"} {
		t.Run(folder, func(t *testing.T) {
			fixed := load(t, "torchvision", folder, "evalfold_op13.onnx")
			twin := load(t, "torchvision", folder, "evalfold_dyn_op13.onnx")
			free, err := Dynamic(fixed)
			if err != nil {
				t.Fatal(err)
			}
			x := map[string]ort.Tensor{"input": ort.New(noise(3*3*160*128, 5), 3, 3, 160, 128)}
			got, want := runORT(t, free, x)["output"], runORT(t, twin, x)["output"]
			if !slices.Equal(got.Shape, want.Shape) {
				t.Fatalf("shape %v, want %v", got.Shape, want.Shape)
			}
			if d := differ(got.Data.([]float32), want.Data.([]float32)); d > 1e-6 {
				t.Errorf("differs by %g", d)
			}
		})
	}
}

func TestDynamicNamesWhatItCannotFree(t *testing.T) {
	m := build(t, 13, func(b *Builder) {
		b.Input("x", float32Type, 1, 3, 8, 8)
		b.Op("Reshape", "y", []string{"x", b.Initializer(NewInts("s", []int{5}, []int64{1, 3, 8, 2, 4}))})
		b.Output("y", float32Type, nil, nil, nil, nil, nil)
	})
	if _, err := Dynamic(m); err == nil || !strings.Contains(err.Error(), `node "y" (Reshape): the picture's size is baked in`) {
		t.Errorf("got %v", err)
	}
	m = build(t, 13, func(b *Builder) {
		b.Input("x", float32Type, 1, 3, 8, 8)
		b.Op("Flatten", "f", []string{"x"})
		b.Op("MatMul", "y", []string{"f", b.Initializer(NewFloats("w", []int{192, 2}, make([]float32, 384)))})
		b.Output("y", float32Type, 1, 2)
	})
	if _, err := Dynamic(m); err == nil || !strings.Contains(err.Error(), `node "y" (MatMul): the picture's size is baked in: its weight fits an input of [1 192] only`) {
		t.Errorf("got %v", err)
	}
}
