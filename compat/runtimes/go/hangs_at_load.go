package main

import "time"

func init() {
	time.Sleep(time.Hour)
}

func Main(args map[string]any) map[string]any {
	return args
}
