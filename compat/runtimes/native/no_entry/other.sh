#!/bin/sh
# The argument comes in on standard input too, however long it is.
cat
