package train

import (
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
)

// average follows the parameters and running statistics of a network in
// training: after every step each becomes decay times itself plus 1-decay times
// the trained one. It is a network of its own, so that it can be evaluated and
// saved as it is.
type average struct {
	net    *graph.Network
	follow []*call
}

// newAverage begins with the parameters of the model m, which net was made of.
func newAverage(net *graph.Network, m *onnx.Model, decay float64) (*average, error) {
	dev := net.Device()
	a := &average{}
	var err error
	if a.net, err = graph.NewNetwork(m, dev); err != nil {
		return nil, err
	}
	share, err := allocate(dev, []float32{float32(1 - decay)})
	if err != nil {
		return nil, err
	}
	for _, p := range net.Parameters() {
		c, err := newCall(dev, kernel.Average{Len: p.Len()}, share, p.Value, a.net.Parameter(p.Name).Value)
		if err != nil {
			return nil, err
		}
		a.follow = append(a.follow, c)
	}
	return a, nil
}

// step takes the parameters of an iteration in.
func (a *average) step() error {
	a.net.Changed()
	return runAll(a.net.Device(), a.follow)
}
