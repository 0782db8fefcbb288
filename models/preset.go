package models

import (
	"fmt"
	"slices"
	"strings"
)

// Preset is a published recipe: a network and how it was trained. Sizes are in
// pixels.
type Preset struct {
	Name    string
	Encoder string
	Decoder string
	// FeatureChannels is the width of the last tap, fc_dim of the reference.
	FeatureChannels int
	Classes         int

	// TrainList and ValList are the .odgt lists of the data set.
	TrainList, ValList string
	// ShortSides are the lengths that a picture's short side is drawn from;
	// its long side stays within LongSide.
	ShortSides []int
	LongSide   int
	// Padding: height and width of a batch are brought to multiples of it.
	Padding int
	// LabelStride is the input size over the size of the label map.
	LabelStride int
	Flip        bool

	Batch           int // pictures a step and device
	Epochs          int
	EpochIterations int
	EncoderRate     float64 // learning rates at the start
	DecoderRate     float64
	RatePower       float64 // of the polynomial decay
	Momentum        float64
	WeightDecay     float64
	DeepSupervision float64 // weight of its loss; used by decoders that have it
	Seed            int64
}

// Presets returns the recipes of the reference project.
func Presets() []Preset {
	presets := []Preset{
		ade20k("mobilenetv2dilated", "c1_deepsup", 320),
		ade20k("resnet18dilated", "ppm_deepsup", 512),
		ade20k("resnet50dilated", "ppm_deepsup", 2048),
		ade20k("resnet101dilated", "ppm_deepsup", 2048),
		ade20k("resnet50dilated", "ppm_deepsup", 2048),
		stride4("resnet50", "upernet", 2048, 30),
		stride4("resnet101", "upernet", 2048, 40),
		stride4("hrnetv2", "c1", 720, 30),
	}
	presets[0].Batch = 3
	presets[3].Epochs = 25
	city := &presets[4]
	city.Name = "cityscapes-resnet50dilated-ppm_deepsup"
	city.TrainList, city.ValList = "./data/cityscapes_train.odgt", "./data/cityscapes_val.odgt"
	city.Classes, city.ShortSides, city.LongSide = 19, []int{600}, 1280
	return presets
}

// ade20k is what the recipes for the 150 classes of ADE20K have in common.
func ade20k(encoder, decoder string, channels int) Preset {
	return Preset{
		Name:    "ade20k-" + encoder + "-" + decoder,
		Encoder: encoder, Decoder: decoder, FeatureChannels: channels, Classes: 150,
		TrainList: "./data/training.odgt", ValList: "./data/validation.odgt",
		ShortSides: []int{300, 375, 450, 525, 600}, LongSide: 1000, Padding: 8, LabelStride: 8, Flip: true,
		Batch: 2, Epochs: 20, EpochIterations: 5000,
		EncoderRate: 0.02, DecoderRate: 0.02, RatePower: 0.9, Momentum: 0.9, WeightDecay: 1e-4,
		DeepSupervision: 0.4, Seed: 304,
	}
}

// stride4 is the recipe for networks that put out classes at stride 4: labels
// keep a quarter of the picture's sides, and pictures are padded to the 32 that
// the coarsest feature map has.
func stride4(encoder, decoder string, channels, epochs int) Preset {
	p := ade20k(encoder, decoder, channels)
	p.Padding, p.LabelStride, p.Epochs = 32, 4, epochs
	return p
}

// FindPreset returns the recipe of the name, case aside; a *SpecError lists
// the known ones.
func FindPreset(name string) (Preset, error) {
	presets := Presets()
	i := slices.IndexFunc(presets, func(p Preset) bool { return strings.EqualFold(p.Name, name) })
	if i >= 0 {
		return presets[i], nil
	}
	return Preset{}, &SpecError{Setting: "preset", Msg: fmt.Sprintf("%q is not one of graft's", name), Known: PresetNames()}
}

// PresetNames returns the names of Presets.
func PresetNames() []string {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// Spec describes the preset's network.
func (p Preset) Spec() Spec {
	return Spec{Encoder: p.Encoder, Decoder: p.Decoder, Classes: p.Classes, Seed: p.Seed}
}
