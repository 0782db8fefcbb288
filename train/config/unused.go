package config

import (
	"fmt"

	"github.com/graft-onnx/graft/models"
)

// given reports whether the file or the command line sets a key.
func (c *Config) given(key string) bool { return c.lines[key] != 0 }

// Unused tells, a line each, of keys of the reference that were set to what
// graft does not follow.
func (c *Config) Unused() []string {
	var lines []string
	m := &c.Model
	if n, err := models.FeatureChannels(m.ArchEncoder); err == nil && m.File == "" && c.given("MODEL.fc_dim") && m.FcDim != n {
		lines = append(lines, fmt.Sprintf("MODEL.fc_dim %d is not used: the last feature map of %s has %d channels", m.FcDim, m.ArchEncoder, n))
	}
	if c.Train.Ckpt != Default().Train.Ckpt {
		lines = append(lines, fmt.Sprintf("TRAIN.ckpt %q is not used: DIR, %q, is the run folder", c.Train.Ckpt, c.Dir))
	}
	return lines
}
