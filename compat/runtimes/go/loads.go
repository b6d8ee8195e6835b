package main

import (
	"fmt"
	"os"
)

var token, name = os.Getenv("TOKEN"), os.Getenv("__OW_ACTION_NAME")

func init() {
	fmt.Println("at load")
}

func Main(args map[string]any) map[string]any {
	fmt.Println("at run")
	return map[string]any{"token": token, "name": name, "arguments": args}
}
