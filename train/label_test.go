package train

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
)

func TestNearestLabels(t *testing.T) {
	two := []int32{0, 1, 2, 3, 4, 5, -1, 7, 8, 9, 10, 11} // two maps of 2x3
	for _, tc := range []struct {
		h, w int
		want []int32
	}{
		{2, 3, two},
		{1, 2, []int32{3, 5, 9, 11}},
		{4, 3, []int32{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, -1, 7, 8, -1, 7, 8, 9, 10, 11, 9, 10, 11}},
		{1, 1, []int32{4, 10}},
	} {
		if got := nearestLabels(two, 2, 2, 3, tc.h, tc.w); !slices.Equal(got, tc.want) {
			t.Errorf("%dx%d: got %v, want %v", tc.h, tc.w, got, tc.want)
		}
	}
}

// SqueezeNet does not pad: its last map is smaller than an eighth of the
// picture, whatever the size of that.
func TestTrainWithoutPadding(t *testing.T) {
	m, err := onnx.Load(filepath.Join(testutil.SharedDir(t), "onnx", "backbone", "squeezenet_in1k_fp32_from_fp16.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	encoder, _, err := onnx.Import(m, 8)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = models.Attach(encoder, "c1_deepsup", 3, 1); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Dataset.NumClass = 3
	trainer, err := NewTrainer(c, m, nativeDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	image, labels := make([]float32, 3*64*80), make([]int32, 8*10)
	for i := range image {
		image[i] = float32(i%17)/8 - 1
	}
	for i := range labels {
		labels[i] = int32(i % 3)
	}
	r, err := trainer.Step(image, []int{1, 3, 64, 80}, labels)
	if err != nil || !(r.Loss > 0.5 && r.Loss < 5) {
		t.Errorf("loss %v, %v", r.Loss, err)
	}
	c.Dataset.SegmDownsamplingRate = 2
	if _, err := trainer.Step(image, []int{1, 3, 64, 80}, make([]int32, 32*40)); err == nil || !strings.Contains(err.Error(), "segm_downsampling_rate") {
		t.Errorf("labels of another stride: %v", err)
	}
}
