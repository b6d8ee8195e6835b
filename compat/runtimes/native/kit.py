#!/usr/bin/env python3
"""Does what ``do`` says; ../README.md lists the deeds.

A process sees one run, so what has to stay is in files.
"""

import json
import os
import sys
import time


def count(args):
    with open("/tmp/count", "a") as file:
        file.write("x")
    return {"count": os.stat("/tmp/count").st_size}


def log(args):
    for stream, text in args["lines"]:
        print(text, file=getattr(sys, stream), flush=True)
    return {}


def tail(args):
    # What has no end is the last line, and so the result.
    print(args["text"], end="\n")
    return {}


def flood(args):
    for _ in range(args["lines"]):
        print("x" * args["width"])
    return {"lines": args["lines"]}


def env(args):
    return {name: os.environ.get(name) for name in args["names"]}


def make(args):
    return {"text": "x" * args["bytes"]}


def throw(args):
    raise ValueError("boom")


def exit(args):
    print("before the exit")
    sys.exit(3)


def hang(args):
    print("before the wait", flush=True)
    time.sleep(3600)


def hog(args):
    kept = []
    while True:
        kept.append(bytearray(b"1") * (1 << 20))


def number(args):
    return 5


def text(args):
    return "five"


def nothing(args):
    sys.exit()


def list(args):
    return [1, "two", {"three": 3}]


def error(args):
    return {"error": args["error"]}


def read(args):
    with open(args["path"]) as file:
        return {"text": file.read()}


def write(args):
    try:
        with open(args["path"], "w") as file:
            file.write(args["text"])
    except OSError:
        return {"wrote": False}
    return {"wrote": True}


def meet(args):
    print(f"{args['name']} comes", flush=True)
    os.makedirs("/tmp/meet", exist_ok=True)
    with open(f"/tmp/meet/{args['name']}", "w"):
        pass
    while len(os.listdir("/tmp/meet")) < args["runs"]:
        time.sleep(0.005)
    print(f"{args['name']} goes", file=sys.stderr)
    return {"met": args["runs"], "name": args["name"]}


args = json.load(sys.stdin)
print(json.dumps(globals()[args["do"]](args), ensure_ascii=False))
