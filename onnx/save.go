package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/graft-onnx/graft/internal/atomicfile"
	"github.com/graft-onnx/graft/onnx/pb"
)

// Save writes the model, weights included, to one file. The file appears
// complete or not at all: it is written under another name in the same folder,
// flushed to disk and renamed. The same model gives the same bytes. Models past
// 2 GiB are refused.
func (m *Model) Save(path string) error { return m.SaveFrom(path, nil) }

// SaveFrom is Save for a model some of whose tensors, of the graph or of a
// training algorithm, have their elements from sources; they are rounded to the
// tensors' types. Neither these nor those that the model holds are copied
// together in memory.
func (m *Model) SaveFrom(path string, sources Sources) error {
	s, err := serialise(m.ModelProto, sources)
	if err != nil {
		return writeError(path, err)
	}
	if s.size > maxFile {
		return tooLarge(path, s.size)
	}
	return writeError(path, atomicfile.Write(path, s.write))
}

// writeError names the file that cannot be written; nil stays nil.
func writeError(path string, err error) error {
	if err == nil {
		return nil
	}
	cause := err
	var pe *fs.PathError
	if errors.As(err, &pe) {
		cause = pe.Err
	}
	return &Error{File: path, Msg: "cannot be written: " + cause.Error(), Err: err}
}

func (m *Model) marshal(path string) ([]byte, error) {
	if size := proto.Size(m.ModelProto); size > maxFile {
		return nil, tooLarge(path, size)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.ModelProto)
	if err != nil {
		return nil, &Error{File: path, Msg: "cannot be written: " + err.Error(), Err: err}
	}
	return data, nil
}

func tooLarge(path string, size int) error {
	return &Error{File: path, Err: ErrTooLarge,
		Msg:    fmt.Sprintf("the model takes %d bytes, one ONNX file holds at most 2 GiB", size),
		Remedy: "save it with SaveExternal, which keeps the weights in a file of their own"}
}

// Tensors from minExternal bytes go to the data file, aligned to externalAlign
// so that a runtime can map them; smaller ones (shapes, scalars) stay in the
// model, where shape inference finds them.
const (
	minExternal   = 1024
	externalAlign = 4096
)

// SaveExternal writes the model to path and its weights to dataFile, a plain
// file name in the same folder. Both appear complete or not at all, weights
// first. The model in memory keeps its weights.
func (m *Model) SaveExternal(path, dataFile string) error {
	if dataFile == "" || dataFile != filepath.Base(dataFile) || dataFile == "." || dataFile == ".." ||
		dataFile == filepath.Base(path) || !fs.ValidPath(dataFile) {
		return &Error{File: path, Err: ErrExternalData,
			Msg: fmt.Sprintf("%q cannot name the weights' file: a plain file name other than the model's is needed", dataFile)}
	}
	slim, weights := m.detach(dataFile)
	data, err := (&Model{ModelProto: slim}).marshal(path)
	if err != nil {
		return err
	}
	var files []*atomicfile.Staged
	defer func() {
		for _, f := range files {
			f.Discard()
		}
	}()
	for _, w := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{filepath.Join(filepath.Dir(path), dataFile), func(w io.Writer) error { return writeAligned(w, weights) }},
		{path, func(w io.Writer) error { _, err := w.Write(data); return err }},
	} {
		f, err := atomicfile.Stage(w.path, w.write)
		if err != nil {
			return writeError(w.path, err)
		}
		files = append(files, f)
	}
	for _, f := range files {
		if err := f.Commit(); err != nil {
			return writeError(path, err)
		}
	}
	return nil
}

// detach returns the model with its large initializers pointing into dataFile,
// and their bytes in file order. It shares everything else with m.
func (m *Model) detach(dataFile string) (*pb.ModelProto, [][]byte) {
	var weights [][]byte
	offset := int64(0)
	graph := shallow(m.Graph)
	graph.Initializer = make([]*pb.TensorProto, len(m.Graph.GetInitializer()))
	for i, t := range m.Graph.GetInitializer() {
		graph.Initializer[i] = t
		raw := rawData(t)
		if len(raw) < minExternal {
			continue
		}
		offset = (offset + externalAlign - 1) / externalAlign * externalAlign
		out := shallow(t)
		clearData(out)
		out.DataLocation = pb.TensorProto_EXTERNAL
		out.ExternalData = []*pb.StringStringEntryProto{
			{Key: "location", Value: dataFile},
			{Key: "offset", Value: strconv.FormatInt(offset, 10)},
			{Key: "length", Value: strconv.Itoa(len(raw))},
		}
		graph.Initializer[i] = out
		weights = append(weights, raw)
		offset += int64(len(raw))
	}
	model := shallow(m.ModelProto)
	model.Graph = graph
	return model, weights
}

// shallow copies a message, sharing what its fields point to.
func shallow[M proto.Message](m M) M {
	src := m.ProtoReflect()
	dst := src.New()
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		dst.Set(fd, v)
		return true
	})
	dst.SetUnknown(src.GetUnknown())
	return dst.Interface().(M)
}

func writeAligned(w io.Writer, weights [][]byte) error {
	zeros, offset := make([]byte, externalAlign), 0
	for _, raw := range weights {
		if rest := offset % externalAlign; rest != 0 {
			if _, err := w.Write(zeros[:externalAlign-rest]); err != nil {
				return err
			}
			offset += externalAlign - rest
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
		offset += len(raw)
	}
	return nil
}
