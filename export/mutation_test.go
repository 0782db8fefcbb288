package export_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/onnx"
)

// TestMutatedModels exports and inspects files with a few changed, lost or
// doubled bytes: errors are welcome, panics are not.
func TestMutatedModels(t *testing.T) {
	n := newNet()
	pool := onnx.AdaptiveAveragePoolFunction()
	n.Function(pool)
	x := n.norm("bn", n.Op("Conv", "c", []string{"image", n.weight("c.weight", 4, 3, 3, 3)}, onnx.IntsAttr("pads", 1, 1, 1, 1)))
	x = n.Op("Dropout", "d", []string{n.Op("Relu", "r", []string{x})})
	p := n.Call(pool.GetDomain(), pool.GetName(), []string{x}, []string{"p"}, onnx.IntsAttr("output_size", 2, 2))[0]
	p = n.Op("Resize", "up", []string{p, "", n.Initializer(onnx.NewFloats("scales", []int{4}, []float32{1, 1, 2, 2}))})
	x = n.Op("Identity", "i", []string{n.Op("Conv", "e", []string{p, n.weight("e.weight", 4, 4, 1, 1)})})
	m := n.model(t, n.Op("LogSoftmax", "logprob", []string{x}, onnx.IntAttr("axis", 1)))
	original := marshal(t, m)
	rounds := 4000
	if testing.Short() {
		rounds = 400
	}
	r := rand.New(rand.NewPCG(3, 4))
	read, exported := 0, 0
	for i := range rounds {
		data := bytes.Clone(original)
		for range 1 + r.IntN(4) {
			at := r.IntN(len(data))
			switch r.IntN(4) {
			case 0:
				data[at] ^= 1 << r.IntN(8)
			case 1:
				data[at] = byte(r.Uint32())
			case 2:
				data = append(data[:at], data[at+1:]...)
			case 3:
				data = append(data[:at+1], data[at:]...)
			}
		}
		m, err := onnx.Parse(data, "mutated.onnx")
		if err != nil {
			continue
		}
		read++
		export.Inspect(m, export.InspectOptions{})
		opts := export.DefaultOptions()
		opts.Head = export.Heads()[i%4]
		if i%3 == 0 {
			opts.Shape = []int{1, 9, 12}
		}
		if _, err := export.Inference(m, opts); err == nil {
			exported++
		}
	}
	if read < rounds/10 || exported < rounds/100 {
		t.Errorf("of %d files %d were read and %d exported: the mutations are too coarse to test anything", rounds, read, exported)
	}
}
