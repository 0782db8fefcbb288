package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/train/config"
)

// The commands and configurations that the documents show are ones that graft
// takes.
func TestDocuments(t *testing.T) {
	documents, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands, configs := 0, 0
	for _, file := range append(documents, "../../README.md") {
		name, text := filepath.Base(file), read(t, file)
		for _, block := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```").FindAllStringSubmatch(text, -1) {
			if block[1] == "yaml" {
				configs++
				if _, err := config.Parse([]byte(block[2]), name); err != nil {
					t.Error(err)
				}
				continue
			}
			for _, line := range strings.Split(strings.ReplaceAll(block[2], "\\\n", " "), "\n") {
				line, _, _ = strings.Cut(line, " # ")
				words := strings.Fields(line)
				if len(words) < 2 || words[0] != "graft" {
					continue
				}
				commands++
				parser, err := newParser(t.Context(), nil, streams{io.Discard, io.Discard}, func(int) {})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := parser.Parse(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", name, line, err)
				}
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(text, -1) {
			to, section, _ := strings.Cut(link[1], "#")
			to = filepath.Join(filepath.Dir(file), to)
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", name, link[1], err)
			} else if section != "" && !regexp.MustCompile("(?im)^#+ "+strings.ReplaceAll(regexp.QuoteMeta(section), "-", " ")+"$").MatchString(read(t, to)) {
				t.Errorf("%s links to %s, which has no such section", name, link[1])
			}
		}
	}
	if commands < 10 || configs == 0 {
		t.Errorf("%d commands and %d configurations found", commands, configs)
	}
}
