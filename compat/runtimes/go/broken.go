package main

func Main(args map[string]any {
