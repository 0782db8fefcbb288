package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

// maxFile bounds a configuration file; real ones hold under 2 KB.
const maxFile = 1 << 20

const commandLine = "command line"

// Load reads a file, then overrides given as KEY value pairs, and validates
// the outcome. An empty path gives defaults plus overrides.
func Load(path string, overrides ...string) (*Config, error) {
	if path == "" {
		return Parse(nil, "", overrides...)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(data, path, overrides...)
}

// Parse is Load on bytes; path only names them in errors.
func Parse(data []byte, path string, overrides ...string) (*Config, error) {
	c := Default()
	c.file, c.lines = path, map[string]int{}
	errs := &Errors{}
	if len(data) > maxFile {
		errs.add(path, 0, "", "larger than %d bytes; is this a configuration file?", maxFile)
		return nil, errs.asError()
	}
	c.merge(data, path, errs)
	c.override(overrides, errs)
	if len(errs.List) > 0 {
		// Values that could not be read would only cause a second error.
		return nil, errs.asError()
	}
	c.presets()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Set applies overrides given as KEY value pairs, and validates.
func (c *Config) Set(overrides ...string) error {
	if c.lines == nil {
		c.lines = map[string]int{}
	}
	errs := &Errors{}
	c.override(overrides, errs)
	if len(errs.List) > 0 {
		return errs.asError()
	}
	return c.Validate()
}

func (c *Config) override(pairs []string, errs *Errors) {
	all := leaves(c)
	if len(pairs)%2 != 0 {
		errs.add(commandLine, 0, pairs[len(pairs)-1], "overrides come in pairs, KEY value; this one has no value")
		pairs = pairs[:len(pairs)-1]
	}
	for i := 0; i < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		l, ok := all.byKey[key]
		if !ok {
			errs.add(commandLine, 0, key, "unknown key%s", all.suggest(key))
			continue
		}
		if err := l.set(scalar(value)); err != nil {
			errs.add(commandLine, 0, key, "%v", err)
			continue
		}
		c.lines[key] = -1
	}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

func (c *Config) merge(data []byte, path string, errs *Errors) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := decodeSafely(dec, &doc)
	if errors.Is(err, io.EOF) {
		return // an empty file keeps every default
	}
	if err != nil {
		m := yamlLine.FindStringSubmatch(err.Error())
		line := 0
		if m != nil {
			line, _ = strconv.Atoi(m[1])
			err = errors.New(m[2])
		}
		errs.add(path, line, "", "not readable as YAML: %v", err)
		return
	}
	var second yaml.Node
	if err := decodeSafely(dec, &second); err == nil {
		errs.add(path, second.Line, "", "a second YAML document; one file holds one configuration")
		return
	}
	if len(doc.Content) != 1 {
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	if root.Kind != yaml.MappingNode {
		errs.add(path, root.Line, "", "want sections such as DATASET: and TRAIN:, found %s", kindName(root))
		return
	}
	c.mergeMap(root, "", leaves(c), path, errs)
}

// decodeSafely turns a panic of the YAML library into an error.
func decodeSafely(dec *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	return dec.Decode(into)
}

func (c *Config) mergeMap(node *yaml.Node, prefix string, all *leafSet, path string, errs *Errors) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]
		key := prefix + k.Value
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			errs.add(path, k.Line, prefix, "want a plain key, found %s", kindName(k))
			continue
		}
		if v.Kind == yaml.AliasNode {
			errs.add(path, v.Line, key, "YAML aliases are not supported; write the value out")
			continue
		}
		if all.sections[key] {
			switch {
			case v.Kind == yaml.MappingNode:
				c.mergeMap(v, key+".", all, path, errs)
			case v.Kind == yaml.ScalarNode && v.Tag == "!!null":
			default:
				errs.add(path, v.Line, key, "want a section of keys, found %s", kindName(v))
			}
			continue
		}
		l, ok := all.byKey[key]
		if !ok {
			errs.add(path, k.Line, key, "unknown key%s", all.suggest(key))
			continue
		}
		if first, twice := c.lines[key]; twice {
			errs.add(path, k.Line, key, "set twice, first on line %d", first)
			continue
		}
		val, err := l.value(v)
		if err == nil {
			err = l.set(val)
		}
		if err != nil {
			errs.add(path, v.Line, key, "%v", err)
			continue
		}
		c.lines[key] = k.Line
	}
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(shorten(n.Value))
}

func shorten(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
