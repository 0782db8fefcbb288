// Command infer times how long pictures take to become class probabilities of
// their own size, in graft or in ONNX Runtime, and prints a bench.Result.
//
//	go run ./bench/infer --model model.onnx --image image.pb --device native
//	go run ./bench/infer --model deploy.onnx --image image.pb --device onnxruntime
//
// graft takes the training graph, as `graft eval` and `graft predict` do; ONNX
// Runtime takes what `graft export` makes of it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/graft-onnx/graft/bench"
	"github.com/graft-onnx/graft/onnx"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "infer:", err)
		os.Exit(1)
	}
}

// engine computes the class probabilities of one batch again and again.
type engine interface {
	// String describes what computes: version, instruction set.
	String() string
	// Infer returns the probabilities, row-major; they may be overwritten by
	// the next call.
	Infer() ([]float32, error)
	// Shape returns their shape (N,C,H,W).
	Shape() []int
	Close() error
}

func run(args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("infer", flag.ContinueOnError)
	file := flags.String("model", "", "model `file`: a training graph for graft's devices, an exported one for onnxruntime")
	image := flags.String("image", "", "`file` with an ONNX tensor float32 (N,3,H,W)")
	batch := flags.Int("batch", 0, "how many of the pictures to take; 0 for all")
	whole := flags.Bool("whole", false, "one probability a class for the whole picture, of a network without height and width")
	name := flags.String("device", "native", "native, onednn or onnxruntime")
	threads := flags.Int("threads", 2, "threads of the device")
	warmup := flags.Int("warmup", 2, "runs that are not reported")
	steps := flags.Int("steps", 5, "runs that are reported")
	output := flags.String("output", "", "`file` for the probabilities as an ONNX tensor (N,C,H,W)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pixels, shape, err := bench.ReadTensor(*image, onnx.Floats)
	if err != nil {
		return err
	}
	if len(shape) != 4 || *batch < 0 || *batch > shape[0] {
		return fmt.Errorf("%s has shape %v; a batch of %d pictures cannot be taken of it", *image, shape, *batch)
	}
	if *batch > 0 {
		pixels, shape[0] = pixels[:len(pixels)/shape[0]**batch], *batch
	}
	height, width := shape[2], shape[3]
	if *whole {
		height, width = 1, 1
	}
	open := openGraft
	if *name == onnxRuntime {
		open = openRuntime
	}
	e, err := open(*file, *name, *threads, input{pixels, shape, height, width})
	if err != nil {
		if missing(err) {
			return json.NewEncoder(out).Encode(bench.Result{Refused: err.Error()})
		}
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()

	result := bench.Result{Program: e.String()}
	var probabilities []float32
	for i := range *warmup + *steps {
		begin := time.Now()
		if probabilities, err = e.Infer(); err != nil {
			return err
		}
		if i >= *warmup {
			result.Seconds = append(result.Seconds, time.Since(begin).Seconds())
		}
	}
	result.PeakBytes = bench.PeakBytes()
	if *output != "" {
		if err := bench.WriteTensor(*output, onnx.NewFloats("probability", e.Shape(), probabilities)); err != nil {
			return err
		}
	}
	return json.NewEncoder(out).Encode(result)
}
