package config_test

import (
	"fmt"

	"github.com/graft-onnx/graft/train/config"
)

func Example() {
	file := []byte(`DATASET:
  num_class: 11
  imgSizes: (240, 300)
TRAIN:
  num_epoch: 5
`)
	c, err := config.Parse(file, "camvid.yaml", "TRAIN.epoch_iters", "100")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Dataset.ImgSizes, c.MaxIters())

	_, err = config.Parse([]byte("TRAIN:\n  num_epochs: 5\n"), "camvid.yaml")
	fmt.Println(err)
	// Output:
	// [240 300] 500
	// camvid.yaml:2: TRAIN.num_epochs: unknown key; did you mean TRAIN.num_epoch?
}
