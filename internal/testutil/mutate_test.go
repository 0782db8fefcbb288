package testutil

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestMutate(t *testing.T) {
	file, other := []byte("a file of some length"), []byte("ANOTHER")
	kept := bytes.Clone(file)
	different := map[string]bool{}
	for seed := range uint64(500) {
		got := Mutate(rand.New(rand.NewPCG(seed, 0)), file, other)
		if again := Mutate(rand.New(rand.NewPCG(seed, 0)), file, other); !bytes.Equal(got, again) {
			t.Fatalf("seed %d gives %q and %q", seed, got, again)
		}
		different[string(got)] = true
	}
	if !bytes.Equal(file, kept) || !bytes.Equal(other, []byte("ANOTHER")) {
		t.Error("the original is changed")
	}
	if len(different) < 450 {
		t.Errorf("500 seeds give %d files", len(different))
	}
	if len(Mutate(rand.New(rand.NewPCG(1, 0)), nil)) == 0 {
		t.Error("nothing comes of nothing")
	}
}
