package mpi

import (
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/internal/dl"
)

// Sum implements graph.Group.
func (m *Member) Sum(what string, v []float32) error { return sum(m, what, v) }

// SumDouble implements graph.Group.
func (m *Member) SumDouble(what string, v []float64) error { return sum(m, what, v) }

// whole is the size in bytes up to which every member gets all numbers.
const whole = 16 << 10

func sum[T float32 | float64](m *Member, what string, v []T) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	begin := time.Now()
	m.waits.Store(&begin)
	defer m.waits.Store(nil)
	var one T
	size := int(unsafe.Sizeof(one))
	if err := m.meet(noticeOf(what, len(v), size), graph.Offer(what, len(v)), 0); err != nil {
		return err
	}
	add := addWhole[T]
	switch n := len(v) * size; {
	case n == 0:
		return nil
	case n > math.MaxInt32/m.size:
		return fmt.Errorf("%s of %d numbers are more than MPI can carry", what, len(v))
	case n > whole:
		add = addStretches[T]
	}
	if err := add(m, v); err != nil {
		return m.breaks(fmt.Errorf("sum of %s: %w", what, err))
	}
	return nil
}

// room returns memory for n numbers.
func room[T float32 | float64](m *Member, n int) []T {
	if cap(m.scratch) < n {
		m.scratch = make([]float64, n)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(m.scratch))), n)
}

// addUp sets sum to the sums over parts of its length, which lie one after
// another in the order of the ranks.
func addUp[T float32 | float64](sum, parts []T) {
	n := copy(sum, parts)
	for parts = parts[n:]; len(parts) > 0; parts = parts[n:] {
		for i := range sum {
			sum[i] += parts[i]
		}
	}
}

// addWhole adds up numbers in every member.
func addWhole[T float32 | float64](m *Member, v []T) error {
	all := room[T](m, m.size*len(v))
	n := uintptr(len(v)) * unsafe.Sizeof(v[0])
	if err := m.check("MPI_Allgather", dl.Call(m.allgather, uintptr(unsafe.Pointer(&v[0])), n, m.byteType,
		uintptr(unsafe.Pointer(&all[0])), n, m.byteType, m.world)); err != nil {
		return err
	}
	addUp(v, all)
	return nil
}

// addStretches adds up a stretch of the numbers in each member.
func addStretches[T float32 | float64](m *Member, v []T) error {
	size := int(unsafe.Sizeof(v[0]))
	start := func(rank int) int { return len(v) * rank / m.size }
	own := v[start(m.rank):start(m.rank+1)]
	all := room[T](m, m.size*len(own))
	// Counts and places in bytes: of what goes to each rank, and comes from it.
	var send, sendAt, receive, receiveAt []int32
	for r := range m.size {
		send, sendAt = append(send, int32(size*(start(r+1)-start(r)))), append(sendAt, int32(size*start(r)))
		receive, receiveAt = append(receive, int32(size*len(own))), append(receiveAt, int32(size*len(own)*r))
	}
	if err := m.check("MPI_Alltoallv", dl.Call(m.alltoallv,
		uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&send[0])), uintptr(unsafe.Pointer(&sendAt[0])), m.byteType,
		uintptr(unsafe.Pointer(unsafe.SliceData(all))), uintptr(unsafe.Pointer(&receive[0])), uintptr(unsafe.Pointer(&receiveAt[0])), m.byteType, m.world)); err != nil {
		return err
	}
	addUp(own, all)
	return m.check("MPI_Allgatherv", dl.Call(m.allgatherv, inPlace, 0, m.byteType,
		uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&send[0])), uintptr(unsafe.Pointer(&sendAt[0])), m.byteType, m.world))
}
