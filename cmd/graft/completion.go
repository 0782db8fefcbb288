package main

import (
	"github.com/posener/complete"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/models"
)

// predictors say what the shell offers after a flag; the predictor tags of
// the commands name them.
func predictors() map[string]complete.Predictor {
	onnx := complete.PredictFiles("*.onnx")
	return map[string]complete.Predictor{
		"onnx":    onnx,
		"yaml":    complete.PredictOr(complete.PredictFiles("*.yaml"), complete.PredictFiles("*.yml")),
		"file":    complete.PredictFiles("*"),
		"folder":  complete.PredictDirs("*"),
		"device":  complete.PredictSet(device.Names()...),
		"encoder": complete.PredictOr(complete.PredictSet(models.Encoders()...), onnx),
		"decoder": complete.PredictSet(models.Decoders()...),
	}
}
