package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--rounds", "0"}, "--rounds"},
		{[]string{"--steps", "0"}, "--steps"},
		{[]string{"--training=false"}, "--inference"},
		{[]string{"--only", "vgg"}, "vgg"},
	} {
		var out, progress bytes.Buffer
		if err := run(c.args, &out, &progress); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v", c.args, err)
		}
	}
}

func TestProcessor(t *testing.T) {
	for info, want := range map[string]string{
		"": "processor unknown",
		"processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Epic\n\nprocessor\t: 1\nmodel name\t: Other\n": "Epic (family 26, model 2)",
		"model name : Plain\n": "Plain",
	} {
		if got := processor(info); got != want {
			t.Errorf("%q: got %q, want %q", info, got, want)
		}
	}
}
