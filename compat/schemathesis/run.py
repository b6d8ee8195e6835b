#!/usr/bin/env python3
"""Lets schemathesis hold the real binary against its own OpenAPI documents.

usage: compat/schemathesis/run.py path/to/whisker [flags of schemathesis]

A server is started on a free port with an empty folder and given one of
everything. Then schemathesis asks for whatever the documents allow, and for
much that they do not: no answer may have a status, a type, a header or a shape
that is not described, none may be an internal failure, and nothing secured may
be had without a key. At the end every operation must have been done, not only
refused: what was never reached was not tested.

schemathesis is installed once, below target/. It runs with one worker: with
more, its own parser of Python fails now and then.
"""

import base64
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent / "target" / "schemathesis"
# Cases that are made up for each operation, beside those that follow from the document.
EXAMPLES = 30
# Longest time for all of it, in seconds.
LONGEST = 220
CHECKS = [
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "the_platform_did_not_fail",
]
# Of these the outcome is not for a request to decide.
SELDOM = {"GET /ready", "GET /invokers/ready"}


def installed():
    """The command, installed if it is missing or of another version."""
    wanted = (HERE / "requirements.txt").read_text()
    mark = HOME / "installed.txt"
    if not mark.exists() or mark.read_text() != wanted:
        print("installing schemathesis below target/", flush=True)
        venv.create(HOME, with_pip=True, clear=True)
        pip = [HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "--requirement", HERE / "requirements.txt"]
        subprocess.run(pip, check=True)
        mark.write_text(wanted)
    return HOME / "bin" / "schemathesis"


class Server:
    """A server of its own, which ends with the block."""

    def __init__(self, binary):
        self.binary = binary

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="whisker-schemathesis-")
        self.log = Path(self.folder.name) / "log"
        data = Path(self.folder.name) / "data"
        self.cgroup = f"whisker-schemathesis-{os.getpid()}"
        flags = ["--port", "0", "--network", "none", "--cgroup-parent", self.cgroup]
        with open(self.log, "w") as log:
            command = [self.binary, "serve", "--data-dir", data, *flags]
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            text = self.log.read_text()
            url, key = re.search(r"listens on (\S+)", text), re.search(r"key of guest: (\S+)", text)
            if url and key:
                self.url, self.key = url[1], key[1]
                return self
            if self.child.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise SystemExit(f"the server did not start:\n{text}")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(40)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.folder.cleanup()
        # In one tree, or in one for each controller.
        for tree in ["/sys/fs/cgroup", *glob.glob("/sys/fs/cgroup/*")]:
            for group, _, _ in os.walk(os.path.join(tree, self.cgroup), topdown=False):
                os.rmdir(group)

    def ask(self, method, path, body=None):
        """A request in the namespace of guest; what it answered, as JSON."""
        request = urllib.request.Request(f"{self.url}/api/v1/namespaces/_/{path}", method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(self.key.encode()).decode())
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 502:
                return json.load(error)
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def furnish(self):
        """One of everything, and two records. What has a number is there to be written and deleted."""

        def action(code, **more):
            return {"exec": {"kind": "nodejs:default", "code": code}, **more}

        exported = [{"key": "web-export", "value": True}]
        self.ask("PUT", "actions/echo", action("function main(args) { return args }", annotations=exported))
        self.ask("PUT", "actions/fails", action("function main() { throw new Error('on purpose') }"))
        self.ask("PUT", "actions/sequence", {"exec": {"kind": "sequence", "components": ["/_/echo", "/_/echo"]}})
        self.ask("PUT", "packages/p", {"publish": True, "parameters": [{"key": "of", "value": "p"}]})
        self.ask("PUT", "packages/bound", {"binding": {"namespace": "_", "name": "p"}})
        self.ask("PUT", "actions/p/echo", action("function main(args) { return args }", annotations=exported))
        self.ask("PUT", "triggers/t", {})
        self.ask("PUT", "triggers/idle", {})
        self.ask("PUT", "rules/r", {"trigger": "/_/t", "action": "/_/echo"})
        for name in ["a1", "a2", "p/a1", "p/a2", "p/t1"]:
            self.ask("PUT", f"actions/{name}", action("function main(args) { return args }"))
        for number in [1, 2]:
            self.ask("PUT", f"packages/p{number}", {})
            self.ask("PUT", f"triggers/t{number}", {})
            self.ask("PUT", f"rules/r{number}", {"trigger": "/_/t", "action": "/_/echo"})
        for name in ["echo", "fails"]:
            self.ask("POST", f"actions/{name}?blocking=true", {"n": 1})


def hold(server, command, document, flags, until):
    """Runs schemathesis on one document; whether all went well, and what it met."""
    met = Path(server.folder.name) / "met.json"
    met.unlink(missing_ok=True)
    variables = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SCHEMATHESIS_HOOKS": "hooks",
        "STATUSES": str(met),
    }
    arguments = [command, "run", server.url + document, "--auth", server.key, "--checks", ",".join(CHECKS)]
    arguments += ["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(EXAMPLES), "--seed", "1"]
    arguments += ["--workers", "1", "--request-timeout", "90", "--warnings", "off", "--no-color"]
    left = until - time.monotonic()
    try:
        ran = subprocess.run([*arguments, *flags], env=variables, cwd=server.folder.name, timeout=max(left, 1))
    except subprocess.TimeoutExpired:
        print(f"{document}: not done {LONGEST} s after the beginning")
        return False
    done = json.loads(met.read_text())
    undone = [op for op, statuses in done.items() if not any(200 <= s < 400 for s in statuses)]
    undone = [op for op in undone if op not in SELDOM]
    for operation in undone:
        print(f"{operation} was only ever refused: {done[operation]}")
    return ran.returncode == 0 and not undone


def main():
    binary, *flags = sys.argv[1:]
    command = installed()
    with Server(Path(binary).resolve()) as server:
        server.furnish()
        until = time.monotonic() + LONGEST
        held = [hold(server, command, document, flags, until) for document in ("/api-docs", "/api/v1/api-docs")]
        alive = server.child.poll() is None
        text = server.log.read_text()
        panics = [line for line in text.splitlines() if "panicked" in line]
        for line in panics[:20]:
            print(line)
    if not (all(held) and alive and not panics):
        raise SystemExit("the server is not as its documents say")


if __name__ == "__main__":
    main()
