package main

import "fmt"

func Main(args map[string]interface{}) map[string]interface{} {
	name, ok := args["name"].(string)
	if !ok {
		name = "world"
	}
	fmt.Printf("greeting %s\n", name)
	return map[string]interface{}{"greeting": fmt.Sprintf("Hello, %s!", name)}
}
