// Package native is the kernel.Device that is always there: every kernel in Go
// and Go assembly, on the processor, with nothing to install.
//
// A description is compiled into a program: a few stages, each a function of a
// part number, that a pool of long-lived goroutines runs side by side, as evenly
// as the processors' speed allows. What part p of n computes depends on p and n
// alone, and not on who computes it, so the same thread count gives the same
// bits. Nothing is allocated when a program runs; memory for a part or a thread
// is asked for as scratch.
//
// Dense convolutions in all three directions and matrix products stand on one
// micro-kernel, tile: a small block of the output held in vector registers
// while a run of products is added to it. See tile.go for its contract and
// gather.go for how a convolution is laid out for it. On bfloat16 it multiplies
// pairs (half.go), or tiles where there is AMX (amx.go).
package native
