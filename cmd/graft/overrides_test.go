package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestSettingsMayStandApart(t *testing.T) {
	parser, err := newParser(context.Background(), nil, streams{io.Discard, io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, want string }{
		{"train --cfg c.yaml TRAIN.lr 0.1 --device native DATASET.root x", "train --cfg c.yaml --device native TRAIN.lr 0.1 DATASET.root x"},
		{"train TRAIN.num_epoch 2 --resume DIR run --cfg=c.yaml", "train --resume --cfg=c.yaml TRAIN.num_epoch 2 DIR run"},
		{"eval DATASET.ignore_index -1 --cfg c.yaml --json DIR -x", "eval --cfg c.yaml --json DATASET.ignore_index -1 DIR -x"},
		{"train --cfg c.yaml TRAIN.num_epoch", "train --cfg c.yaml TRAIN.num_epoch"},
		{"train --cfg", "train --cfg"},
		{"train --cfg c.yaml A b -- C d", "train --cfg c.yaml A b -- C d"},
		{"predict model.onnx a.jpg --threads 2 b.jpg", "predict model.onnx a.jpg --threads 2 b.jpg"},
		{"trian --cfg c.yaml", "trian --cfg c.yaml"},
		{"--help", "--help"},
	} {
		args := strings.Fields(c.line)
		if got := gather(parser.Model, args); !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s\nbecomes %s\nwant    %s", c.line, strings.Join(got, " "), c.want)
		}
		if !slices.Equal(args, strings.Fields(c.line)) {
			t.Errorf("%s: the line itself changed to %q", c.line, args)
		}
	}
}
