"""Does what ``do`` says; ../README.md lists the deeds."""

import os
import sys
import time

counted = 0
here = 0


def count(args):
    global counted
    counted += 1
    return {"count": counted}


def log(args):
    for stream, text in args["lines"]:
        print(text, file=getattr(sys, stream))
    return {}


def tail(args):
    print(args["text"], end="")
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
    os._exit(3)


def hang(args):
    print("before the wait")
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
    pass


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


def stdin(args):
    return {"stdin": sys.stdin.read()}


def meet(args):
    global here
    print(f"{args['name']} comes")
    here += 1
    while here < args["runs"]:
        time.sleep(0.005)
    print(f"{args['name']} goes", file=sys.stderr)
    return {"met": args["runs"], "name": args["name"]}


def main(args):
    return globals()[args["do"]](args)
