package main

import "fmt"

func init() {
	fmt.Println("at load")
	panic("not today")
}

func Main(args map[string]any) map[string]any {
	return args
}
