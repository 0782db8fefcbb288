package native

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/host"
)

// program is a compiled description.
type program struct {
	pool    *pool
	isa     *isa
	desc    kernel.Desc
	args    []kernel.Arg
	sizes   []int
	scratch int // bytes
	stages  []stage

	// The arguments of the current Run, by position.
	f [][]float32 // of a bfloat16 argument: what wide says
	i [][]int32
	u [][]uint64
	h [][]uint16
	s []float32 // scratch

	wide []int // where in scratch an argument is widened to float32, or -1

	err error // set by a stage that rejects its data
}

// stage is one parallel step; body does the part'th of parts shares on one of
// the device's threads.
type stage struct {
	parts int
	body  func(thread, part int)
}

var _ kernel.Kernel = (*program)(nil)

func newProgram(dev *Device, d kernel.Desc) *program {
	args := d.Args()
	n := len(args)
	sizes := make([]int, n)
	for i, a := range args {
		sizes[i] = a.Size()
	}
	return &program{pool: dev.pool, isa: dev.isa, desc: d, args: args, sizes: sizes, wide: slices.Repeat([]int{-1}, n),
		f: make([][]float32, n), i: make([][]int32, n), u: make([][]uint64, n), h: make([][]uint16, n)}
}

// parts is how many shares n units of work are worth, when one share should
// not be smaller than grain.
func (p *program) parts(n, grain int) int {
	return max(1, min(p.pool.threads, (n+grain-1)/grain))
}

// chunksPerThread is in how many pieces a thread's share of a stage is, from
// which others may take when they have done theirs.
const chunksPerThread = 8

// chunks is how many pieces n units of work are worth, when one should not be
// smaller than grain. Sums of pieces are added in their order.
func (p *program) chunks(n, grain int) int {
	if p.pool.threads == 1 {
		return 1
	}
	return max(1, min(chunksPerThread*p.pool.threads, (n+grain-1)/grain))
}

// rowsPerSum is of how many rows a part has sums of its own, at least, if that
// leaves no thread without.
const rowsPerSum = 512

// sumParts is chunks where parts add up rows, each into sums of its own, which
// one thread adds in the end.
func (p *program) sumParts(n, grain, rows int) int {
	return max(p.parts(n, grain), min(p.chunks(n, grain), rows/rowsPerSum))
}

// on returns how many threads may do so many parts.
func (p *program) on(parts int) int {
	if parts == 1 {
		return 1
	}
	return p.pool.threads
}

// stage appends a step of fixed parts.
func (p *program) stage(parts int, body func(part int)) {
	p.stageOn(parts, func(_, part int) { body(part) })
}

// stageOn appends a step of fixed parts; body is given the thread as well, for
// memory that one thread uses for all its parts.
func (p *program) stageOn(parts int, body func(thread, part int)) {
	p.stages = append(p.stages, stage{parts, body})
}

// split appends a step that works on ranges of n units of work.
func (p *program) split(n, grain int, body func(lo, hi int)) { p.splitAligned(n, grain, 1, body) }

func (p *program) splitAligned(n, grain, align int, body func(lo, hi int)) {
	if n == 0 {
		return
	}
	parts := p.chunks(n, grain)
	p.stage(parts, func(part int) {
		if lo, hi := span(n, part, parts, align); lo < hi {
			body(lo, hi)
		}
	})
}

// reserve asks for scratch memory of so many float32 and returns its offset
// in p.s, a multiple of a cache line.
func (p *program) reserve(floats int) int {
	at := p.scratch / 4
	p.scratch += (floats + 15) / 16 * 64
	return at
}

// Scratch implements kernel.Kernel.
func (p *program) Scratch() int { return p.scratch }

// Run implements kernel.Kernel.
func (p *program) Run(args []kernel.Buffer) error {
	if err := p.bind(args); err != nil {
		return err
	}
	defer runtime.KeepAlive(args) // p holds views alone
	for _, s := range p.stages {
		if err := p.pool.run(s.parts, s.body); err != nil {
			return fmt.Errorf("%T: %w", p.desc, err)
		}
		if p.err != nil {
			err := p.err
			p.err = nil
			return err
		}
	}
	return nil
}

func (p *program) bind(args []kernel.Buffer) error {
	want := len(p.args)
	if p.scratch > 0 {
		want++
	}
	if len(args) != want {
		return fmt.Errorf("native: %T takes %d arguments, got %d", p.desc, want, len(args))
	}
	for i, a := range p.args {
		m, err := host.Of(args[i])
		if err != nil {
			return fmt.Errorf("native: %T: argument %s: %w", p.desc, a.Name, err)
		}
		if m.Size() != p.sizes[i] {
			return fmt.Errorf("native: %T: argument %s has %d bytes, want %d (%s %v)", p.desc, a.Name, m.Size(), p.sizes[i], a.DType, a.Shape)
		}
		switch a.DType {
		case kernel.Float32:
			p.f[i] = host.Float32(m)
		case kernel.Int32:
			p.i[i] = host.Int32(m)
		case kernel.Uint64:
			p.u[i] = host.Uint64(m)
		case kernel.BFloat16:
			p.h[i] = host.Uint16(m)
		}
	}
	if p.scratch > 0 {
		m, err := host.Of(args[want-1])
		if err != nil {
			return fmt.Errorf("native: %T: scratch: %w", p.desc, err)
		}
		if m.Size() < p.scratch {
			return fmt.Errorf("native: %T: scratch has %d bytes, want %d", p.desc, m.Size(), p.scratch)
		}
		p.s = host.Float32(m)[:p.scratch/4]
	}
	for i, at := range p.wide {
		if at >= 0 {
			p.f[i] = p.s[at : at+len(p.h[i])]
		}
	}
	return nil
}
