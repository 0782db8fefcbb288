package train

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/train/config"
)

// untrained tells that the encoder begins with random weights, where the
// reference project fetches pretrained ones. "" if it does not.
func untrained(cfg *config.Config) string {
	m := &cfg.Model
	if m.File != "" || m.WeightsEncoder != "" {
		return ""
	}
	return fmt.Sprintf("MODEL.weights_encoder is empty: %s begins with random weights, where the reference project fetches pretrained ones; "+
		"an ONNX backbone gives graft such a start (graft import, graft new, MODEL.file)", m.ArchEncoder)
}

// staleStatistics warns of a run that is too short for its running statistics:
// evaluation then normalises by what the model began with. "" if all is well.
func staleStatistics(cfg *config.Config) string {
	const most = 0.1
	c := &cfg.Train
	if kept := math.Pow(1-c.BNMomentum, float64(cfg.MaxIters())); !c.FixBN && kept > most {
		return fmt.Sprintf("TRAIN.bn_momentum %g is small for %d iterations: evaluation will use statistics that are still %.0f %% those of the initial model; "+
			"unless that was pretrained on such pictures, set it to %.2g or more", c.BNMomentum, cfg.MaxIters(), 100*kept, 1-math.Pow(most, 1/float64(cfg.MaxIters())))
	}
	return ""
}
