package report

import (
	"fmt"
	"image"

	"golang.org/x/image/draw"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/data"
)

// Sample is one picture shown with its truth and prediction.
type Sample struct {
	Name       string
	Picture    *data.Picture
	Truth      []int32 // (H,W), nil where unknown
	Prediction []int32 // (H,W)
}

// sampleSide is the longest side of a picture inside the HTML file, pixels.
const sampleSide = 400

// Image is picture, truth where it is known, and prediction side by side, each
// scaled down to side, the most pixels of its longer one.
func (s Sample) Image(classes models.Classes, side int) (*image.RGBA, error) {
	if len(s.Prediction) != s.Picture.Width*s.Picture.Height {
		return nil, fmt.Errorf("%w (%s)", &ShapeError{len(s.Prediction), s.Picture.Width, s.Picture.Height}, s.Name)
	}
	parts := []image.Image{fit(s.Picture, side, draw.ApproxBiLinear)}
	for _, labels := range [][]int32{s.Truth, s.Prediction} {
		if labels == nil {
			continue
		}
		m, err := ColorMap(labels, s.Picture.Width, s.Picture.Height, classes)
		if err != nil {
			return nil, fmt.Errorf("%w (%s)", err, s.Name)
		}
		parts = append(parts, fit(m, side, draw.NearestNeighbor))
	}
	return SideBySide(4, parts...), nil
}

// fit scales pictures down until no side is longer than side.
func fit(img image.Image, side int, scaler draw.Scaler) image.Image {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	long := max(w, h)
	if long <= side {
		return img
	}
	out := image.NewRGBA(image.Rect(0, 0, max(1, w*side/long), max(1, h*side/long)))
	scaler.Scale(out, out.Rect, img, img.Bounds(), draw.Src, nil)
	return out
}
