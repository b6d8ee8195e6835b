package main

func Other(args map[string]any) map[string]any {
	return args
}
