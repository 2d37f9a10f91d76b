// The oracle: what the CDI package of Debian makes of specification files.
//
// It reads one JSON request a line: the directories and the devices that are asked for.  It answers
// each with one line: which devices there are, which files are in error, and the edited container.
package main

import (
	"bufio"
	"encoding/json"
	"os"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

type request struct {
	Directories []string
	Devices     []string
}

type answer struct {
	Devices []string
	Errors  []string
	Edited  *oci.Spec
	Failure string
}

func answerTo(asked request) (result answer) {
	defer func() {
		if recover() != nil { // null as a device node, say
			result = answer{Failure: "panic"}
		}
	}()
	cache, err := cdi.NewCache(cdi.WithSpecDirs(asked.Directories...), cdi.WithAutoRefresh(false))
	if err != nil {
		return answer{Failure: err.Error()}
	}
	result = answer{Devices: cache.ListDevices()}
	for path := range cache.GetErrors() {
		result.Errors = append(result.Errors, path)
	}
	edited := &oci.Spec{Process: &oci.Process{}, Linux: &oci.Linux{}}
	if _, err := cache.InjectDevices(edited, asked.Devices...); err != nil {
		result.Failure = err.Error()
		return result
	}
	result.Edited = edited
	return result
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		answers.Encode(answerTo(asked))
	}
}
