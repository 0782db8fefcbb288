package native

// transposeBlock is how many elements of a destination row are written at a
// time: the sources of a block stay in the cache while all rows pass over them.
const transposeBlock = 256

// transposeBoxes copies boxes whose rows (axis row) lie apart in the
// destination and side by side in the source, and whose columns (axis column)
// are the other way round: y[r*row.s[0] + c] = x[r + c*column.s[1]].
func transposeBoxes(p *program, dst, src int, outer []axis, row, column axis) {
	blocks := ceilDiv(column.n, transposeBlock)
	p.split(points(outer)*blocks, 2*grain/(transposeBlock*row.n)+1, func(lo, hi int) {
		x, y := p.f[0], p.f[1]
		i := lo
		walk(outer, lo/blocks, ceilDiv(hi, blocks), func(o [3]int) {
			for end := min(hi, (i/blocks+1)*blocks); i < end; i++ {
				from, to := cut(column.n, transposeBlock, i%blocks)
				for r := 0; r < row.n; r += line {
					p.isa.interleave(y[dst+o[0]+r*row.s[0]+from:], x[src+o[1]+from*column.s[1]+r:],
						to-from, min(line, row.n-r), row.s[0], column.s[1])
				}
			}
		})
	})
}
