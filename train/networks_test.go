package train

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/export"
	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/train/config"
)

// labelStride is the size of a picture over that of a network's labels.
func labelStride(encoder, decoder string) int {
	switch {
	case encoder == "hrnetv2" || strings.HasPrefix(decoder, "upernet"):
		return 4
	case strings.HasSuffix(encoder, "dilated"):
		return 8
	}
	return 32
}

// Every encoder, with two of the decoders in turn so that each decoder has its
// turn too, trains, goes on from its checkpoint's file as if it had not stopped,
// and is exported.
func TestEveryNetworkTrainsResumesAndExports(t *testing.T) {
	const height, width = 64, 96
	decoders := models.Decoders()
	for i, encoder := range models.Encoders() {
		for _, decoder := range []string{decoders[i%len(decoders)], decoders[(i+3)%len(decoders)]} {
			t.Run(encoder+" "+decoder, func(t *testing.T) {
				stride := labelStride(encoder, decoder)
				cfg, err := config.Parse(nil, "", "MODEL.arch_encoder", encoder, "MODEL.arch_decoder", decoder, "MODEL.width", "16",
					"DATASET.num_class", "5", "DATASET.padding_constant", "32", "DATASET.segm_downsampling_rate", fmt.Sprint(stride))
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(1, uint64(i)))
				b := Batch{make([]float32, 2*3*height*width), []int{2, 3, height, width}, make([]int32, 2*height*width/stride/stride)}
				for k := range b.Image {
					b.Image[k] = float32(r.NormFloat64())
				}
				for k := range b.Labels {
					b.Labels[k] = int32(r.IntN(6)) - 1
				}
				model, err := InitialModel(cfg)
				if err != nil {
					t.Fatal(err)
				}
				train := func(tr *Trainer) (loss float64, values map[string][]float32) {
					t.Helper()
					rec, err := tr.StepOn(b)
					if err != nil {
						t.Fatal(err)
					}
					return rec.Loss, valuesOf(t, tr.Net)
				}
				whole := trainerOn(t, cfg, model)
				_, first := train(whole)
				loss, want := train(whole)
				changed := 0
				for name, v := range valuesOf(t, trainerOn(t, cfg, model).Net) {
					if !reflect.DeepEqual(v, first[name]) {
						changed++
					}
				}
				if trainable := countTrainable(whole.Net); changed < trainable {
					t.Errorf("a step changed %d tensors, want the %d trainable ones at least", changed, trainable)
				}

				part := trainerOn(t, cfg, model)
				train(part)
				file := filepath.Join(t.TempDir(), CheckpointFile)
				if err := part.Save(file, nil); err != nil {
					t.Fatal(err)
				}
				c, err := LoadCheckpoint(file)
				if err != nil {
					t.Fatal(err)
				}
				resumed, err := ResumeTrainer(cfg, c, nativeDevice(t))
				if err != nil {
					t.Fatal(err)
				}
				if again, got := train(resumed); again != loss || !reflect.DeepEqual(got, want) {
					t.Errorf("resumed, the second loss is %v and not %v, or weights differ", again, loss)
				}
				deploy, err := export.Inference(c.Model, export.DefaultOptions())
				if err != nil {
					t.Fatal(err)
				}
				if err := onnx.Check(deploy); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func countTrainable(net *graph.Network) (n int) {
	for _, p := range net.Parameters() {
		if p.Trainable {
			n++
		}
	}
	return n
}
