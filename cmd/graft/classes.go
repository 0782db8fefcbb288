package main

import (
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// classesOf finds names and colours of the classes: the configuration's file,
// the model's own, or numbers.
func classesOf(cfg *config.Config, m *onnx.Model) (*data.Classes, error) {
	if cfg.Dataset.Classes != "" {
		return data.LoadClasses(cfg.Dataset.Classes, cfg.Dataset.NumClass, cfg.Dataset.LabelShift)
	}
	return classesOfModel(m, cfg.Dataset.NumClass)
}

func classesOfModel(m *onnx.Model, n int) (*data.Classes, error) {
	list, err := models.ClassesOf(m)
	if err != nil || len(list) != n {
		return data.DefaultClasses(n), err
	}
	c := &data.Classes{}
	for _, k := range list {
		c.Names = append(c.Names, k.Name)
		c.Colors = append(c.Colors, k.Colour)
	}
	return c, nil
}
