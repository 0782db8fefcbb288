package native

import (
	"fmt"

	"github.com/graft-onnx/graft/graph/kernel"
)

// PackedFilter returns how many numbers the packed filter of a convolution has,
// 0 for one that is not computed by panels of the filter.
func (d *Device) PackedFilter(c kernel.Conv) int {
	if check(c) != nil || c.Depthwise() {
		return 0
	}
	if _, faster := d.planWinograd(c); faster {
		return 0
	}
	return d.packed(c.Geometry)
}

// packed is the size of all panels of a filter.
func (d *Device) packed(g kernel.Geometry) int {
	return g.Groups * ceilDiv(g.O/g.Groups, d.isa.nr) * d.isa.nr * g.KH * g.KW * (g.C / g.Groups)
}

// checkPacked rejects a packed filter of another size than the kernels read.
func (d *Device) checkPacked(desc kernel.Desc, g kernel.Geometry, packed int) error {
	if want := d.packed(g); packed != want || g.Depthwise() {
		return fmt.Errorf("%w: %T: a packed filter of %d numbers, want %d", errInvalid, desc, packed, want)
	}
	return nil
}

// filterGeometry is that of a convolution with the filter, of no pictures.
func filterGeometry(c kernel.PackFilter) kernel.Geometry {
	return kernel.Geometry{O: c.O, C: c.C, KH: c.KH, KW: c.KW, Groups: c.Groups, StrideH: 1, StrideW: 1, DilationH: 1, DilationW: 1}
}

// packFilter writes the panels of a filter as gather.kept describes them.
func (d *Device) packFilter(p *program, c kernel.PackFilter) error {
	geometry := filterGeometry(c)
	if err := d.checkPacked(c, geometry, c.Packed); err != nil {
		return err
	}
	g := &forwardGather(geometry, c.C/c.Groups)[0]
	g.nr, g.block, g.panels = d.isa.nr, g.sg, ceilDiv(g.dg, d.isa.nr)
	panel := c.KH * c.KW * g.sg * g.nr
	p.split(c.Groups*g.panels, grain/max(panel, 1)+1, func(lo, hi int) {
		for q := lo; q < hi; q++ {
			g.pack(d.isa, p.f[1][q*panel:(q+1)*panel], p.f[0], nil, q, 0)
		}
	})
	return nil
}
