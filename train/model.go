package train

import (
	"fmt"
	"os"
	"strings"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
)

// InitialModel builds or loads the model that a configuration asks for, with
// the weights of MODEL.weights_encoder and MODEL.weights_decoder and the class
// list of DATASET.classes, if given.
func InitialModel(cfg *config.Config) (*onnx.Model, error) {
	var m *onnx.Model
	var err error
	if cfg.Model.File != "" {
		m, err = loadChecked(cfg.Model.File)
	} else {
		m, err = models.New(models.Spec{
			Encoder: cfg.Model.ArchEncoder, Decoder: cfg.Model.ArchDecoder,
			Classes: cfg.Dataset.NumClass, Seed: int64(cfg.Train.Seed), Width: cfg.Model.Width,
		})
	}
	if err != nil {
		return nil, err
	}
	if err := keepClasses(cfg, m); err != nil {
		return nil, err
	}
	onnx.SetNormalisation(m, singles(cfg.Dataset.Mean), singles(cfg.Dataset.Std))
	for _, w := range []struct{ key, file, prefix string }{
		{"MODEL.weights_encoder", cfg.Model.WeightsEncoder, models.EncoderPrefix},
		{"MODEL.weights_decoder", cfg.Model.WeightsDecoder, models.DecoderPrefix},
	} {
		if w.file == "" {
			continue
		}
		if _, err := os.Stat(w.file); err != nil {
			return nil, fmt.Errorf("%s: %w; name an .onnx file with %s* parameters, or leave it empty", w.key, err, w.prefix)
		}
		from, err := loadChecked(w.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.key, err)
		}
		if err := copyInitializers(m, from, w.prefix); err != nil {
			return nil, fmt.Errorf("%s: %w", w.key, err)
		}
	}
	return m, nil
}

// loadChecked reads a model that the passes can rely on.
func loadChecked(path string) (*onnx.Model, error) {
	m, err := onnx.Load(path)
	if err != nil {
		return nil, err
	}
	return m, onnx.Check(m)
}

func singles(values []float64) []float32 {
	out := make([]float32, len(values))
	for i, v := range values {
		out[i] = float32(v)
	}
	return out
}

// copyInitializers replaces the float initializers of m whose names start with
// prefix by those of the same name and shape in from.
func copyInitializers(m, from *onnx.Model, prefix string) error {
	source := map[string]*pb.TensorProto{}
	for _, t := range from.GetGraph().GetInitializer() {
		source[t.GetName()] = t
	}
	copied := 0
	for _, t := range m.GetGraph().GetInitializer() {
		if !strings.HasPrefix(t.GetName(), prefix) {
			continue
		}
		s := source[t.GetName()]
		if s == nil {
			return fmt.Errorf("%s: no parameter %q; the file holds another network", modelName(from), t.GetName())
		}
		if fmt.Sprint(onnx.Dims(s)) != fmt.Sprint(onnx.Dims(t)) {
			return fmt.Errorf("%s: parameter %q has shape %v, the model wants %v", modelName(from), t.GetName(), onnx.Dims(s), onnx.Dims(t))
		}
		data, err := onnx.Floats(s)
		if err != nil {
			return fmt.Errorf("%s: %w", modelName(from), err)
		}
		if err := onnx.SetFloats(t, data); err != nil {
			return fmt.Errorf("%s: parameter %q: %w", modelName(m), t.GetName(), err)
		}
		copied++
	}
	if copied == 0 {
		return fmt.Errorf("%s: the model has no parameters named %s*", modelName(m), prefix)
	}
	return nil
}
