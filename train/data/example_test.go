package data_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

func Example() {
	dir, err := os.MkdirTemp("", "graft-example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	files, err := data.Synthesize(ctx, dir, data.SynthOptions{Train: 6, Val: 2, Width: 64, Height: 48, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := config.Parse(nil, "", "DATASET.root_dataset", files.Root, "DATASET.list_train", files.ListTrain,
		"DATASET.num_class", "5", "DATASET.imgSizes", "(32,)")
	if err != nil {
		fmt.Println(err)
		return
	}
	set, err := data.Open(cfg, data.Train)
	if err != nil {
		fmt.Println(err)
		return
	}
	loader, err := data.NewTrainLoader(set, data.OptionsFrom(cfg))
	if err != nil {
		fmt.Println(err)
		return
	}
	stream := loader.Stream(ctx, 0, 3)
	defer stream.Close()
	for {
		batch, err := stream.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("batch %d: %d pictures of %d x %d, labels %d x %d\n",
			batch.Iteration, batch.N, batch.H, batch.W, batch.LabelH, batch.LabelW)
		batch.Release()
	}
	// Output:
	// batch 0: 2 pictures of 32 x 48, labels 4 x 6
	// batch 1: 2 pictures of 32 x 48, labels 4 x 6
	// batch 2: 2 pictures of 32 x 48, labels 4 x 6
}
