package main

func Niam(args map[string]any) map[string]any {
	return map[string]any{"niam": args}
}
