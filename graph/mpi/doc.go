// Package mpi makes the processes that Open MPI's mpirun starts members of one
// graph.Group, on one machine or on several.
//
//	if launched, err := mpi.Launched(); launched {
//		member, err := mpi.Join()            // in every process
//		network.Join(member)                 // its sums are over all of them
//		...
//		member.Close()
//	}
//
// Open MPI's library (version 2 to 5: libmpi.so.40, Debian's libopenmpi3) is
// loaded when it is needed, without cgo. GRAFT_MPI names another file.
//
// # What is the same everywhere
//
// No sum is left to MPI. Small ones go whole to every member; of large ones each
// member gets a stretch of all the others' numbers, adds it up and hands it
// round. Either way numbers are added in the order of the ranks, as a Group
// within one process adds them: all members get the same bits, and K processes
// compute what K replicas in one process do.
//
// # How members wait
//
// Every sum begins with a notice of a few bytes from all to all: what is to be
// added, or that a member has failed. Members that disagree, or of which one has
// failed, then exchange words instead of numbers, so that each knows who and
// why. This is where a member waits for those that are late, with pauses that
// leave the processor to others; what follows a notice finds all members there.
//
// The processes must run on machines of one byte order.
package mpi
