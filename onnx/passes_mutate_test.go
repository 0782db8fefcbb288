package onnx

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/onnx/pb"
)

// Inference and the passes come back from any damaged model, checked before or
// not, within a bound of memory.
func TestPassesSurviveMutations(t *testing.T) {
	seeds := seedModels(t)
	seeds = append(seeds,
		callModel(t, AdaptiveAveragePoolFunction(), IntsAttr("output_size", 3, 2)),
		callModel(t, ChannelDropoutFunction(), FloatAttr("ratio", 0.4)),
		load(t, "torchvision", "resnet18_dedup", "evalkeep_op13.onnx"),
		load(t, "torchvision", "mobilenet_v2", "train_op13.onnx"),
		load(t, "torchvision", "shufflenet_v2_x0_5", "train_dyn_op13.onnx"),
		load(t, "torchvision", "deeplabv3_mobilenet_v3_large", "evalfold_op13.onnx"),
		load(t, "onnx", "light", "light_squeezenet.onnx"),
		load(t, "onnx", "cnn", "ultraface_rfb_320.onnx"))
	for k := range mutations(t, 400) {
		rng := rand.New(rand.NewPCG(uint64(k), 77))
		seed := seeds[k%len(seeds)]
		m := &Model{ModelProto: &pb.ModelProto{}, Path: fmt.Sprintf("mutation %d", k)}
		// Damage in the nodes; the weights of the large seeds are shared.
		shared := shell(seed)
		weights := shared.Graph.Initializer
		if len(weights) > 20 {
			shared.Graph.Initializer = nil
		}
		m.ModelProto = proto.Clone(shared.ModelProto).(*pb.ModelProto)
		for range 1 + rng.IntN(4) {
			mutateMessage(rng, m.ProtoReflect())
		}
		if len(weights) > 20 && m.Graph != nil {
			m.Graph.Initializer = append(m.Graph.Initializer, weights...)
		}
		survives(t, m.Path, 1<<30, func() {
			_, _ = Infer(m)
			sizes := map[string][]int{}
			for _, v := range m.Inputs() {
				sizes[v.GetName()] = []int{1, 3, 64, 64}
			}
			_, _, _ = Specialize(m, sizes)
			_, _, _ = Specialize(m, nil)
			_, _ = Inline(m, nil)
			_, _ = Unshare(m)
			_, _ = Dynamic(m)
			_, _ = Dilate(m, 8)
			_, _, _ = Import(m, 8)
			if g := m.GetGraph(); len(g.GetNode()) > 2 && len(g.GetOutput()) > 0 {
				n := g.Node[rng.IntN(len(g.Node))]
				_, _ = Extract(m, n.GetOutput(), []string{g.Output[0].GetName()})
				_, _ = Join(m, seed, map[string]string{"x": g.Output[0].GetName(), "input": g.Output[0].GetName()})
			}
		})
	}
}
