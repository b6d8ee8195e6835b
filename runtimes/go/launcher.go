// Runs a Go action: compiled into one program with it, by compile.sh.
//
// Orders come on standard input, answers go out on file descriptor 3, as
// runtimes/README.md says; logs are what the program prints. A panic ends the
// process, as it does in any Go program: the platform starts another one.

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
)

const (
	notAResult__ = "The action did not return a dictionary or array."
	notStarted__ = "Cannot start action. Check logs for details."
)

// The action's function, as it was found, with the types that it has.
type action__ struct {
	function reflect.Value
	input    reflect.Type
	fails    bool
}

func main() {
	orders, frames := pipes__()
	action, err := find__(entry__)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		send__(frames, "I ", map[string]any{"error": notStarted__})
		os.Exit(1)
	}
	fmt.Fprintln(frames, `{"ok":true}`)
	reader := bufio.NewReaderSize(orders, 1<<16)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			os.Exit(0)
		}
		var order map[string]json.RawMessage
		if json.Unmarshal(line, &order) != nil {
			fmt.Fprintln(os.Stderr, "an order is no JSON")
			os.Exit(70)
		}
		id := export__(order)
		head, answer := action.run(order["value"])
		send__(frames, head+" "+id+" ", answer)
	}
}

// pipes__ takes the pipes away from the descriptors at which user code and
// its children would find them.
func pipes__() (*os.File, *os.File) {
	orders, err := syscall.Dup(0)
	if err == nil {
		syscall.CloseOnExec(orders)
		var null int
		if null, err = syscall.Open("/dev/null", syscall.O_RDONLY, 0); err == nil {
			err = syscall.Dup3(null, 0, 0)
			syscall.Close(null)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot move the orders:", err)
		os.Exit(70)
	}
	syscall.CloseOnExec(3)
	return os.NewFile(uintptr(orders), "orders"), os.NewFile(3, "frames")
}

func find__(entry any) (*action__, error) {
	function := reflect.ValueOf(entry)
	kind := function.Type()
	if kind.Kind() != reflect.Func {
		return nil, errors.New("the entry point is no function")
	}
	fails := kind.NumOut() == 2 && kind.Out(1) == reflect.TypeOf((*error)(nil)).Elem()
	if kind.NumIn() != 1 || kind.IsVariadic() || !(kind.NumOut() == 1 || fails) {
		return nil, fmt.Errorf("the entry point is a %v, not a func(map[string]any) map[string]any", kind)
	}
	return &action__{function, kind.In(0), fails}, nil
}

// run answers with the letter of the frame and its content.
func (action *action__) run(value json.RawMessage) (string, any) {
	input := reflect.New(action.input)
	if err := json.Unmarshal(value, input.Interface()); err != nil {
		return "R", map[string]any{"error": "the arguments do not fit: " + err.Error()}
	}
	output := action.function.Call([]reflect.Value{input.Elem()})
	if action.fails && !output[1].IsNil() {
		return "R", map[string]any{"error": output[1].Interface().(error).Error()}
	}
	text, err := encode__(output[0].Interface())
	if err != nil {
		return "F", map[string]any{"error": "The action's result is no JSON: " + err.Error()}
	}
	if text[0] != '{' && text[0] != '[' {
		return "F", map[string]any{"error": notAResult__}
	}
	return "R", json.RawMessage(text)
}

// export__ sets the variables of a run, and gives its id.
func export__(order map[string]json.RawMessage) string {
	var id string
	for name, text := range order {
		if name == "value" {
			continue
		}
		var value string
		if json.Unmarshal(text, &value) != nil {
			value = string(text)
		}
		os.Setenv("__OW_"+strings.ToUpper(name), value)
		if name == "activation_id" {
			id = value
		}
	}
	return id
}

func encode__(value any) ([]byte, error) {
	if raw, ok := value.(json.RawMessage); ok {
		return raw, nil
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimRight(buffer.Bytes(), "\n"), err
}

func send__(frames *os.File, head string, content any) {
	text, _ := encode__(content)
	line := append(append([]byte(head), text...), '\n')
	if _, err := frames.Write(line); err != nil {
		os.Exit(70)
	}
}
