package models_test

import (
	"image/color"
	"testing"

	"github.com/graft-onnx/graft/models"
)

func TestColour(t *testing.T) {
	for i, want := range map[int]color.RGBA{
		0:   {0, 0, 0, 255},
		1:   {128, 0, 0, 255},
		2:   {0, 128, 0, 255},
		3:   {128, 128, 0, 255},
		4:   {0, 0, 128, 255},
		7:   {128, 128, 128, 255},
		8:   {64, 0, 0, 255},
		15:  {192, 128, 128, 255},
		20:  {0, 64, 128, 255},
		255: {224, 224, 192, 255},
	} {
		if got := models.Colour(i); got != want {
			t.Errorf("Colour(%d) = %v, want %v", i, got, want)
		}
	}
}

func TestColoursDiffer(t *testing.T) {
	seen := map[color.RGBA]int{}
	for i := range 4096 {
		c := models.Colour(i)
		if first, ok := seen[c]; ok {
			t.Fatalf("colours %d and %d are both %v", first, i, c)
		}
		seen[c] = i
	}
}
