package train

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/graft-onnx/graft/graph/kernel"
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
	// Trained holds the parameters in training, row-major by name, where the
	// model's are their averages (TRAIN.ema_decay); else it is empty.
	Trained   map[string][]float32
	Optimizer OptimizerState
	Progress  Progress
}

// Save writes the checkpoint atomically.
func (c *Checkpoint) Save(path string) error {
	m := c.Model.Shallow() // weights are large
	m.MetadataProps = slices.Clone(m.MetadataProps)
	m.DeleteMetadata(metadataTraining)
	shapes := map[string][]int{}
	for _, t := range m.GetGraph().GetInitializer() {
		shapes[t.GetName()] = onnx.Dims(t)
	}
	state := &pb.GraphProto{Name: optimizerGraph}
	states := maps.Clone(c.Optimizer.Tensors)
	if len(c.Trained) > 0 {
		states[trainedState] = c.Trained
	}
	for _, kind := range slices.Sorted(maps.Keys(states)) {
		tensors := states[kind]
		for _, name := range slices.Sorted(maps.Keys(tensors)) {
			state.Initializer = append(state.Initializer, onnx.NewFloats(kind+":"+name, shapes[name], tensors[name]))
		}
	}
	m.TrainingInfo = []*pb.TrainingInfoProto{{Algorithm: state}}
	progress := c.Progress
	progress.Optimizer = c.Optimizer.Name
	if err := m.SetMetadataJSON(metadataTraining, progress); err != nil {
		return err
	}
	return m.Save(path)
}

// LoadCheckpoint reads a file that Save wrote.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	m, err := loadChecked(path)
	if err != nil {
		return nil, err
	}
	text, ok := m.Metadata(metadataTraining)
	if !ok {
		return nil, fmt.Errorf("%s: %w: it has no training state; start a new run from it with MODEL.file", path, ErrNotCheckpoint)
	}
	c := &Checkpoint{Model: m, Optimizer: OptimizerState{Tensors: map[string]map[string][]float32{}}}
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
			v, err := onnx.Floats(t)
			if err != nil {
				return nil, err
			}
			shape, ok := shapes[name]
			if !ok || kernel.Len(shape) != len(v) {
				return nil, fmt.Errorf("%s: %w: optimizer state of %q does not fit the model", path, ErrNotCheckpoint, name)
			}
			if c.Optimizer.Tensors[kind] == nil {
				c.Optimizer.Tensors[kind] = map[string][]float32{}
			}
			c.Optimizer.Tensors[kind][name] = v
		}
	}
	c.Trained = c.Optimizer.Tensors[trainedState]
	delete(c.Optimizer.Tensors, trainedState)
	return c, nil
}
