// Does what `do` says; ../README.md lists the deeds.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

var count = 0

type object = map[string]any

func Main(args object) any {
	switch args["do"] {
	case "count":
		count++
		return object{"count": count}
	case "log":
		streams := map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}
		for _, line := range args["lines"].([]any) {
			pair := line.([]any)
			fmt.Fprintln(streams[pair[0].(string)], pair[1])
		}
		return object{}
	case "tail":
		fmt.Print(args["text"])
		return object{}
	case "flood":
		line := strings.Repeat("x", int(args["width"].(float64)))
		for n := 0; n < int(args["lines"].(float64)); n++ {
			fmt.Println(line)
		}
		return object{"lines": args["lines"]}
	case "env":
		answer := object{}
		for _, name := range args["names"].([]any) {
			if value, there := os.LookupEnv(name.(string)); there {
				answer[name.(string)] = value
			} else {
				answer[name.(string)] = nil
			}
		}
		return answer
	case "make":
		return object{"text": strings.Repeat("x", int(args["bytes"].(float64)))}
	case "throw":
		panic("boom")
	case "exit":
		fmt.Println("before the exit")
		os.Exit(3)
	case "hang":
		fmt.Println("before the wait")
		for {
		}
	case "hog":
		kept := [][]byte{}
		for {
			kept = append(kept, []byte(strings.Repeat("1", 1<<20)))
		}
	case "number":
		return 5
	case "text":
		return "five"
	case "nothing":
		return nil
	case "list":
		return []any{1, "two", object{"three": 3}}
	case "error":
		return object{"error": args["error"]}
	case "read":
		text, err := os.ReadFile(args["path"].(string))
		if err != nil {
			panic(err)
		}
		return object{"text": string(text)}
	case "write":
		err := os.WriteFile(args["path"].(string), []byte(args["text"].(string)), 0o644)
		return object{"wrote": err == nil}
	case "stdin":
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			panic(err)
		}
		return object{"stdin": string(text)}
	}
	panic("what?")
}
