package mpi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// EnvLibrary is the environment variable that names Open MPI's library file.
const EnvLibrary = "GRAFT_MPI"

// InstallHint says how to install Open MPI on this system.
func InstallHint() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install open-mpi, or set " + EnvLibrary + " to libmpi.dylib"
	case "windows":
		return "Open MPI does not run on Windows"
	}
	return "apt install openmpi-bin (Debian, Ubuntu), dnf install openmpi (Fedora), or set " + EnvLibrary + " to libmpi.so"
}

// LibraryError says that no usable Open MPI library was found.
type LibraryError struct{ Reason string }

func (e *LibraryError) Error() string {
	return "Open MPI's library is not available: " + e.Reason + " (to install it: " + InstallHint() + ")"
}

// library is a loaded Open MPI.
type library struct {
	path    string
	version string // "Open MPI v4.1.4"

	libraryVersion, errorString           uintptr
	initThread, finalize, abort           uintptr
	commSize, commRank, commSetErrhandler uintptr
	allgather, iallgather, test           uintptr
	allgatherv, alltoallv                 uintptr
	world, byteType, errorsReturn         uintptr // what MPI_COMM_WORLD and so on point to
}

// symbols pairs functions and objects with their names in the library.
func (l *library) symbols() map[string]*uintptr {
	return map[string]*uintptr{
		"MPI_Get_library_version": &l.libraryVersion,
		"MPI_Error_string":        &l.errorString,
		"MPI_Init_thread":         &l.initThread,
		"MPI_Finalize":            &l.finalize,
		"MPI_Abort":               &l.abort,
		"MPI_Comm_size":           &l.commSize,
		"MPI_Comm_rank":           &l.commRank,
		"MPI_Comm_set_errhandler": &l.commSetErrhandler,
		"MPI_Allgather":           &l.allgather,
		"MPI_Iallgather":          &l.iallgather,
		"MPI_Test":                &l.test,
		"MPI_Allgatherv":          &l.allgatherv,
		"MPI_Alltoallv":           &l.alltoallv,
		"ompi_mpi_comm_world":     &l.world,
		"ompi_mpi_byte":           &l.byteType,
		"ompi_mpi_errors_return":  &l.errorsReturn,
	}
}

// inPlace is MPI_IN_PLACE, threadSerialized MPI_THREAD_SERIALIZED: any thread may
// call, one at a time.
const (
	inPlace          = 1
	threadSerialized = 2
)

var loaded struct {
	sync.Mutex
	libraries map[string]*library // by what GRAFT_MPI said
}

// load opens the first usable library; once opened, it is kept. The error is a
// *LibraryError.
func load() (*library, error) {
	asked := os.Getenv(EnvLibrary)
	loaded.Lock()
	defer loaded.Unlock()
	if l := loaded.libraries[asked]; l != nil {
		return l, nil
	}
	paths := []string{asked}
	if asked == "" {
		paths = usualPaths()
	}
	var reasons []string
	for _, path := range paths {
		l, err := open(path)
		if err == nil {
			if loaded.libraries == nil {
				loaded.libraries = map[string]*library{}
			}
			loaded.libraries[asked] = l
			return l, nil
		}
		if asked != "" || !dl.Missing(path, err) {
			reasons = append(reasons, err.Error())
		}
	}
	if reasons == nil {
		reasons = []string{"no library found"}
	}
	return nil, &LibraryError{strings.Join(slices.Compact(reasons), "; ")}
}

// usualPaths lists names that the dynamic linker may know, and files where
// package managers put the library without telling it.
func usualPaths() []string {
	if runtime.GOOS == "darwin" {
		return []string{"libmpi.40.dylib", "libmpi.dylib", "/opt/homebrew/lib/libmpi.dylib", "/usr/local/lib/libmpi.dylib"}
	}
	paths := []string{"libmpi.so.40"}
	for _, pattern := range []string{"/usr/lib/*/libmpi.so.40", "/usr/lib/*/openmpi/lib/libmpi.so.40", "/usr/lib64/openmpi/lib/libmpi.so.40", "/usr/local/lib/libmpi.so.40"} {
		found, _ := filepath.Glob(pattern) // the pattern is well-formed
		paths = append(paths, found...)
	}
	return paths
}

// open loads one file and asks it who it is.
func open(path string) (*library, error) {
	handle, err := dl.Open(path) // for all to see: Open MPI's plugins look for it
	if err != nil {
		return nil, err
	}
	l := &library{path: path}
	var missing []string
	for name, address := range l.symbols() {
		if *address = dl.Symbol(handle, name); *address == 0 {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		slices.Sort(missing)
		return nil, fmt.Errorf("%s: not Open MPI 2 or later: it has no %s", path, strings.Join(missing, ", "))
	}
	var text [256]byte // MPI_MAX_LIBRARY_VERSION_STRING
	var n int32
	if code := dl.Call(l.libraryVersion, uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&n))); int32(code) != 0 {
		return nil, fmt.Errorf("%s: it does not tell its version", path)
	}
	l.version, _, _ = strings.Cut(string(text[:n]), ",")
	return l, nil
}

// check turns a return value into an error.
func (l *library) check(doing string, code uintptr) error {
	if int32(code) == 0 {
		return nil
	}
	var text [256]byte // MPI_MAX_ERROR_STRING
	var n int32
	dl.Call(l.errorString, uintptr(int32(code)), uintptr(unsafe.Pointer(&text[0])), uintptr(unsafe.Pointer(&n)))
	return errors.New(doing + ": " + string(text[:n]))
}

// Available returns version and path of Open MPI's library, or a *LibraryError.
func Available() (version, path string, err error) {
	l, err := load()
	if err != nil {
		return "", "", err
	}
	return l.version, l.path, nil
}
