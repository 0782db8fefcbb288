package config

import (
	"slices"

	"github.com/graft-onnx/graft/models"
)

// FromPreset returns the settings of a published recipe, the rest default.
func FromPreset(p models.Preset) *Config {
	c := Default()
	d, t := &c.Dataset, &c.Train
	d.ListTrain, d.ListVal = p.TrainList, p.ValList
	d.NumClass, d.ImgSizes, d.ImgMaxSize = p.Classes, slices.Clone(p.ShortSides), p.LongSide
	d.PaddingConstant, d.SegmDownsamplingRate, d.RandomFlip = p.Padding, p.LabelStride, p.Flip
	c.Model.ArchEncoder, c.Model.ArchDecoder, c.Model.FcDim = p.Encoder, p.Decoder, p.FeatureChannels
	t.BatchSizePerGPU, t.NumEpoch, t.EpochIters = p.Batch, p.Epochs, p.EpochIterations
	t.LrEncoder, t.LrDecoder, t.LrPow = p.EncoderRate, p.DecoderRate, p.RatePower
	t.Beta1, t.WeightDecay, t.DeepSupScale, t.Seed = p.Momentum, p.WeightDecay, p.DeepSupervision, int(p.Seed)
	c.Dir = "ckpt/" + p.Name
	return c
}
