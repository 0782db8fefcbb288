package progress

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestPlainLines(t *testing.T) {
	var b bytes.Buffer
	m := New(&b, Options{Label: "training", Total: 25, Start: 7, Every: 10})
	for i := 8; i <= 25; i++ {
		m.Step(i, fmt.Sprintf("loss %d", i))
	}
	m.Printf("saved %s", "x")
	m.Done()
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	want := []string{
		`^training 10/25  loss 10  [\d.]+ it/s, \S+ left$`,
		`^training 20/25  loss 20  [\d.]+ it/s, \S+ left$`,
		`^training 25/25  loss 25  [\d.]+ it/s, took \S+$`,
		`^saved x$`,
	}
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), b.String())
	}
	for i, w := range want {
		if !regexp.MustCompile(w).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], w)
		}
	}
	if strings.ContainsAny(b.String(), "\r\x1b") {
		t.Error("control characters in plain output")
	}
}

// A short task is one line; a long one tells of itself every ten seconds.
func TestLinesByTime(t *testing.T) {
	var b bytes.Buffer
	m := New(&b, Options{Label: "x", Total: 1000})
	for i := range 999 {
		m.Step(i+1, "")
		if i == 499 {
			m.spoke = m.spoke.Add(-quiet)
		}
	}
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "x 501/1000 ") {
		t.Errorf("before the end: %q", got)
	}
	m.Step(1000, "")
	if got := b.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "\nx 1000/1000 ") {
		t.Errorf("at the end: %q", got)
	}
}

func TestBar(t *testing.T) {
	var b bytes.Buffer
	m := newMeter(&b, Options{Label: "training", Total: 4, Start: 1}, true)
	m.Step(3, "loss 1.5")
	m.Printf("a line")
	m.Step(9, "") // past the end
	m.Done()
	for _, part := range []string{"training", "a line\n"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("%q is missing from %q", part, b.String())
		}
	}
	if !strings.HasSuffix(b.String(), "\n") {
		t.Errorf("the cursor is not on a fresh line: %q", b.String())
	}
}
