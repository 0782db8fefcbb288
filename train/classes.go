package train

import (
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// ClassesOf returns names and colours of a model's DATASET.num_class classes:
// those of DATASET.classes or of the data set's format, else those that the model carries, else numbers.
func ClassesOf(cfg *config.Config, m *onnx.Model) (models.Classes, error) {
	d := &cfg.Dataset
	if classes, err := data.Classes(cfg); classes != nil || err != nil {
		return classes, err
	}
	classes, err := models.ClassesOf(m)
	if err != nil {
		return nil, err
	}
	if len(classes) != d.NumClass {
		classes = models.NumberedClasses(d.NumClass, d.LabelShift)
	}
	return classes, nil
}

// keepClasses makes the configuration's class list travel with the model.
func keepClasses(cfg *config.Config, m *onnx.Model) error {
	classes, err := data.Classes(cfg)
	if classes == nil || err != nil {
		return err
	}
	return models.SetClasses(m, classes)
}
