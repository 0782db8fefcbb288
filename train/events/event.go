package events

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of the messages Event, SessionLog, Summary, Summary.Value and Summary.Image.
const (
	eventWallTime    = 1 // double, seconds since 1970
	eventStep        = 2 // int64
	eventFileVersion = 3 // string, of the first event of a file
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog

	sessionStatus = 1 // enum

	summaryValue = 1 // repeated Value

	valueTag    = 1 // string
	valueSimple = 2 // float
	valueImage  = 4 // Image

	imageHeight     = 1 // int32
	imageWidth      = 2 // int32
	imageColorspace = 3 // int32, 3 for RGB
	imageEncoded    = 4 // bytes, PNG
)

const (
	fileVersion = "brain.Event:2"
	colorRGB    = 3
	statusStart = 1
)

// A value is what an event tells under a tag: a number or a picture.
type value struct {
	tag    string
	number float64
	image  *Image // nil for a number
}

// Image is a picture as it is stored.
type Image struct {
	Tag           string // its place below "samples/"
	Width, Height int
	PNG           []byte
}

// encodeEvent returns an Event of values.
func encodeEvent(at time.Time, step int, values []value) []byte {
	b := encodeTime(at)
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(step))
	var summary []byte
	for _, v := range values {
		summary = appendMessage(summary, summaryValue, v.encode())
	}
	return appendMessage(b, eventSummary, summary)
}

// encodeVersion returns the Event that a file begins with.
func encodeVersion(at time.Time) []byte {
	b := protowire.AppendTag(encodeTime(at), eventFileVersion, protowire.BytesType)
	return protowire.AppendString(b, fileVersion)
}

// encodeStart returns the Event that has TensorBoard drop what it knows of later
// steps, which are all.
func encodeStart(at time.Time) []byte {
	status := protowire.AppendVarint(protowire.AppendTag(nil, sessionStatus, protowire.VarintType), statusStart)
	return appendMessage(encodeTime(at), eventSessionLog, status)
}

func encodeTime(at time.Time) []byte {
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixMicro())/1e6))
}

func (v value) encode() []byte {
	b := protowire.AppendTag(nil, valueTag, protowire.BytesType)
	b = protowire.AppendString(b, v.tag)
	if v.image == nil {
		b = protowire.AppendTag(b, valueSimple, protowire.Fixed32Type)
		return protowire.AppendFixed32(b, math.Float32bits(float32(v.number)))
	}
	var image []byte
	for _, f := range []struct {
		field protowire.Number
		value int
	}{{imageHeight, v.image.Height}, {imageWidth, v.image.Width}, {imageColorspace, colorRGB}} {
		image = protowire.AppendTag(image, f.field, protowire.VarintType)
		image = protowire.AppendVarint(image, uint64(f.value))
	}
	image = protowire.AppendTag(image, imageEncoded, protowire.BytesType)
	image = protowire.AppendBytes(image, v.image.PNG)
	return appendMessage(b, valueImage, image)
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

// place reads the step of an Event and the tag of its first value, "" for one
// without; ok is false for what is no Event.
func place(event []byte) (step int, tag string, ok bool) {
	ok = fields(event, func(field protowire.Number, number uint64, content []byte) {
		switch field {
		case eventStep:
			step = int(number)
		case eventSummary:
			fields(content, func(field protowire.Number, _ uint64, content []byte) {
				if field != summaryValue || tag != "" {
					return
				}
				fields(content, func(field protowire.Number, _ uint64, content []byte) {
					if field == valueTag {
						tag = string(content)
					}
				})
			})
		}
	})
	return step, tag, ok
}

// fields goes through a message: number is the value of a varint, content that
// of a field with a length. It returns false where the message is damaged.
func fields(b []byte, each func(field protowire.Number, number uint64, content []byte)) bool {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		var number uint64
		var content []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			content, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return false
		}
		b = b[n:]
		each(field, number, content)
	}
	return true
}
