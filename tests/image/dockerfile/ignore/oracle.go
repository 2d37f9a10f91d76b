// Answers which paths an ignore file ignores, by the matcher of Docker and BuildKit itself: what
// test_ignore.py compares with, recorded in cases.json.xz. Made with Debian's golang-go and
// golang-github-moby-patternmatcher-dev 0.6.0; reads {"Text": …, "Paths": […]}, one after the other.

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

type query struct {
	Text  string
	Paths []string
}
type answer struct {
	Text    string   `json:"text"`
	Error   bool     `json:"error"`
	Ignored []string `json:"ignored"`
	Kept    []string `json:"kept"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	dec := json.NewDecoder(in)
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	for dec.More() {
		var q query
		if err := dec.Decode(&q); err != nil {
			panic(err)
		}
		a := answer{Text: q.Text, Ignored: []string{}, Kept: []string{}}
		lines, err := ignorefile.ReadAll(strings.NewReader(q.Text))
		var pm *patternmatcher.PatternMatcher
		if err == nil {
			pm, err = patternmatcher.New(lines)
		}
		if err == nil {
			for _, p := range q.Paths {
				m, e := pm.MatchesOrParentMatches(p)
				if e != nil {
					err = e
					break
				}
				if m {
					a.Ignored = append(a.Ignored, p)
				} else {
					a.Kept = append(a.Kept, p)
				}
			}
		}
		if err != nil {
			a.Error = true
			a.Ignored, a.Kept = []string{}, []string{}
		}
		enc.Encode(a)
	}
}
