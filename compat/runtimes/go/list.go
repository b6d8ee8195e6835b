package main

func Main(args map[string]any) []any {
	return []any{1, "two", map[string]any{"three": 3}}
}
