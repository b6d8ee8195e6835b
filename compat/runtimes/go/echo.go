package main

func Main(args map[string]any) map[string]any {
	return args
}
