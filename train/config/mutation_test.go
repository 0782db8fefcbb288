package config

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMutatedFiles reads a configuration with bytes changed at random: each
// is read, and then written and read to the same, or refused with typed
// errors, in under a second.
func TestMutatedFiles(t *testing.T) {
	const marks = "\n:{}[]()&*!|>-#\"',0" // what means something in YAML
	r := rand.New(rand.NewPCG(3, 3))
	whole := Default().YAML()
	read, refused := 0, 0
	for i := range 1500 {
		b := bytes.Clone(whole)
		if i%2 == 0 {
			b = []byte(reference)
		}
		for range 1 + r.IntN(4) {
			at := r.IntN(len(b))
			switch r.IntN(5) {
			case 0:
				b[at] = byte(r.Uint32())
			case 1:
				b[at] = marks[r.IntN(len(marks))]
			case 2:
				b = append(b[:at:at], b[min(len(b), at+1+r.IntN(8)):]...)
			case 3:
				end := min(len(b), at+1+r.IntN(40))
				b = append(b[:end:end], b[at:]...)
			case 4:
				b = b[:at+1]
			}
			if len(b) == 0 {
				break
			}
		}
		start := time.Now()
		c, err := Parse(b, "m.yaml")
		if took := time.Since(start); took > time.Second {
			t.Fatalf("mutation %d took %v:\n%q", i, took, b)
		}
		if err != nil {
			var errs *Errors
			if refused++; !errors.As(err, &errs) || len(errs.List) == 0 {
				t.Fatalf("mutation %d: an untyped error: %v", i, err)
			}
			continue
		}
		read++
		back, err := Parse(c.YAML(), "n.yaml")
		if err != nil || !same(c, back) {
			t.Fatalf("mutation %d: written and read: %v\n%q", i, err, b)
		}
	}
	t.Logf("%d read, %d refused", read, refused)
	if read == 0 || refused == 0 {
		t.Error("the mutations are all of one kind")
	}
}
