package graph_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graft-onnx/graft/graph"
)

// together calls f for every member at the same time and returns its errors.
func together(groups []graph.Group, f func(i int, g graph.Group) error) []error {
	errs := make([]error, len(groups))
	var all sync.WaitGroup
	for i, g := range groups {
		all.Go(func() { errs[i] = f(i, g) })
	}
	all.Wait()
	return errs
}

func TestGroupSums(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b"}, {"a", "b", "c", "d", "e"}} {
		for _, n := range []int{0, 1, 3, 1000} {
			singles, doubles := make([][]float32, len(names)), make([][]float64, len(names))
			want, wantDouble := make([]float32, n), make([]float64, n)
			for i := range names {
				for k := range n {
					singles[i] = append(singles[i], 1/float32(1+i+k))
					doubles[i] = append(doubles[i], 1/float64(1+i+k))
					want[k] += singles[i][k] // in the order of the members
					wantDouble[k] += doubles[i][k]
				}
			}
			groups := graph.NewGroup(names...)
			errs := together(groups, func(i int, g graph.Group) error {
				if g.Size() != len(names) || g.Rank() != i || g.Local() != len(names) || g.Name() != names[i] {
					t.Errorf("member %d is %s, %d of %d, of which %d are here", i, g.Name(), g.Rank(), g.Size(), g.Local())
				}
				return errors.Join(g.Sum("singles", singles[i]), g.SumDouble("doubles", doubles[i]))
			})
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for i := range names {
				if !slices.Equal(singles[i], want) && n > 0 {
					t.Errorf("%v: member %d has %v, want %v", names, i, singles[i], want)
				}
				if !slices.Equal(doubles[i], wantDouble) && n > 0 {
					t.Errorf("%v: member %d has %v, want %v", names, i, doubles[i], wantDouble)
				}
			}
		}
	}
}

// Members that do different things, or of which one fails, end with an error
// that says so, and never wait for each other.
func TestGroupThatCannotGoOn(t *testing.T) {
	three := []float32{1, 2, 3}
	tests := map[string]struct {
		f     func(i int, g graph.Group) error
		words []string
	}{
		"other names":   {func(i int, g graph.Group) error { return g.Sum(g.Name(), slices.Clone(three)) }, []string{"replica cpu:1", "cpu:1 of 3", "replica cpu:0 of 3"}},
		"other lengths": {func(i int, g graph.Group) error { return g.Sum("w", slices.Clone(three[i:])) }, []string{"replica cpu:1", "w of 2", "w of 3"}},
		"other types": {func(i int, g graph.Group) error {
			if i == 0 {
				return g.Sum("w", slices.Clone(three))
			}
			return g.SumDouble("w", make([]float64, 3))
		}, []string{"replica cpu:1", "w of 3"}},
		"failure": {func(i int, g graph.Group) error {
			if i == 2 {
				g.Fail(errors.New("on fire"))
				g.Fail(errors.New("in water")) // the first reason counts
			}
			return g.Sum("w", slices.Clone(three))
		}, []string{"replica cpu:2: on fire"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for i, err := range together(graph.NewGroup("replica cpu:0", "replica cpu:1", "replica cpu:2"), test.f) {
				var group *graph.GroupError
				if !errors.As(err, &group) {
					t.Fatalf("member %d: %v, want a *GroupError", i, err)
				}
				for _, word := range test.words {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("member %d: %q does not say %q", i, err, word)
					}
				}
			}
		})
	}
}
