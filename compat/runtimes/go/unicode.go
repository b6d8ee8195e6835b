package main

import "fmt"

func Main(args map[string]any) map[string]any {
	greeting := fmt.Sprintf("Grüße, 世界 and %v!", args["name"])
	fmt.Println(greeting)
	return map[string]any{"greeting": greeting}
}
