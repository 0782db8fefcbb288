package onnx

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/graft-onnx/graft/onnx/pb"
)

// maxFile is protobuf's limit on one message, and so on one .onnx file.
const maxFile = math.MaxInt32

// maxDepth limits how deep messages nest, as other protobuf readers do. Each
// If or Loop inside another takes three levels.
const maxDepth = 100

// Load reads a model and the weights it keeps in files beside it. It refuses
// what is not ONNX or damaged, external data outside the model's folder, and
// tensors whose data do not fit their dimensions, so that what it returns can
// be walked without fear. Whether the graph makes sense is for Check.
//
// Memory stays in proportion to the files, whatever they claim to hold. Text
// that is not UTF-8 is no reason to refuse: each offending byte becomes '?'.
func Load(path string) (*Model, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(data, path)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Error{File: path, Msg: "cannot be opened: " + err.Error(), Err: err}
	}
	switch {
	case info.IsDir():
		return nil, &Error{File: path, Msg: "a folder, not a model", Err: ErrNotONNX}
	case !info.Mode().IsRegular():
		return nil, &Error{File: path, Msg: "not a regular file", Err: ErrNotONNX}
	case info.Size() > maxFile:
		return nil, &Error{File: path, Err: ErrTooLarge,
			Msg:    fmt.Sprintf("%d bytes, one ONNX file holds at most 2 GiB", info.Size()),
			Remedy: "save the model with external data"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{File: path, Msg: err.Error(), Err: err}
	}
	defer f.Close()
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, &Error{File: path, Msg: "cannot be read: " + err.Error(), Err: err}
	}
	return data, nil
}

// Parse reads a model from memory, as Load does from a file. path is where it
// came from: external data are looked for beside it; with an empty path a model
// with external data is refused. Large initializers remain in data, which must
// not change as long as the model is in use.
func Parse(data []byte, path string) (*Model, error) {
	refuse := func(err error, msg, remedy string) (*Model, error) {
		return nil, &Error{File: path, Msg: msg, Remedy: remedy, Err: err}
	}
	if len(data) == 0 {
		return refuse(ErrNotONNX, "the file is empty", "")
	}
	if len(data) > maxFile {
		return refuse(ErrTooLarge, fmt.Sprintf("%d bytes, one ONNX file holds at most 2 GiB", len(data)),
			"save the model with external data")
	}
	data, err := scan(data)
	if err != nil {
		if looksLike := foreign(data); looksLike != "" {
			return refuse(ErrNotONNX, "not an ONNX model but "+looksLike, "download or export the file again")
		}
		return nil, &Error{File: path, Msg: err.Error(), Err: err,
			Remedy: "download or export the file again"}
	}
	msg, err := unmarshal(data)
	if err != nil {
		return refuse(ErrDamaged, "cannot be parsed as ONNX: "+err.Error(), "")
	}
	if msg.GetGraph() == nil {
		if msg.GetIrVersion() == 0 && len(msg.GetOpsetImport()) == 0 {
			looksLike := "something with neither graph nor version"
			if f := foreign(data); f != "" {
				looksLike = f
			}
			return refuse(ErrNotONNX, "not an ONNX model but "+looksLike, "")
		}
		return refuse(ErrNotONNX, "the model has no graph", "")
	}
	if g := msg.GetGraph(); len(g.GetNode()) == 0 && len(g.GetInitializer()) == 0 && len(g.GetOutput()) == 0 {
		return refuse(ErrNotONNX, "the graph is empty", "")
	}
	m := &Model{ModelProto: msg, Path: path}
	if err := loadExternal(m); err != nil {
		return nil, err
	}
	if err := checkTensors(m); err != nil {
		return nil, err
	}
	return m, nil
}

// folder is where a model's external data lie.
func (m *Model) folder() string { return filepath.Dir(m.Path) }

// checkTensors returns the first tensor whose data do not fit its dimensions.
func checkTensors(m *Model) error {
	return eachTensor(m.ModelProto, func(n *pb.NodeProto, t *pb.TensorProto) error {
		if _, err := checkData(t); err != nil {
			e := &Error{File: m.Path, Msg: fmt.Sprintf("tensor %q: %v", t.GetName(), err), Err: err}
			if n != nil {
				e.Node, e.Op = NodeName(n), OpName(n)
			}
			return e
		}
		return nil
	})
}
