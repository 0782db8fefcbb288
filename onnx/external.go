package onnx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/graft-onnx/graft/onnx/pb"
)

// maxReuse limits how often the bytes of a data file may be read into tensors,
// so that many tensors over one region cannot fill the memory.
const maxReuse = 4

// loadExternal moves every tensor's external data into raw_data.
func loadExternal(m *Model) error {
	l := externalLoader{model: m, files: map[string]*dataFile{}}
	defer l.close()
	return eachTensor(m.ModelProto, func(n *pb.NodeProto, t *pb.TensorProto) error {
		if t.GetDataLocation() != pb.TensorProto_EXTERNAL {
			return nil
		}
		err := l.load(t)
		if err == nil {
			return nil
		}
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Msg: err.Error(), Err: err}
		}
		e.File, e.Msg = m.Path, fmt.Sprintf("tensor %q: %s", t.GetName(), e.Msg)
		if n != nil {
			e.Node, e.Op = NodeName(n), OpName(n)
		}
		return e
	})
}

type externalLoader struct {
	model *Model
	root  *os.Root // the model's folder; opening through it cannot leave it
	files map[string]*dataFile
}

// dataFile is one open file of weights.
type dataFile struct {
	f      *os.File
	size   int64
	budget int64 // bytes that may still be read
}

func (l *externalLoader) close() {
	for _, d := range l.files {
		d.f.Close()
	}
	if l.root != nil {
		l.root.Close()
	}
}

func externalError(remedy, format string, args ...any) error {
	return &Error{Msg: fmt.Sprintf("external data: "+format, args...), Remedy: remedy, Err: ErrExternalData}
}

// load reads one tensor's data.
func (l *externalLoader) load(t *pb.TensorProto) error {
	ref, err := parseExternal(t)
	if err != nil {
		return err
	}
	n, err := elements(t.GetDims())
	if err != nil {
		return err
	}
	want, err := rawBytes(DataType(t), n)
	if err != nil {
		return err
	}
	if field, _ := typedField(t); field != "" || len(t.GetRawData()) > 0 {
		return externalError("", "the tensor holds data of its own as well")
	}
	d, err := l.open(ref.location)
	if err != nil {
		return err
	}
	length := int64(want)
	if ref.hasLength && ref.length != length {
		return externalError("", "%d bytes in %q, %s of dimensions %v needs %d",
			ref.length, ref.location, DataTypeName(DataType(t)), t.GetDims(), want)
	}
	if ref.offset > d.size || length > d.size-ref.offset {
		return externalError("get the complete file", "%q has %d bytes, bytes %d to %d are wanted",
			ref.location, d.size, ref.offset, ref.offset+length)
	}
	if d.budget -= length; d.budget < 0 {
		return &Error{Msg: fmt.Sprintf("external data: too many tensors share the bytes of %q", ref.location), Err: ErrTooLarge}
	}
	raw := make([]byte, length)
	if _, err := d.f.ReadAt(raw, ref.offset); err != nil && !(err == io.EOF && length == 0) {
		return externalError("", "%q: %v", ref.location, err)
	}
	t.RawData, t.ExternalData, t.DataLocation = raw, nil, pb.TensorProto_DEFAULT
	return nil
}

// externalRef is what external_data says.
type externalRef struct {
	location       string
	offset, length int64
	hasLength      bool
}

func parseExternal(t *pb.TensorProto) (externalRef, error) {
	var r externalRef
	for _, e := range t.GetExternalData() {
		switch e.GetKey() {
		case "location":
			r.location = e.GetValue()
		case "offset", "length":
			v, err := strconv.ParseInt(e.GetValue(), 10, 64)
			if err != nil || v < 0 {
				return r, externalError("", "%s is %q", e.GetKey(), e.GetValue())
			}
			if e.GetKey() == "offset" {
				r.offset = v
			} else {
				r.length, r.hasLength = v, true
			}
		}
	}
	switch {
	case r.location == "":
		return r, externalError("", "no file is named")
	case path.IsAbs(r.location) || strings.ContainsAny(r.location, "\\\x00") || strings.Contains(r.location, ":"):
		return r, externalError("put the file beside the model", "%q is not a plain relative path", r.location)
	}
	for _, part := range strings.Split(r.location, "/") {
		if part == ".." {
			return r, externalError("put the file beside the model", "%q leads out of the model's folder", r.location)
		}
	}
	r.location = path.Clean(r.location)
	return r, nil
}

// open returns the data file of that name beside the model.
func (l *externalLoader) open(location string) (*dataFile, error) {
	if d := l.files[location]; d != nil {
		return d, nil
	}
	if l.model.Path == "" {
		return nil, externalError("load the model from its file", "%q is wanted, but the model has no folder", location)
	}
	if l.root == nil {
		root, err := os.OpenRoot(l.model.folder())
		if err != nil {
			return nil, externalError("", "%v", err)
		}
		l.root = root
	}
	info, err := l.root.Stat(location)
	if errors.Is(err, os.ErrNotExist) {
		return nil, externalError("put it beside the model", "the file %q is missing", location)
	}
	if err != nil {
		return nil, externalError("put the file itself beside the model, no link", "%v", err)
	}
	if !info.Mode().IsRegular() {
		return nil, externalError("", "%q is not a regular file", location)
	}
	f, err := l.root.Open(location)
	if err != nil {
		return nil, externalError("", "%v", err)
	}
	d := &dataFile{f: f, size: info.Size(), budget: maxReuse * info.Size()}
	l.files[location] = d
	return d, nil
}
