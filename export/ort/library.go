package ort

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/graft-onnx/graft/internal/dl"
)

// EnvVar names the environment variable that holds the library's path.
const EnvVar = "GRAFT_ONNXRUNTIME"

// Runtime is a loaded ONNX Runtime library. It lives as long as the program
// and may be used from several goroutines at once.
type Runtime struct {
	path    string
	version string
	fn      [slotCount]uintptr
	env     unsafe.Pointer // OrtEnv
	cpu     unsafe.Pointer // OrtMemoryInfo of host memory
	alloc   unsafe.Pointer // OrtAllocator, owned by the library
}

var loaded struct {
	sync.Mutex
	byPath map[string]*Runtime
}

// Open loads ONNX Runtime from path: a file, or a name that the system's
// loader knows. Where path is empty it takes the environment variable
// GRAFT_ONNXRUNTIME, and where that is empty too, the usual names of the
// system. A library is loaded once however often it is opened.
//
// The error is a *NotFoundError where no library could be loaded or its
// version is before 1.11.
func Open(path string) (*Runtime, error) {
	names := usualNames(runtime.GOOS)
	if path == "" {
		path = os.Getenv(EnvVar)
	}
	if path != "" {
		names = []string{path}
	}
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.byPath == nil {
		loaded.byPath = map[string]*Runtime{}
	}
	var cause error
	for _, name := range names {
		if rt, ok := loaded.byPath[name]; ok {
			return rt, nil
		}
		rt, err := load(name)
		if err == nil {
			loaded.byPath[name] = rt
			return rt, nil
		}
		cause = err
	}
	return nil, &NotFoundError{Tried: names, Cause: cause}
}

// usualNames returns what the library is called on a system.
func usualNames(goos string) []string {
	switch goos {
	case "windows":
		return []string{"onnxruntime.dll"}
	case "darwin":
		return []string{"libonnxruntime.1.dylib", "libonnxruntime.dylib",
			"/opt/homebrew/lib/libonnxruntime.dylib", "/usr/local/lib/libonnxruntime.dylib"}
	default:
		return []string{"libonnxruntime.so.1", "libonnxruntime.so"}
	}
}

// InstallHint says how to get the library on this system and make it known.
func InstallHint() string {
	file := map[string]string{"windows": "onnxruntime.dll", "darwin": "libonnxruntime.1.dylib"}[runtime.GOOS]
	if file == "" {
		file = "libonnxruntime.so.1"
	}
	system := map[string]string{"windows": "win32"}[runtime.GOOS]
	if system == "" {
		system = runtime.GOOS
	}
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	inside := filepath.Join("node_modules", "onnxruntime-node", "bin", "napi-v6", system, arch, file)
	return fmt.Sprintf("install it with `npm install onnxruntime-node` and set %s to %s, or point %s at the library of any release from github.com/microsoft/onnxruntime", EnvVar, inside, EnvVar)
}

// Path returns the name or path the library was opened by.
func (rt *Runtime) Path() string { return rt.path }

// Version returns the library's version, such as "1.30.0".
func (rt *Runtime) Version() string { return rt.version }

func load(name string) (*Runtime, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		if info, err := os.Stat(name); err != nil {
			return nil, err
		} else if info.IsDir() {
			return nil, fmt.Errorf("%s is a folder; name the library's file in it", name)
		}
	}
	handle, err := dl.OpenPrivate(name)
	if err != nil {
		return nil, err
	}
	getBase := dl.Symbol(handle, "OrtGetApiBase")
	if getBase == 0 {
		return nil, fmt.Errorf("%s: not ONNX Runtime: it has no OrtGetApiBase", name)
	}
	// OrtApiBase: GetApi(version), GetVersionString().
	baseAddr := dl.Call(getBase)
	if baseAddr == 0 {
		return nil, fmt.Errorf("%s: OrtGetApiBase returned nothing", name)
	}
	base := (*[2]uintptr)(pointerAt(baseAddr))
	versionAddr := dl.Call(base[1])
	rt := &Runtime{path: name, version: dl.GoString(versionAddr)}
	if !atLeast(rt.version, 1, apiVersion) {
		return nil, fmt.Errorf("%s is version %s; 1.%d or newer is needed", name, rt.version, apiVersion)
	}
	tableAddr := dl.Call(base[0], apiVersion)
	if tableAddr == 0 {
		return nil, fmt.Errorf("%s (version %s) does not offer version %d of its interface", name, rt.version, apiVersion)
	}
	rt.fn = *(*[slotCount]uintptr)(pointerAt(tableAddr))

	id := dl.CString("graft")
	if err := check(rt, "create environment", slotCreateEnv, logFatal, uintptr(unsafe.Pointer(id)), uintptr(unsafe.Pointer(&rt.env))); err != nil {
		return nil, err
	}
	if err := check(rt, "switch telemetry off", slotDisableTelemetryEvents, uintptr(rt.env)); err != nil {
		return nil, err
	}
	if err := check(rt, "describe host memory", slotCreateCPUMemoryInfo, arenaAllocator, memoryDefault, uintptr(unsafe.Pointer(&rt.cpu))); err != nil {
		return nil, err
	}
	if err := check(rt, "get allocator", slotGetAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&rt.alloc))); err != nil {
		return nil, err
	}
	return rt, nil
}

// atLeast reports whether a version such as "1.30.0" is major.minor or later.
func atLeast(version string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

// check calls a function that returns an OrtStatus and turns a failure into an
// *Error, releasing the status.
//
//go:uintptrescapes
func check(rt *Runtime, doing string, slot int, args ...uintptr) error {
	status := dl.Call(rt.fn[slot], args...)
	if status == 0 {
		return nil
	}
	code := dl.Call(rt.fn[slotGetErrorCode], status)
	text := dl.Call(rt.fn[slotGetErrorMessage], status)
	err := &Error{Code: Code(int32(code)), Message: dl.GoString(text), Doing: doing}
	dl.Call(rt.fn[slotReleaseStatus], status)
	return err
}

// release calls one of the Release functions.
func (rt *Runtime) release(slot int, p unsafe.Pointer) {
	if p != nil {
		dl.Call(rt.fn[slot], uintptr(p))
	}
}

// pointerAt turns an address that the library returned into a pointer. The
// memory is the library's, so Go's collector neither moves nor frees it.
func pointerAt(addr uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&addr)) }
