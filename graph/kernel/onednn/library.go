package onednn

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// Version is the version of a oneDNN library.
type Version struct{ Major, Minor, Patch int }

// String returns "major.minor.patch".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// library is a loaded oneDNN with its functions and its engine for the CPU.
// It stays loaded as long as the program runs.
type library struct {
	abi
	path    string
	version Version
	runtime string // who runs its threads: "OpenMP", ...
	engine  uintptr
	threads uintptr // omp_set_num_threads, 0 if the runtime has none
	fn      functions
}

// functions holds the addresses of the C functions that both generations have.
type functions struct {
	version                                             uintptr
	engineCreate, streamCreate, streamWait              uintptr
	streamDestroy                                       uintptr
	attrCreate, attrDestroy, attrScratchpad             uintptr
	memoryCreate, memoryDestroy, memorySetHandle        uintptr
	descSize, descEqual                                 uintptr
	pdQuery, pdQueryDesc, pdDestroy                     uintptr
	primitiveCreate, primitiveDestroy, primitiveExecute uintptr
	reorderPD                                           uintptr
}

// symbols pairs every function with its name in the library.
func (f *functions) symbols() []symbol {
	return []symbol{
		{&f.version, "dnnl_version"},
		{&f.engineCreate, "dnnl_engine_create"},
		{&f.streamCreate, "dnnl_stream_create"},
		{&f.streamWait, "dnnl_stream_wait"},
		{&f.streamDestroy, "dnnl_stream_destroy"},
		{&f.attrCreate, "dnnl_primitive_attr_create"},
		{&f.attrDestroy, "dnnl_primitive_attr_destroy"},
		{&f.attrScratchpad, "dnnl_primitive_attr_set_scratchpad_mode"},
		{&f.memoryCreate, "dnnl_memory_create"},
		{&f.memoryDestroy, "dnnl_memory_destroy"},
		{&f.memorySetHandle, "dnnl_memory_set_data_handle"},
		{&f.descSize, "dnnl_memory_desc_get_size"},
		{&f.descEqual, "dnnl_memory_desc_equal"},
		{&f.pdQuery, "dnnl_primitive_desc_query"},
		{&f.pdQueryDesc, "dnnl_primitive_desc_query_md"},
		{&f.pdDestroy, "dnnl_primitive_desc_destroy"},
		{&f.primitiveCreate, "dnnl_primitive_create"},
		{&f.primitiveDestroy, "dnnl_primitive_destroy"},
		{&f.primitiveExecute, "dnnl_primitive_execute"},
		{&f.reorderPD, "dnnl_reorder_primitive_desc_create"},
	}
}

// symbol is a function to look up in a library.
type symbol struct {
	address *uintptr
	name    string
}

// resolve fills in addresses and names the functions that are missing.
func resolve(handle uintptr, symbols []symbol) error {
	var missing []string
	for _, s := range symbols {
		if *s.address = dl.Symbol(handle, s.name); *s.address == 0 {
			missing = append(missing, s.name)
		}
	}
	if missing != nil {
		return fmt.Errorf("not a oneDNN library that graft knows: it has no %s", strings.Join(missing, ", "))
	}
	return nil
}

// loaded remembers the library that load found, by what GRAFT_ONEDNN said.
var loaded struct {
	sync.Mutex
	libraries map[string]*library
}

// load opens the first usable library; once opened, it is kept.
func load() (*library, error) {
	paths, asked := candidates()
	loaded.Lock()
	defer loaded.Unlock()
	if l := loaded.libraries[asked]; l != nil {
		return l, nil
	}
	fail := &LoadError{Asked: asked}
	if !dl.Possible && asked == "" {
		_, err := dl.Open("")
		fail.Attempts = []Attempt{{"libdnnl", err}}
		return nil, fail
	}
	for _, path := range paths {
		l, err := open(path)
		if err != nil {
			if asked != "" || !dl.Missing(path, err) {
				fail.Attempts = append(fail.Attempts, Attempt{path, err})
			}
			continue
		}
		if loaded.libraries == nil {
			loaded.libraries = map[string]*library{}
		}
		loaded.libraries[asked] = l
		return l, nil
	}
	return nil, fail
}

// open loads one file and asks it who it is.
func open(path string) (*library, error) {
	quietOpenMP()
	handle, err := dl.Open(path)
	if err != nil {
		return nil, err
	}
	l := &library{path: path}
	if err := resolve(handle, l.fn.symbols()); err != nil {
		return nil, err
	}
	l.version, l.runtime = l.readVersion()
	switch l.version.Major {
	case 2:
		l.abi, err = newABI2(l, handle)
	case 3:
		l.abi, err = newABI3(l, handle)
	default:
		err = fmt.Errorf("oneDNN %v is not one of the versions graft works with: 2.x, 3.x", l.version)
	}
	if err != nil {
		return nil, err
	}
	if err := check("dnnl_engine_create", dl.Call(l.fn.engineCreate, uintptr(unsafe.Pointer(&l.engine)), engineCPU, 0)); err != nil {
		return nil, err
	}
	if l.runtime == "OpenMP" {
		l.threads = dl.Symbol(handle, "omp_set_num_threads") // searches what the library itself depends on
	}
	return l, nil
}

// quietOpenMP makes idle OpenMP threads give way soon. By default they spin
// for milliseconds after each parallel region, on the cores where the native
// kernels between two oneDNN calls want to run. A few microseconds bridge the
// steps of one program; sleeping at once (OMP_WAIT_POLICY=PASSIVE) costs a
// tenth of the time of a row of small convolutions. The OpenMP runtime reads
// these when it is loaded; a waiting policy that is set already stays.
func quietOpenMP() {
	if os.Getenv("OMP_WAIT_POLICY") != "" {
		return
	}
	setProcessEnv("GOMP_SPINCOUNT", "1000") // rounds, GNU's runtime
	setProcessEnv("KMP_BLOCKTIME", "0")     // milliseconds, LLVM's and Intel's
}

// readVersion asks the library for its version and threading runtime.
func (l *library) readVersion() (Version, string) {
	p := dl.Call(l.fn.version)
	// dnnl_version_t: three ints, a pointer, two unsigned ints.
	v := *(**struct {
		major, minor, patch int32
		hash                uintptr
		cpu, gpu            uint32
	})(unsafe.Pointer(&p))
	runtimes := map[uint32]string{1: "sequential", 2: "OpenMP", 4: "TBB", 8: "thread pool", 512: "SYCL"}
	return Version{int(v.major), int(v.minor), int(v.patch)}, runtimes[v.cpu]
}
