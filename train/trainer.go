package train

import (
	"fmt"
	"slices"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
)

// LossError is a loss that is not a number.
type LossError struct {
	Iteration int
	Value     float64
}

func (e *LossError) Error() string {
	return fmt.Sprintf("iteration %d: the loss is %v; lower TRAIN.lr_encoder and TRAIN.lr_decoder, or check the data with `graft doctor`", e.Iteration, e.Value)
}

// Trainer trains a model step by step. It owns the network, the optimizer and
// the count of iterations; batches come from the caller.
type Trainer struct {
	Net       *graph.Network
	Optimizer *Optimizer
	// Iteration is the number of steps done.
	Iteration int

	cfg  *config.Config
	loss *graph.Loss

	precision graph.Precision
	recompute graph.Recompute
	replica   int        // number of this one
	replicas  int        // that train together
	gradients *gradients // nil before the first step that needs them
	average   *average   // nil without TRAIN.ema_decay
}

// NewTrainer uploads a model whose output is log-probabilities named logprob,
// and optionally logprob_deepsup.
func NewTrainer(cfg *config.Config, m *onnx.Model, dev kernel.Device) (*Trainer, error) {
	m, err := ownTensors(m)
	if err != nil {
		return nil, err
	}
	setMomentum(m, cfg.Train.BNMomentum)
	loss := &graph.Loss{Ignore: -1}
	if loss.Terms, err = lossTerms(cfg); err != nil {
		return nil, err
	}
	for _, out := range m.GetGraph().GetOutput() {
		switch out.GetName() {
		case models.OutputName:
			loss.Outputs = append([]graph.LossOutput{{Name: models.OutputName, Weight: 1}}, loss.Outputs...)
		case models.DeepSupOutputName:
			if cfg.Train.DeepSupScale > 0 {
				loss.Outputs = append(loss.Outputs, graph.LossOutput{Name: models.DeepSupOutputName, Weight: float32(cfg.Train.DeepSupScale)})
			}
		}
	}
	if len(loss.Outputs) == 0 || loss.Outputs[0].Name != models.OutputName {
		return nil, fmt.Errorf("%s: no output %q of log-probabilities to train; `graft new` makes such a model of a backbone and a decoder", modelName(m), models.OutputName)
	}
	classes, err := classCount(m)
	if err != nil {
		return nil, err
	}
	if classes != cfg.Dataset.NumClass {
		return nil, fmt.Errorf("%s has %d classes, DATASET.num_class says %d", modelName(m), classes, cfg.Dataset.NumClass)
	}
	net, err := graph.NewNetwork(m, dev)
	if err != nil {
		return nil, err
	}
	if err := freeze(net, m, cfg.Model.Frozen); err != nil {
		return nil, err
	}
	net.SetSeed(uint64(cfg.Train.Seed))
	rule, err := configuredRule(&cfg.Train)
	if err != nil {
		return nil, err
	}
	opt, err := NewOptimizer(net, rule)
	if err != nil {
		return nil, err
	}
	net.SetUpdater(opt)
	t := &Trainer{Net: net, Optimizer: opt, cfg: cfg, loss: loss, replicas: 1, recompute: recompute[cfg.Train.Recompute]}
	if decay := cfg.Train.EMADecay; decay > 0 {
		if t.average, err = newAverage(net, m, decay); err != nil {
			return nil, err
		}
	}
	if cfg.Train.Precision == "bf16" && t.Fallback() == "" {
		t.precision = graph.BFloat16
	}
	return t, nil
}

// recompute holds the values of TRAIN.recompute.
var recompute = map[string]graph.Recompute{
	"auto": graph.RecomputeAuto, "none": graph.RecomputeNothing, "cheap": graph.RecomputeCheap, "full": graph.RecomputeSegments,
}

// Fallback says that the trainer computes in another precision than
// TRAIN.precision, and why; "" if it does not.
func (t *Trainer) Fallback() string {
	if dev := t.Net.Device(); t.cfg.Train.Precision == "bf16" && !kernel.FastBFloat16(dev) {
		return fmt.Sprintf("TRAIN.precision bf16 needs a processor with AVX512_BF16, which %s cannot use; training in fp32", dev.Name())
	}
	return ""
}

// freeze takes the parameters of MODEL.frozen out of training.
func freeze(net *graph.Network, m *onnx.Model, names []string) error {
	prefixes := make([]string, len(names))
	for i, name := range names {
		switch name {
		case "encoder":
			name = models.EncoderPrefix
		case "decoder":
			name = models.DecoderPrefix
		}
		prefixes[i] = name
	}
	if err := net.Freeze(prefixes...); err != nil {
		return fmt.Errorf("MODEL.frozen: %s: %w", modelName(m), err)
	}
	if !slices.ContainsFunc(net.Parameters(), func(p *graph.Parameter) bool { return p.Trainable }) {
		return fmt.Errorf("MODEL.frozen: %q leaves no parameter to train", names)
	}
	return nil
}

func modelName(m *onnx.Model) string {
	if m.Path != "" {
		return m.Path
	}
	return "the model"
}

// ownTensors returns a copy of a model in which no stored statistic shares its
// tensor with another operand: exporters merge equal tensors, and a step would
// then change a weight by way of the statistic.
func ownTensors(m *onnx.Model) (*onnx.Model, error) {
	readers, statistics := map[string]int{}, map[string]bool{}
	for _, n := range m.GetGraph().GetNode() {
		for i, name := range n.GetInput() {
			readers[name]++
			if n.GetOpType() == "BatchNormalization" && i >= 3 {
				statistics[name] = true
			}
		}
	}
	stored := map[string]bool{}
	for _, t := range m.GetGraph().GetInitializer() {
		stored[t.GetName()] = true
	}
	for name := range statistics {
		if !stored[name] || readers[name] > 1 {
			return onnx.Unshare(m)
		}
	}
	return m.Shallow(), nil
}

// setMomentum writes the share of old running statistics that every
// BatchNormalization keeps (ONNX's momentum, 1 minus PyTorch's).
func setMomentum(m *onnx.Model, newest float64) {
	for _, n := range m.GetGraph().GetNode() {
		if n.GetOpType() == "BatchNormalization" && n.GetDomain() == "" {
			onnx.SetAttr(n, onnx.FloatAttr("momentum", float32(1-newest)))
		}
	}
}

// Rates returns the learning rates of the next step.
func (t *Trainer) Rates() (encoder, decoder float64) {
	c := &t.cfg.Train
	return learningRate(t.cfg, c.LrEncoder, t.Iteration), learningRate(t.cfg, c.LrDecoder, t.Iteration)
}

// ResumeTrainer uploads a checkpoint and continues from it. The configuration may make the run longer: its schedule of that length
// then holds from the checkpoint on.
func ResumeTrainer(cfg *config.Config, c *Checkpoint, dev kernel.Device) (*Trainer, error) {
	t, err := NewTrainer(cfg, c.Model, dev)
	if err != nil {
		return nil, err
	}
	if c.Progress.Seed != uint64(cfg.Train.Seed) {
		return nil, fmt.Errorf("%s: written by a run of seed %d, not %d; a resumed run keeps its seed, a new one begins from these weights with MODEL.file",
			c.Model.Path, c.Progress.Seed, cfg.Train.Seed)
	}
	if c.Progress.MaxIterations > cfg.MaxIters() {
		return nil, fmt.Errorf("%s: written by a run of %d iterations; TRAIN.num_epoch %d of %d make %d, and a resumed run can become longer, not shorter",
			c.Model.Path, c.Progress.MaxIterations, cfg.Train.NumEpoch, cfg.Train.EpochIters, cfg.MaxIters())
	}
	for _, p := range t.Net.Parameters() {
		if v, ok := c.Trained[p.Name]; ok {
			if err := t.Net.SetTensor(p, v); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Model.Path, err)
			}
		}
	}
	if err := t.Optimizer.SetState(c.Optimizer); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Model.Path, err)
	}
	t.Iteration = c.Progress.Iteration
	return t, nil
}

// Predictor returns a predictor with the trainer's parameters, averaged if
// TRAIN.ema_decay says so, as they are when it is used.
func (t *Trainer) Predictor() *Predictor {
	net := t.Net
	if t.average != nil {
		net = t.average.net
	}
	return &Predictor{net: net, Classes: t.cfg.Dataset.NumClass, Flip: t.cfg.Val.Flip, Window: WindowOf(&t.cfg.Val)}
}
