package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

// statesVariable names the folder that bench/trace.py --states wrote: about
// 100 MB, so not part of the repository.
const statesVariable = "GRAFT_STATES"

// TestReferenceStates starts every iteration from PyTorch's own state, so that
// nothing can grow, and compares loss, gradients and the state that follows.
func TestReferenceStates(t *testing.T) {
	states := os.Getenv(statesVariable)
	if states == "" {
		t.Skipf("skipped: no states; write them with bench/trace.py --states DIR and set %s", statesVariable)
	}
	references(t, func(t *testing.T, ref *reference, dev kernel.Device) {
		dir := filepath.Join(states, filepath.Base(ref.dir))
		for i := range ref.Trace {
			var beside struct {
				Corners map[string]corner
				Spread  map[string]float64 // of gradients, see compareGradients
			}
			readJSON(t, filepath.Join(dir, fmt.Sprintf("corners_%d.json", i)), &beside)
			path := filepath.Join(dir, fmt.Sprintf("state_%d.onnx", i))
			state, velocity := readTensors(t, path, ""), readTensors(t, path, "velocity.")
			s, loss := ref.onPyTorchsSide(t, dev, i, beside.Corners, func(s *session) {
				for _, p := range s.net.Parameters() {
					if err := s.net.SetValue(p, state[p.Name]); err != nil {
						t.Fatal(err)
					}
				}
				if i > 0 {
					if err := s.opt.SetState(stateOf(s.net, "velocity", velocity)); err != nil {
						t.Fatal(err)
					}
				}
			})
			want := float64(state["loss"][0])
			if d := math.Abs(loss.Total-want) / want; !(d <= firstLossTolerance) {
				t.Errorf("iteration %d: loss %.7f, want %.7f: relative difference %.2g > %.0g", i, loss.Total, want, d, firstLossTolerance)
			}
			gradients, exact := readTensors(t, path, "gradient."), readTensors(t, path, "exact.")
			t.Logf("iteration %d: gradients lie %.1e from float64, PyTorch's %.1e", i, relativeDistance(s.gradients(), exact), relativeDistance(gradients, exact))
			compareGradients(t, s.gradients(), gradients, ref.Vanishing, beside.Spread)
			s.step(i)
			if i+1 < len(ref.Trace) {
				next := readTensors(t, filepath.Join(dir, fmt.Sprintf("state_%d.onnx", i+1)), "")
				compareStates(t, s, state, next, ref.Vanishing, beside.Spread)
			}
		}
	})
}

// stateOf is SGD's state of one kind.
func stateOf(net *graph.Network, kind string, values tensors) OptimizerState {
	all := map[string]*pb.TensorProto{}
	for name, v := range values {
		if p := net.Parameter(name); p != nil {
			all[name] = onnx.NewFloats(name, p.Shape, v)
		}
	}
	return OptimizerState{SGD{}.name(), map[string]map[string]*pb.TensorProto{kind: all}}
}

// compareStates holds what an iteration changed against what PyTorch changed.
func compareStates(t *testing.T, s *session, before, after tensors, vanishing []string, spread map[string]float64) {
	t.Helper()
	got, want := s.values(), tensors{}
	for name := range got {
		want[name] = after[name]
	}
	compareUpdates(t, got.minus(before), want.minus(before), before, vanishing, spread)
}
