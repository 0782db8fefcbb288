package models_test

import (
	"fmt"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
)

func ExampleNew() {
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1_deepsup", Classes: len(models.CamVid), Seed: 304})
	if err != nil {
		fmt.Println(err)
		return
	}
	infos, err := onnx.Infer(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Graph.GetName())
	fmt.Println(infos[models.InputName])
	fmt.Println(infos["features_3"].Dims[1], infos[models.OutputName].Dims[1])
	// Output:
	// mobilenetv2dilated-c1_deepsup
	// float32(N,3,H,W)
	// 320 11
}

func ExampleParseClasses() {
	classes, err := models.ParseClasses([]byte("label,name,r,g,b\n0,ignore,0,0,0\n1,road,128,64,128\n2,car,64,0,128\n"), "classes.csv")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range classes {
		fmt.Println(c.Label, c.Name, c.Colour)
	}
	// Output:
	// 1 road {128 64 128 255}
	// 2 car {64 0 128 255}
}
