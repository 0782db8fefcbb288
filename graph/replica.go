package graph

import (
	"fmt"
	"math"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/op"
)

// A Network that has joined a Group computes what one network on the batches of
// all members would: batch normalisation uses the statistics of all, forward and
// backward, and gradients are those of the mean of the members' losses. For this
// the compiler puts sums over the Group between the kernels of a training Plan.
// They hang on nodes of the model, so Plans for different picture sizes meet at
// the same ones in the same order.

// Join makes the Network a member of a Group. It comes before the first Plan.
func (n *Network) Join(g Group) {
	n.group = g
	n.memory /= g.Local()
}

// shared is what a computation over the Group needs: it runs on the host, with
// numbers copied from and to the device.
type shared struct {
	network *Network
	what    string
	double  []float64
}

// Scratch implements kernel.Kernel.
func (*shared) Scratch() int { return 0 }

func (s *shared) download(b kernel.Buffer) ([]float32, error) {
	v := s.network.stage(b.Size() / 4)
	return v, s.network.dev.Download(kernel.Bytes(v), b)
}

func (s *shared) upload(b kernel.Buffer, v []float32) error {
	return s.network.dev.Upload(b, kernel.Bytes(v))
}

func (s *shared) sum() error { return s.network.group.SumDouble(s.what, s.double) }

// sharing describes a computation over the Group.
type sharing interface {
	kernel.Desc
	join(s shared) kernel.Kernel
}

// moments counts the pixels that statistics are of, in one run.
type moments struct{ own, all float64 }

// shareStats replaces the statistics of this member's batch by those of all.
// Args: stats.
type shareStats struct {
	kernel.BatchNormStats
	moments *moments
}

func (d shareStats) Args() []kernel.Arg {
	return []kernel.Arg{{Name: "stats", Shape: []int{3, d.C}, Dir: kernel.InOut}}
}

func (d shareStats) join(s shared) kernel.Kernel {
	s.double = make([]float64, 1+2*d.C)
	return &statsSharer{s, d}
}

type statsSharer struct {
	shared
	shareStats
}

// Run implements kernel.Kernel: count, sums and sums of squares add up.
func (k *statsSharer) Run(args []kernel.Buffer) error {
	stats, err := k.download(args[0])
	if err != nil {
		return err
	}
	c := k.C
	sums, squares := k.double[1:1+c], k.double[1+c:]
	own := float64(k.N * k.H * k.W)
	k.double[0] = own
	for i := range c {
		mean, variance := float64(stats[i]), float64(stats[c+i])
		sums[i], squares[i] = own*mean, own*(variance+mean*mean)
	}
	if err := k.sum(); err != nil {
		return err
	}
	all := k.double[0]
	*k.moments = moments{own, all}
	for i := range c {
		mean := sums[i] / all
		variance := max(0, squares[i]/all-mean*mean)
		stats[i], stats[c+i], stats[2*c+i] = float32(mean), float32(variance), float32(1/math.Sqrt(variance+float64(k.Eps)))
	}
	return k.upload(args[0], stats)
}

// shareRunning is kernel.BatchNormRunning for as many elements as the members'
// batches have together. Args: stats, mean, variance.
type shareRunning struct {
	kernel.BatchNormRunning
	moments *moments
}

func (d shareRunning) join(s shared) kernel.Kernel { return &runningSharer{s, d} }

type runningSharer struct {
	shared
	shareRunning
}

// Run implements kernel.Kernel. It waits for nobody.
func (k *runningSharer) Run(args []kernel.Buffer) error {
	c := k.C
	host := k.network.stage(5 * c)
	stats, stored := host[:3*c], [2][]float32{host[3*c : 4*c], host[4*c:]}
	if err := k.network.dev.Download(kernel.Bytes(stats), args[0]); err != nil {
		return err
	}
	keep := float64(k.Momentum)
	take := [2]float64{1 - keep, (1 - keep) * k.moments.all / max(k.moments.all-1, 1)}
	for row, v := range stored {
		if err := k.network.dev.Download(kernel.Bytes(v), args[1+row]); err != nil {
			return err
		}
		for i := range v {
			v[i] = float32(keep*float64(v[i]) + take[row]*float64(stats[row*c+i]))
		}
		if err := k.upload(args[1+row], v); err != nil {
			return err
		}
	}
	return nil
}

// shareSums makes the sums of kernel.BatchNormReduce over all members what
// kernel.BatchNormBackward, which divides by the size of its own batch, wants.
// Args: grads, all.
type shareSums struct {
	C       int
	moments *moments
}

func (d shareSums) Args() []kernel.Arg {
	s := []int{2, d.C}
	return []kernel.Arg{{Name: "grads", Shape: s}, {Name: "all", Shape: s, Dir: kernel.Out}}
}

func (d shareSums) join(s shared) kernel.Kernel {
	s.double = make([]float64, 2*d.C)
	return &sumsSharer{s, d}
}

type sumsSharer struct {
	shared
	shareSums
}

// Run implements kernel.Kernel.
func (k *sumsSharer) Run(args []kernel.Buffer) error {
	v, err := k.download(args[0])
	if err != nil {
		return err
	}
	for i, x := range v {
		k.double[i] = float64(x)
	}
	if err := k.sum(); err != nil {
		return err
	}
	for i, x := range k.double {
		v[i] = float32(x * k.moments.own / k.moments.all)
	}
	return k.upload(args[1], v)
}

// shareGradient replaces a gradient by the mean of the members'. Args: gradient.
type shareGradient struct{ Len int }

func (d shareGradient) Args() []kernel.Arg {
	return []kernel.Arg{{Name: "gradient", Shape: []int{d.Len}, Dir: kernel.InOut}}
}

func (d shareGradient) join(s shared) kernel.Kernel { return &gradientSharer{s} }

type gradientSharer struct{ shared }

// Run implements kernel.Kernel.
func (k *gradientSharer) Run(args []kernel.Buffer) error {
	v, err := k.download(args[0])
	if err != nil {
		return err
	}
	if err := k.network.group.Sum(k.what, v); err != nil {
		return err
	}
	share := 1 / float32(k.network.group.Size())
	for i := range v {
		v[i] *= share
	}
	return k.upload(args[0], v)
}

// shareMoments has the statistics that a node makes shared.
func (c *compiler) shareMoments(node *op.Node) {
	d, ok := node.Op().(*op.Op).Spec.(op.BatchNormStats)
	if c.network.group == nil || !ok || !d.Batch {
		return
	}
	stats, m := c.values[node.ID()], &moments{}
	c.moments[stats] = m
	from := label{"BatchNorm.stats shared", c.origins[node.ID()]}
	c.ops = append(c.ops, call("statistics of "+from.node, from, shareStats{d.BatchNormStats, m}, stats))
}

// shareBackward has the sums that the gradient of a batch normalisation reads
// shared. They stay as they are for the gradients of scale and bias, which are
// shared as all parameters' are.
func (c *compiler) shareBackward(node *op.Node, in []*value) {
	d, ok := node.Op().(*op.Op).Spec.(op.BatchNormGrad)
	if !ok || d.Frozen {
		return
	}
	stats, sums := in[len(in)-2], in[len(in)-1]
	m := c.moments[stats]
	if m == nil {
		return
	}
	from := label{"BatchNorm.sums shared", c.origins[node.ID()]}
	all := &value{size: sums.size}
	b := op.NewBlock([][]int{{2, d.C}}, []int{2, d.C})
	b.Call(shareSums{d.C, m}, b.In(0), b.Out())
	c.ops = append(c.ops, &operation{name: "sums of " + from.node, label: from, block: b, in: []*value{sums}, out: all})
	in[len(in)-1] = all
}

// shareGradients has the gradients of parameters shared as soon as they are
// made: a copy of those that something else reads.
func (c *compiler) shareGradients() {
	if c.network.group == nil {
		return
	}
	maker, read := map[*value]*operation{}, map[*value]bool{}
	for _, o := range c.ops {
		for v := range o.results {
			maker[v] = o
		}
		for _, v := range o.in {
			read[v.origin()] = true
		}
	}
	after := map[*operation][]*operation{}
	for _, node := range c.nodes {
		params := c.grads[node.ID()]
		if len(params) == 0 {
			continue
		}
		v, n := c.values[node.ID()], params[0].Len()
		made := maker[v] // nil for leaves
		if made == nil || v.alias != nil || v.keep || read[v] {
			b := op.NewBlock([][]int{{n}}, []int{n})
			b.Call(kernel.AddN{Inputs: 1, Len: n}, b.In(0), b.Out())
			own := &value{size: 4 * n}
			after[made] = append(after[made], &operation{name: "copy of the gradient of " + params[0].Name,
				label: label{"gradient copy", params[0].Name}, block: b, in: []*value{v}, out: own})
			v = own
		}
		from := label{"gradient shared", params[0].Name}
		after[made] = append(after[made], call(fmt.Sprintf("gradient of %q", from.node), from, shareGradient{n}, v))
		c.mean[node.ID()] = v
	}
	ops := after[nil]
	for _, o := range c.ops {
		ops = append(append(ops, o), after[o]...)
	}
	c.ops = ops
}

// gradientOf returns the gradient of parameters that a node stands for.
func (c *compiler) gradientOf(node *op.Node) *value {
	if v := c.mean[node.ID()]; v != nil {
		return v
	}
	return c.values[node.ID()]
}
