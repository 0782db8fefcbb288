package mpi

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
)

// The variables by which a launcher tells a process that it is one of several.
const (
	envRank    = "OMPI_COMM_WORLD_RANK"
	envOpenMPI = "OMPI_COMM_WORLD_SIZE" // Open MPI's mpirun
	envPMIx    = "PMIX_RANK"            // PMIx: srun --mpi=pmix, prun, mpirun too
	envPMI     = "PMI_SIZE"             // MPICH's mpirun and its relatives
)

// Launched reports whether this process is one of several that Open MPI's mpirun
// started, or one started through PMIx, which does not say of how many. The
// error tells of the launcher of another MPI.
func Launched() (bool, error) {
	if size := os.Getenv(envOpenMPI); size != "" {
		n, err := strconv.Atoi(size)
		if err != nil {
			return false, fmt.Errorf("%s is %q, which is no number", envOpenMPI, size)
		}
		return n > 1, nil
	}
	if os.Getenv(envPMIx) != "" {
		return true, nil
	}
	if n, _ := strconv.Atoi(os.Getenv(envPMI)); n > 1 {
		return false, fmt.Errorf("started as one of %d by the launcher of another MPI (%s=%d), and graft works with Open MPI: start it by Open MPI's mpirun (to install it: %s)",
			n, envPMI, n, InstallHint())
	}
	return false, nil
}

// asLaunched names the process in an error from before it is a member.
func asLaunched(err error) error {
	host, _ := os.Hostname()
	return fmt.Errorf("started by mpirun as rank %s on %s: %w", cmp.Or(os.Getenv(envRank), os.Getenv(envPMIx)), host, err)
}
