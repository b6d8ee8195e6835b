#!/bin/sh
# The argument is JSON, and so is the last line, the result. Others are logged.
name=$(printf %s "$1" | sed -n 's/.*"name" *: *"\([^"]*\)".*/\1/p')
echo "greeting ${name:=world}"
echo "{\"greeting\": \"Hello, $name!\"}"
