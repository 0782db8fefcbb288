package train

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/history"
)

// ErrNotCheckpoint marks an ONNX file without the state of a training run.
var ErrNotCheckpoint = errors.New("not a checkpoint")

// Keys and names of what a checkpoint adds to a model.
const (
	metadataTraining = "graft.training" // JSON of Progress
	// optimizerGraph is the training_info algorithm whose initializers are the
	// optimizer's states, named state:parameter.
	optimizerGraph = "graft.optimizer"
	// trainedState is the state under which a checkpoint of averages keeps the
	// parameters that they follow.
	trainedState = "trained"
)

// Progress is where a run stands. It holds no times, so that equal runs write
// equal bytes.
type Progress struct {
	Iteration     int              `json:"iteration"` // steps done
	MaxIterations int              `json:"max_iterations"`
	Seed          uint64           `json:"seed"`
	Optimizer     string           `json:"optimizer"` // its name
	Config        string           `json:"config"`    // the resolved YAML
	History       []history.Record `json:"history"`
}

// Checkpoint is a model in the middle of its training: one ONNX file that any
// ONNX tool opens, with the optimizer's state in training_info.
type Checkpoint struct {
	Model *onnx.Model // weights and running statistics
	// Trained holds the parameters in training, by name, where the model's are
	// their averages (TRAIN.ema_decay); else it is empty.
	Trained   map[string]*pb.TensorProto
	Optimizer OptimizerState
	Progress  Progress
}

// Save writes the state of the run as a checkpoint, atomically and in stretches:
// it takes no memory for a copy of the weights. The records go in without their
// times. A state that is not finite is an error: the weights are lost, and a
// checkpoint of them must not replace a better one.
func (t *Trainer) Save(path string, records []history.Record) error {
	if err := t.Optimizer.checkFinite(); err != nil {
		return fmt.Errorf("iteration %d: %w; lower TRAIN.lr_encoder and TRAIN.lr_decoder, or check the data with `graft doctor`", t.Iteration-1, err)
	}
	net := t.Net
	if t.average != nil {
		net = t.average.net
	}
	m, sources := net.Model()
	state := &pb.GraphProto{Name: optimizerGraph}
	add := func(kind string, p *graph.Parameter) {
		one := onnx.NewEmpty(kind+":"+p.Name, pb.TensorProto_FLOAT, p.Shape)
		state.Initializer = append(state.Initializer, one)
		sources[one] = t.Net.Source(p)
	}
	for i, kind := range t.Optimizer.rule.states() {
		for _, p := range t.Optimizer.params {
			add(kind, p.as(p.states[i]))
		}
	}
	if t.average != nil {
		for _, p := range t.Net.Parameters() {
			add(trainedState, p)
		}
	}
	slices.SortFunc(state.Initializer, func(a, b *pb.TensorProto) int { return cmp.Compare(a.GetName(), b.GetName()) })
	m.TrainingInfo = []*pb.TrainingInfoProto{{Algorithm: state}}
	records = slices.Clone(records)
	for i := range records {
		records[i] = records[i].Untimed()
	}
	m.MetadataProps = slices.Clone(m.MetadataProps)
	m.DeleteMetadata(metadataTraining)
	if err := m.SetMetadataJSON(metadataTraining, Progress{
		Iteration: t.Iteration, MaxIterations: t.cfg.MaxIters(), Seed: uint64(t.cfg.Train.Seed), Optimizer: t.Optimizer.Name(),
		Config: string(t.cfg.YAML()), History: records,
	}); err != nil {
		return err
	}
	return m.SaveFrom(path, sources)
}

// LoadCheckpoint reads a file that Trainer.Save wrote.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	m, err := loadChecked(path)
	if err != nil {
		return nil, err
	}
	text, ok := m.Metadata(metadataTraining)
	if !ok {
		return nil, fmt.Errorf("%s: %w: it has no training state; start a new run from it with MODEL.file", path, ErrNotCheckpoint)
	}
	c := &Checkpoint{Model: m, Optimizer: OptimizerState{Tensors: map[string]map[string]*pb.TensorProto{}}}
	if err := json.Unmarshal([]byte(text), &c.Progress); err != nil {
		return nil, fmt.Errorf("%s: %w: damaged training state: %w", path, ErrNotCheckpoint, err)
	}
	c.Optimizer.Name = cmp.Or(c.Progress.Optimizer, SGD{}.name()) // checkpoints without a name are older than the others
	shapes := map[string][]int{}
	for _, t := range m.GetGraph().GetInitializer() {
		shapes[t.GetName()] = onnx.Dims(t)
	}
	for _, info := range m.GetTrainingInfo() {
		if info.GetAlgorithm().GetName() != optimizerGraph {
			continue
		}
		for _, t := range info.GetAlgorithm().GetInitializer() {
			kind, name, _ := strings.Cut(t.GetName(), ":")
			if shape, ok := shapes[name]; !ok || !slices.Equal(shape, onnx.Dims(t)) || !onnx.IsFloat(onnx.DataType(t)) {
				return nil, fmt.Errorf("%s: %w: optimizer state of %q does not fit the model", path, ErrNotCheckpoint, name)
			}
			if c.Optimizer.Tensors[kind] == nil {
				c.Optimizer.Tensors[kind] = map[string]*pb.TensorProto{}
			}
			c.Optimizer.Tensors[kind][name] = t
		}
	}
	c.Trained = c.Optimizer.Tensors[trainedState]
	delete(c.Optimizer.Tensors, trainedState)
	return c, nil
}
