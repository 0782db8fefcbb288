package graph

import (
	"runtime"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/models"
)

// Pictures that grow leave no arena behind but the largest, and no more Plans
// than there is room for; going back to a size that was dropped gives the same
// loss.
func TestGrowingPictures(t *testing.T) {
	m, err := models.New(models.Spec{Encoder: "mobilenetv2dilated", Decoder: "c1", Classes: 6, Seed: 1, Width: 8})
	if err != nil {
		t.Fatal(err)
	}
	net, err := NewNetwork(m, native.New(2))
	if err != nil {
		t.Fatal(err)
	}
	net.limit = 4
	loss := &Loss{Ignore: -1, Outputs: []LossOutput{{Name: models.OutputName, Weight: 1}}}
	heap := func() int {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	step := func(h int) (float64, int) {
		const w = 400
		p, err := net.Plan(Spec{Inputs: map[string][]int{models.InputName: {1, 3, h, w}}, Mode: Train, FixBN: true, Loss: loss})
		if err != nil {
			t.Fatal(err)
		}
		image := make([]float32, 3*h*w)
		for i := range image {
			image[i] = float32(i%7) - 3
		}
		if err := p.SetInput(models.InputName, image); err != nil {
			t.Fatal(err)
		}
		if err := p.SetLabels(models.OutputName, make([]int32, h*w/64)); err != nil {
			t.Fatal(err)
		}
		if err := p.RunAll(); err != nil {
			t.Fatal(err)
		}
		v, err := p.Loss()
		if err != nil {
			t.Fatal(err)
		}
		return v.Total, p.ArenaSize()
	}
	heights := []int{80, 160, 240, 320, 400, 480}
	before := heap()
	var first []float64
	largest := 0
	for _, h := range heights {
		v, size := step(h)
		first = append(first, v)
		largest = max(largest, size)
	}
	// Beside the arena: parameters, their gradients, the Plan, its staging
	// copy of the input and the profile of this test, together under 8 MiB.
	if used := heap() - before; used > largest+8<<20 {
		t.Errorf("%d MiB are held with an arena of %d", used>>20, largest>>20)
	}
	for i, h := range heights {
		if v, _ := step(h); v != first[i] {
			t.Errorf("height %d: loss %v, %v before the arena grew", h, v, first[i])
		}
	}
	if n := len(net.plans); n != net.limit || net.recent.Len() != n {
		t.Errorf("%d plans are kept, the limit is %d", n, net.limit)
	}
	runtime.KeepAlive(net)
}
