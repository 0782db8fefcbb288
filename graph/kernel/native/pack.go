package native

// packColumns lays out n columns of k elements, stride apart, as k rows of the
// nr columns of a panel, zeros after the n.
func packColumns(v *isa, to, columns []float32, n, k, stride int) {
	if n < v.nr {
		clear(to[:k*v.nr])
	}
	v.interleave(to, columns, n, k, v.nr, stride)
}

// interleaveGo is isa.interleave in Go. It goes by cache lines of the columns,
// so that each is read once.
func interleaveGo(to, columns []float32, n, k, nr, stride int) {
	for lo := 0; lo < k; lo += line {
		hi := min(lo+line, k)
		for j := range n {
			at := lo*nr + j
			for _, v := range columns[j*stride+lo : j*stride+hi] {
				to[at] = v
				at += nr
			}
		}
	}
}

// copyColumns copies c of every stride elements into rows of nr, zeros after.
func copyColumns(to, from []float32, n, c, nr, stride int) {
	for k := range n {
		row := to[k*nr : (k+1)*nr]
		copy(row[:c], from[k*stride:])
		clear(row[c:])
	}
}
