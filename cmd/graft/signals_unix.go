//go:build unix

package main

import (
	"os"
	"syscall"
)

// stopSignals ask a command to stop. mpirun hands the last one on to its
// processes and lets them go on.
var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1}
