package main

import (
	_ "embed"
	"strings"

	"example/greetings"
)

//go:embed data.txt
var data string

func Main(args map[string]any) map[string]any {
	return map[string]any{
		"greeting": greetings.Greet(args["name"].(string)),
		"data":     strings.TrimSpace(data),
	}
}
