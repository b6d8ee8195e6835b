"""Runs every launcher as a real child over pipes, and looks at its frames.

    python3 runtimes/test.py            the tests; a failing case is named
    python3 runtimes/test.py --bench    round trips, beside a child that only echoes

Most of it is a table for each language: code, what goes in, the frame that must
come back and the lines that must be logged. What needs more than that (overlap,
forks, sizes, ends of processes) is a method below the tables. An interpreter is
found as the server finds it, through `manifest.json`.
"""

import atexit
import functools
import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
MANIFEST = json.loads((HERE / "manifest.json").read_text())
KINDS = {
    kind["kind"]: kind for family in [*MANIFEST["runtimes"].values(), MANIFEST["blackboxes"]] for kind in family
}
SKELETON = "blackbox:openwhisk/dockerskeleton"
PATIENCE = 20
"""Seconds after which a silent launcher counts as stuck."""

OK = {"ok": True}
NOT_A_DICTIONARY = {"error": "The action did not return a dictionary."}
NOT_A_RESULT = {"error": "The action did not return a dictionary or array."}
NOT_BUILT = {"error": "The action failed to generate or locate a binary. See logs for details."}
NOT_STARTED = {"error": "Cannot start action. Check logs for details."}


def interpreter(kind):
    """The first candidate whose version is accepted, with its arguments."""
    prepare = KINDS[kind].get("prepare")
    command = KINDS[kind]["command"]
    version = command["version"]
    for path in filter(os.path.exists, command["candidates"]):
        done = subprocess.run([path, *version["arguments"]], capture_output=True, text=True)
        if done.stdout.strip().startswith(tuple(version["accepted"])):
            folder = prepared(prepare, path) if prepare else ""
            return [path, *(word.replace("/prepared", folder) for word in command["arguments"])]
    raise AssertionError(f"this host has no interpreter for {kind}")


class Child:
    """A launcher, or anything else that answers lines on descriptor 3."""

    def __init__(self, command, environment=None, nonblocking=False):
        for fd in map(int, os.listdir("/proc/self/fd")):
            # What this process was given by others is not the launcher's fault.
            if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}"):
                os.set_inheritable(fd, False)
        pipes = [os.pipe() for _ in range(4)]
        ours = [pipes[0][1], *(read for read, _ in pipes[1:])]
        theirs = [pipes[0][0], *(write for _, write in pipes[1:])]
        if nonblocking:
            os.set_blocking(theirs[3], False)
        self.pid = os.posix_spawn(
            command[0],
            command,
            {"PATH": os.environ["PATH"], "HOME": "/", **(environment or {})},
            file_actions=[
                # Sources are above 3, since this process has its own 0 to 3.
                *((os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(theirs)),
            ],
        )
        for fd in theirs:
            os.close(fd)
        self.orders, self.stdout, self.stderr, self.frames = ours
        self.rest = b""
        self.status = None

    def send(self, *orders):
        data = b"".join(json.dumps(order, ensure_ascii=False).encode() + b"\n" for order in orders)
        self.send_bytes(data)

    def send_bytes(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.orders, view[: 1 << 20]) :]

    def frame(self, patience=PATIENCE):
        """The next frame as text; None at the end."""
        while b"\n" not in self.rest:
            if not select.select([self.frames], [], [], patience)[0]:
                raise AssertionError(f"no frame within {patience} s")
            parts = [self.rest, os.read(self.frames, 1 << 20)]
            while parts[-1] and b"\n" not in parts[-1]:
                parts.append(os.read(self.frames, 1 << 20))
            self.rest = b"".join(parts)
            if not parts[-1]:
                return None
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    def until_answer(self, logs):
        """Frames up to an answer: (kind, id, JSON text); log lines go to `logs`."""
        while (line := self.frame()) is not None:
            letter, _, rest = line.partition(" ")
            if letter in "OE":
                activation, micros, text = rest.split(" ", 2)
                logs.append((letter, activation, int(micros), text))
            elif letter == "I":
                return letter, None, rest
            else:
                return letter, *rest.split(" ", 1)
        return None, None, None

    def finish(self):
        """Closes the orders; the exit status, or minus the signal."""
        if self.orders is not None:
            os.close(self.orders)
            self.orders = None
        return self.wait()

    def wait(self):
        if self.status is None:
            deadline = time.monotonic() + PATIENCE
            done = 0
            while not done:
                done, status = os.waitpid(self.pid, os.WNOHANG)
                if not done:
                    if time.monotonic() > deadline:
                        os.kill(self.pid, signal.SIGKILL)
                    # The end of the frames comes with the end of the process.
                    select.select([], [], [], 0.002)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        for fd in (self.orders, self.stdout, self.stderr, self.frames):
            if fd is not None:
                os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@functools.cache
def prepared(script, program):
    """The folder that a container finds at /prepared."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    command = f'sh "{HERE / script}" "{program}" 3>&1 >&2 | tar -xf - -C "{folder}"'
    subprocess.run(command, shell=True, check=True)
    return folder


class Launcher(Child):
    """A launcher of one kind, with a folder as its working directory."""

    def __init__(self, kind, **options):
        super().__init__([*interpreter(kind), str(HERE / KINDS[kind]["launcher"])], **options)
        self.runs = 0

    def init(self, code, folder=None, main="main", env=None, concurrent=False, logs=None):
        self.send(
            {
                "init": {
                    "activation": "a" * 32,
                    "name": "hello",
                    "main": main,
                    "code": code,
                    "folder": folder,
                    "concurrent": concurrent,
                    "env": env or {},
                }
            }
        )
        letter, _, text = self.until_answer([] if logs is None else logs)
        assert letter == "I", f"{letter} {text}"
        return json.loads(text)

    def order(self, value, activation=None, **context):
        self.runs += 1
        activation = activation or f"{self.runs:032x}"
        order = {
            "value": value,
            "namespace": "guest",
            "action_name": "/guest/hello",
            "action_version": "0.0.1",
            "activation_id": activation,
            "transaction_id": f"tid-{self.runs}",
            "deadline": "1700000060000",
            **context,
        }
        self.send(order)
        return activation

    def run(self, value, logs=None, **context):
        activation = self.order(value, **context)
        letter, answered, text = self.until_answer([] if logs is None else logs)
        assert answered in (activation, None), f"{answered} was answered, not {activation}"
        return letter, text


# ---- tables -----------------------------------------------------------------


@dataclass
class Case:
    """Code, runs, and what they give. A pattern stands for a matching text."""

    name: str
    code: str | None = None
    runs: list = field(default_factory=list)
    files: dict | None = None
    main: str = "main"
    env: dict = field(default_factory=dict)
    init: object = field(default_factory=lambda: OK)
    logs: list | None = None
    concurrent: bool = False


def pattern(text):
    return re.compile(text, re.DOTALL)


FUNCTION = """function main(p) {
  if (p.throw) throw new Error(p.throw);
  if (p.reject !== undefined) return Promise.reject(p.reject);
  if ('scalar' in p) return p.scalar;
  if (p.nothing) return;
  return p.list || p;
}"""

NODE = [
    Case("an object comes back", FUNCTION, [({"a": 1, "b": [None, 1.5]}, "R", {"a": 1, "b": [None, 1.5]})]),
    Case("an array is a result", FUNCTION, [({"list": [1, {"x": 2}]}, "R", [1, {"x": 2}])]),
    Case("an array is an argument", "const main = a => a.concat(3)", [([1, 2], "R", [1, 2, 3])]),
    Case("nothing is an empty object", FUNCTION, [({"nothing": 1}, "R", {})]),
    Case("no value is an empty object", "const main = p => ({ p })", [(None, "R", {"p": {}})]),
    Case("a value that is no object", FUNCTION, [("x", "F", {"error": "Internal system error: the argument must be a dictionary but has type 'string'."})]),
    Case("a number is no result", FUNCTION, [({"scalar": 5}, "F", NOT_A_DICTIONARY)]),
    Case("a text is no result", FUNCTION, [({"scalar": "x"}, "F", NOT_A_DICTIONARY)]),
    Case("a truth value is no result", FUNCTION, [({"scalar": False}, "F", NOT_A_DICTIONARY)]),
    Case("null is no result", FUNCTION, [({"scalar": None}, "F", {"error": "The action did not produce a valid JSON or JSON Array response: null"})]),
    Case("a function is no result", "const main = () => main", [({}, "F", NOT_A_DICTIONARY)]),
    Case("an object that is a text in JSON", "const main = () => new Date(0)", [({}, "F", {"error": 'The action did not produce a valid JSON or JSON Array response: "1970-01-01T00:00:00.000Z"'})]),
    Case("an object without JSON", "const main = () => ({ toJSON() {} })", [({}, "F", {"error": "The action did not produce a valid JSON or JSON Array response."})]),
    Case("an error member is passed on", FUNCTION, [({"error": None}, "R", {"error": None}), ({"error": {"c": 4}}, "R", {"error": {"c": 4}})]),
    Case(
        "a thrown exception, which is logged too",
        "function main() { throw new Error('boom') }",
        [({}, "F", {"error": "An error has occurred: Error: boom"})],
        logs=[("E", pattern("^Error: boom$")), ("E", pattern(r"at main \(.*hello\.js:1:25\)")), ...],
    ),
    Case("anything may be thrown", "function main(p) { throw p.t }", [({"t": "text"}, "F", {"error": "An error has occurred: text"})]),
    Case("even what has no text", "function main() { throw Object.create(null) }", [({}, "F", pattern("^.*An error has occurred: "))]),
    Case("a rejected promise", FUNCTION, [({"reject": "nope"}, "R", {"error": "nope"}), ({"reject": {"message": "deep"}}, "R", {"error": {"message": "deep"}})]),
    Case("a promise rejected with nothing", FUNCTION, [({"reject": 0}, "R", {"error": {}})]),
    Case("a promise rejected without a value", "const main = () => Promise.reject()", [({}, "R", {"error": {}})]),
    Case(
        "a promise rejected with an error",
        "const main = async () => { throw Object.assign(new TypeError('no'), { code: 'E1', extra: { a: 1 }, f() {} }) }",
        [({}, "R", lambda r: {k: v for k, v in r["error"].items() if k != "stack"} == {"name": "TypeError", "message": "no", "code": "E1", "extra": {"a": 1}} and r["error"]["stack"].startswith("TypeError: no\n"))],
    ),
    Case("an error that holds itself", "const main = () => { const e = new Error('x'); e.self = e; return Promise.reject(e) }", [({}, "R", lambda r: r["error"]["self"] == "[Circular]")]),
    Case("an error with a cause", "const main = () => Promise.reject(new Error('x', { cause: new Error('y') }))", [({}, "R", lambda r: r["error"]["cause"]["message"] == "y")]),
    Case("a promise is waited for", "async function main(p) { await new Promise(r => setTimeout(r, 5)); return { later: p.x } }", [({"x": 1}, "R", {"later": 1})]),
    Case("so is anything with a then", "const main = () => ({ then(done) { done({ ok: 1 }) } })", [({}, "R", {"ok": 1})]),
    Case("a promise of nothing", "const main = async () => {}", [({}, "R", {})]),
    Case("a promise of a number", "const main = async () => 4", [({}, "F", NOT_A_DICTIONARY)]),
    Case("a circle has no JSON", "const main = () => { const a = {}; a.a = a; return a }", [({}, "F", pattern("An error has occurred: TypeError: Converting circular"))]),
    Case("nor has a bigint", "const main = () => ({ n: 1n })", [({}, "F", pattern("An error has occurred: TypeError"))]),
    Case("NaN and infinity are null", "const main = () => ({ a: NaN, b: -Infinity })", [({}, "R", {"a": None, "b": None})]),
    Case("numbers pass unharmed", FUNCTION, [({"i": 9007199254740991, "f": 0.1, "e": 1e21, "n": -1}, "R", {"i": 9007199254740991, "f": 0.1, "e": 1e21, "n": -1})]),
    Case("characters pass unharmed", FUNCTION, [({"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"}, "R", {"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"})]),
    Case("half a surrogate pair is replaced", r"const main = () => ({ a: '\ud83d', b: '\\ud83d', c: '\ud83d\ude00' })", [({}, "R", {"a": "\ufffd", "b": "\\ud83d", "c": "😀"})]),
    Case("another main", "function niam() { return { niam: 1 } }", [({}, "R", {"niam": 1})], main="niam"),
    Case("main as an export", "exports.main = () => ({ e: 1 })", [({}, "R", {"e": 1})]),
    Case("main in replaced exports", "module.exports = { main: () => ({ m: 1 }) }", [({}, "R", {"m": 1})]),
    Case("main within an object", "const o = { f: () => ({ o: 1 }) }", [({}, "R", {"o": 1})], main="o.f"),
    Case("a class and a strict mode", "'use strict'; class A { static main() { return { s: this === undefined } } }; const main = A.main", [({}, "R", {"s": True})]),
    Case("a comment at the end", "const main = () => ({}) // end", [({}, "R", {})]),
    Case("names of CommonJS may be declared again", "const module = 1, require = 2; const main = () => ({ m: module + require })", [({}, "R", {"m": 3})]),
    Case("require of what comes with Node", "const main = () => ({ x: require('path').basename('/a/b') })", [({}, "R", {"x": "b"})]),
    Case("import of what comes with Node", "const main = async () => ({ x: (await import('node:path')).basename('/a/b') })", [({}, "R", {"x": "b"})]),
    Case("state stays", "let n = 0; const main = () => ({ n: ++n })", [({}, "R", {"n": 1}), ({}, "R", {"n": 2})]),
    Case("no main", "function other() {}", init=pattern("Initialization has failed due to: .*is not defined|Action entrypoint 'main' is not a function")),
    Case("main is no function", "const main = 5", init={"error": "Initialization has failed due to: Action entrypoint 'main' is not a function."}),
    Case("no code", "", init={"error": "Missing main/no code to execute."}),
    Case("no name of a main", "x", main="", init={"error": "Missing main/no code to execute."}),
    Case("a syntax error", "function main( {", init=pattern("Initialization has failed due to: .*SyntaxError"), logs=[...]),
    Case("code that throws", "console.log('at load'); throw new Error('no')", init=pattern("Initialization has failed due to: Error: no\\\\n +at"), logs=[("O", "at load"), ("E", "Error: no"), ...]),
    Case("code that throws no error", "throw 'why'", init={"error": "Initialization has failed due to: why"}),
    Case(
        "the environment",
        "const atLoad = process.env.S; const main = () => ({ atLoad, s: process.env.S, e: process.env.E, o: process.env.O, n: process.env.N })",
        [({}, "R", {"atLoad": "text", "s": "text", "e": "", "o": '{"a":[1]}', "n": ""})],
        env={"S": "text", "E": "", "O": {"a": [1]}, "N": None},
    ),
    Case(
        "the context of each run",
        "const main = () => Object.fromEntries(Object.entries(process.env).filter(([k]) => k.startsWith('__OW_')))",
        [
            ({}, "R", {"__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": "1".zfill(32), "__OW_TRANSACTION_ID": "tid-1", "__OW_DEADLINE": "1700000060000"}),
            ({}, "R", lambda r: r["__OW_ACTIVATION_ID"] == "2".zfill(32) and r["__OW_TRANSACTION_ID"] == "tid-2"),
        ],
    ),
    Case("log lines", "console.log('at load'); function main() { console.log('one\\ntwo\\n\\nfour'); console.error('%s is %d', 'x', 5); console.log({ a: [1] }, 'y'); return {} }", [({}, "R", {})],
         logs=[("O", "at load"), ("O", "one"), ("O", "two"), ("O", ""), ("O", "four"), ("E", "x is 5"), ("O", "{ a: [ 1 ] } y")]),
    Case("groups, formats, odd numbers and replaced streams are printed as the console does",
         "const main = () => { console.log('a', 1, 'b%'); console.log('%s!', 'f'); console.log(-0, 0, NaN); console.group('g'); console.log('in', 2); console.groupEnd(); console.log('out'); const w = process.stdout.write; let seen = ''; process.stdout.write = text => { seen += text; return true }; console.log('caught'); process.stdout.write = w; console.log(`saw ${seen.trim()}`); console.log(); return {} }",
         [({}, "R", {})],
         logs=[("O", "a 1 b%"), ("O", "f!"), ("O", "-0 0 NaN"), ("O", "g"), ("O", "  in 2"), ("O", "out"), ("O", "saw caught"), ("O", "")]),
    Case("blank space is kept", "const main = () => { console.log('  lead'); console.log('trail  '); console.log('\\ttab\\r'); return {} }", [({}, "R", {})], logs=[("O", "  lead"), ("O", "trail  "), ("O", "\ttab\r")]),
    Case("a line without an end", "const main = () => { process.stdout.write('no '); process.stderr.write('e'); process.stdout.write('newline'); return {} }", [({}, "R", {})], logs=[("O", "no newline"), ("E", "e")]),
    Case("a long line is split", "const main = () => { console.log('z'.repeat(20000)); console.log('値'.repeat(6000)); console.log('y'.repeat(16384)); return {} }", [({}, "R", {})],
         logs=[("O", "z" * 16384), ("O", "z" * 3616), ("O", "値" * 5461), ("O", "値" * 539), ("O", "y" * 16384)]),
    Case("a long line in small writes", "const main = () => { for (let i = 0; i < 2000; i++) process.stdout.write('0123456789'); return {} }", [({}, "R", {})],
         logs=[("O", ("0123456789" * 2000)[:16384]), ("O", ("0123456789" * 2000)[16384:])]),
    Case("bytes and encodings", "const main = () => { const b = Buffer.from('値\\n'); process.stdout.write(b.subarray(0, 1)); process.stdout.write(b.subarray(1)); process.stdout.write('6869', 'hex'); return {} }", [({}, "R", {})], logs=[("O", "値"), ("O", "hi")]),
    Case("a stream into standard output", "const main = () => new Promise(done => { const { Readable } = require('stream'); const r = Readable.from(['a\\n', 'b\\n']); r.pipe(process.stdout); r.on('end', () => setImmediate(done, {})) })", [({}, "R", {}), ({}, "R", {})],
         logs=[("O", "a"), ("O", "b")] * 2),
    Case("standard output cannot be closed", "const main = async () => { process.stdout.end('e\\n'); process.stdout.destroy(); console.log('x'); return {} }", [({}, "R", {})], logs=[("O", "e"), ("O", "x")]),
    Case("standard input is empty", "const main = () => ({ got: require('fs').readFileSync(0, 'utf8') })", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children do not get the orders", "const main = () => ({ got: require('child_process').spawnSync('cat', { stdio: ['inherit', 'pipe', 'pipe'] }).stdout.toString() })", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children get no descriptor but the streams", "const main = () => ({ fds: require('child_process').execSync('ls /proc/self/fd').toString().split('\\n').filter(f => f > 3) })", [({}, "R", {"fds": []})]),
    Case("a package with index.js", files={"index.js": "exports.main = p => ({ zip: p.x })"}, runs=[({"x": 1}, "R", {"zip": 1})]),
    Case("a package that names its file", files={"package.json": '{"main":"lib/start.js"}', "lib/start.js": "const h = require('./help'); exports.main = () => ({ h: h() })", "lib/help.js": "module.exports = () => 'helped'"}, runs=[({}, "R", {"h": "helped"})]),
    Case("a package with another main", files={"index.js": "exports.niam = () => ({ n: 1 })"}, main="niam", runs=[({}, "R", {"n": 1})]),
    Case("a file and a function", files={"other.js": "exports.a = { b: () => ({ ab: 1 }) }"}, main="other.a.b", runs=[({}, "R", {"ab": 1})]),
    Case("modules of the package", files={"index.js": "exports.main = () => ({ m: require('dep') })", "node_modules/dep/index.js": "module.exports = 7"}, runs=[({}, "R", {"m": 7})]),
    Case("files of the package", files={"index.js": "exports.main = () => ({ d: require('fs').readFileSync('data.txt', 'utf8'), e: require('fs').readFileSync(__dirname + '/data.txt', 'utf8') })", "data.txt": "content"}, runs=[({}, "R", {"d": "content", "e": "content"})]),
    Case("an ES module", files={"package.json": '{"type":"module","main":"m.js"}', "m.js": "import { x } from './x.js'; await 0; export const main = () => ({ x })", "x.js": "export const x = 3"}, runs=[({}, "R", {"x": 3})]),
    Case("an ES module by its suffix", files={"package.json": '{"main":"m.mjs"}', "m.mjs": "export default { main: async () => ({ x: 4 }) }"}, runs=[({}, "R", {"x": 4})]),
    Case("a package without entry", files={"other.js": "1"}, init={"error": "Initialization has failed due to: Zipped actions must contain either package.json or index.js at the root."}),
    Case("no package at all", files={"exec": "\0\0"}, init={"error": "Initialization has failed due to: There was an error uncompressing the action archive. The file type is unsupported"}),
    Case("a package without the function", files={"index.js": "module.exports = null"}, init={"error": "Initialization has failed due to: Action entrypoint 'main' is not a function."}),
]

ECHO = """
def main(args):
    if 'scalar' in args:
        return args['scalar']
    if 'raise' in args:
        raise ValueError(args['raise'])
    return args.get('list', args)
"""

PYTHON = [
    Case("a dictionary comes back", ECHO, [({"a": 1, "b": [None, 1.5]}, "R", {"a": 1, "b": [None, 1.5]})]),
    Case("a list is a result", ECHO, [({"list": [1, {"x": 2}]}, "R", [1, {"x": 2}])]),
    Case("a list is an argument", "def main(a): return a + [3]", [([1, 2], "R", [1, 2, 3])]),
    Case("a tuple is a list", "def main(a): return (1, 2)", [({}, "R", [1, 2])]),
    Case("a subclass of dict", "import collections\ndef main(a): return collections.OrderedDict(b=1)", [({}, "R", {"b": 1})]),
    Case("no value is an empty dictionary", "def main(a): return {'a': a}", [(None, "R", {"a": {}})]),
    Case("None is no result", ECHO, [({"scalar": None}, "F", NOT_A_RESULT)]),
    Case("a text is no result", ECHO, [({"scalar": "x"}, "F", NOT_A_RESULT)]),
    Case("a number is no result", ECHO, [({"scalar": 5}, "F", NOT_A_RESULT), ({"a": 1}, "R", {"a": 1})]),
    Case("an error member is passed on", ECHO, [({"error": None}, "R", {"error": None}), ({"error": {"c": 4}}, "R", {"error": {"c": 4}})]),
    Case(
        "an exception",
        ECHO,
        [({"raise": "no"}, "R", {"error": "no"}), ({"a": 1}, "R", {"a": 1})],
        logs=[("E", "Traceback (most recent call last):"), ("E", pattern('main__.py", line 6, in main$')), ("E", "    raise ValueError(args['raise'])"), ("E", "ValueError: no")],
    ),
    Case("an exception without a text", "def main(a):\n class E(Exception):\n  def __str__(self): raise E\n raise E", [({}, "R", {"error": "E"})]),
    Case("half a surrogate pair in an exception", "def main(a): raise ValueError('\\ud800')", [({}, "R", {"error": "\ufffd"})]),
    Case("what has no JSON", "def main(a): return {'x': {1, 2}}", [({}, "R", {"error": "Object of type set is not JSON serializable"})]),
    Case("a circle has no JSON", "def main(a):\n a['a'] = a\n return a", [({}, "R", {"error": "Circular reference detected"})]),
    Case("NaN has no JSON", "def main(a): return {'x': float('nan')}", [({}, "F", {"error": 'The action did not produce a valid JSON or JSON Array response: {"x":NaN}'})]),
    Case("nor has infinity", "def main(a): return [float('-inf')]", [({}, "F", {"error": "The action did not produce a valid JSON or JSON Array response: [-Infinity]"})]),
    Case("numbers pass unharmed", ECHO, [({"i": 2**70, "f": 0.1, "e": 1e21, "n": -1}, "R", {"i": 2**70, "f": 0.1, "e": 1e21, "n": -1})]),
    Case("characters pass unharmed", ECHO, [({"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"}, "R", {"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"})]),
    Case("half a surrogate pair is replaced", r"def main(a): return {'a': '\ud83d', 'b': '\\ud83d', 'c': '\U0001f600'}", [({}, "R", {"a": "\ufffd", "b": "\\ud83d", "c": "😀"})]),
    Case("keys that are no texts", "def main(a): return {1: 2, None: 3}", [({}, "R", {"1": 2, "null": 3})]),
    Case("another main", "def niam(a): return {'niam': 1}", [({}, "R", {"niam": 1})], main="niam"),
    Case("main is any callable", "class A:\n def __call__(self, a): return {'c': 1}\nmain = A()", [({}, "R", {"c": 1})]),
    Case("an asynchronous main", "import asyncio\nasync def main(a):\n await asyncio.sleep(0.001)\n return {'later': a['x']}", [({"x": 1}, "R", {"later": 1}), ({"x": 2}, "R", {"later": 2})]),
    Case("an exception in an asynchronous main", "async def main(a): raise KeyError('k')", [({}, "R", {"error": "'k'"})]),
    Case("the event loop stays", "import asyncio\nloops = []\nasync def main(a):\n loops.append(asyncio.get_running_loop())\n return {'same': loops[0] is loops[-1]}", [({}, "R", {"same": True}), ({}, "R", {"same": True})]),
    Case("state stays", "n = 0\ndef main(a):\n global n\n n += 1\n return {'n': n}", [({}, "R", {"n": 1}), ({}, "R", {"n": 2})]),
    Case("the name of the module", "def main(a):\n import main__\n return {'n': __name__, 'same': main__.main is main}", [({}, "R", {"n": "main__", "same": True})]),
    Case("no main", "def other(a): pass", init=NOT_STARTED, logs=[("E", pattern("cannot import name 'main'"))]),
    Case("no code", "", init={"error": "Missing main/no code to execute."}),
    Case("no name of a main", "x = 1", main="", init={"error": "Missing main/no code to execute."}),
    Case("a syntax error", "def main(args:\n  pass", init=NOT_BUILT, logs=[("E", pattern('main__.py", line 1$')), ("E", "    def main(args:"), ..., ("E", pattern("^SyntaxError"))]),
    Case("a null byte in the code", "def main(a): pass\n\0", init=NOT_BUILT),
    Case("code that raises", "print('at load')\nraise RuntimeError('no')", init=NOT_STARTED, logs=[("O", "at load"), ("E", "Traceback (most recent call last):"), ..., ("E", "RuntimeError: no")]),
    Case("code that misses an attribute", "import os\nos.nothing", init=NOT_STARTED, logs=[..., ("E", pattern("^AttributeError"))]),
    Case("a missing module", "import nothing_of_that_name", init=NOT_STARTED, logs=[..., ("E", pattern("^ModuleNotFoundError"))]),
    Case(
        "the environment",
        "import os\nat_load = os.environ['S']\ndef main(a): return {'l': at_load, **{k: os.environ[k] for k in ('S', 'E', 'O', 'N')}}",
        [({}, "R", {"l": "text", "S": "text", "E": "", "O": '{"a":[1]}', "N": ""})],
        env={"S": "text", "E": "", "O": {"a": [1]}, "N": None, "a=b": "x"},
    ),
    Case(
        "the context of each run",
        "import os\ndef main(a): return {k: v for k, v in os.environ.items() if k.startswith('__OW_')}",
        [
            ({}, "R", {"__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": "1".zfill(32), "__OW_TRANSACTION_ID": "tid-1", "__OW_DEADLINE": "1700000060000"}),
            ({}, "R", lambda r: r["__OW_ACTIVATION_ID"] == "2".zfill(32) and r["__OW_TRANSACTION_ID"] == "tid-2"),
        ],
    ),
    Case("log lines", "import sys\nprint('at load')\ndef main(a):\n print('one\\ntwo\\n\\nfour')\n print('x', 5, file=sys.stderr)\n sys.__stdout__.write('real\\n')\n return {}", [({}, "R", {})],
         logs=[("O", "at load"), ("O", "one"), ("O", "two"), ("O", ""), ("O", "four"), ("E", "x 5"), ("O", "real")]),
    Case("the logging module", "import logging\nlogging.basicConfig(level='INFO')\ndef main(a):\n logging.info('hi')\n return {}", [({}, "R", {})], logs=[("E", "INFO:root:hi")]),
    Case("blank space is kept", "def main(a):\n print('  lead')\n print('trail  ')\n print('\\ttab\\r')\n return {}", [({}, "R", {})], logs=[("O", "  lead"), ("O", "trail  "), ("O", "\ttab\r")]),
    Case("a line without an end", "import sys\ndef main(a):\n print('no ', end='')\n sys.stderr.write('e')\n print('newline', end='')\n return {}", [({}, "R", {})], logs=[("O", "no newline"), ("E", "e")]),
    Case("a long line is split", "def main(a):\n print('z' * 20000)\n print('値' * 6000)\n print('y' * 16384)\n return {}", [({}, "R", {})],
         logs=[("O", "z" * 16384), ("O", "z" * 3616), ("O", "値" * 5461), ("O", "値" * 539), ("O", "y" * 16384)]),
    Case("a long line in small writes", "def main(a):\n for _ in range(2000): print('0123456789', end='')\n return {}", [({}, "R", {})],
         logs=[("O", ("0123456789" * 2000)[:16384]), ("O", ("0123456789" * 2000)[16384:])]),
    Case("bytes, and half a surrogate pair", "import sys\ndef main(a):\n sys.stdout.buffer.write('値\\n'.encode())\n print('\\ud800')\n return {}", [({}, "R", {})], logs=[("O", "値"), ("O", "\\ud800")]),
    Case("standard output cannot be closed", "import sys\ndef main(a):\n sys.stdout.close()\n print('x')\n return {}", [({}, "R", {})], logs=[("O", "x")]),
    Case("standard input is empty", "import sys\ndef main(a): return {'got': sys.stdin.read()}", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children do not get the orders", "import subprocess\ndef main(a): return {'got': subprocess.run('cat', stdout=-1).stdout.decode()}", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children get no descriptor but the streams", "import subprocess\ndef main(a): return {'fds': subprocess.run(['ls', '/proc/self/fd'], stdout=-1, close_fds=False).stdout.split()[3:].__str__()}", [({}, "R", {"fds": "[b'3']"})]),
    Case("a package", files={"__main__.py": "from help import x\ndef main(a): return {'x': x, 'f': open('data.txt').read()}", "help.py": "x = 3", "data.txt": "content"}, runs=[({}, "R", {"x": 3, "f": "content"})]),
    Case("a package by its new name", files={"main__.py": "def main(a): return {'x': 1}"}, runs=[({}, "R", {"x": 1})]),
    Case("a source in base64", files={"exec": "def main(a): return {'x': 2}"}, runs=[({}, "R", {"x": 2})]),
    Case("no source at all", files={"exec": "\0\1"}, init=NOT_BUILT),
    Case("a package without entry", files={"other.py": "1"}, init=NOT_BUILT, logs=[("E", "Zip file does not include main__")]),
    Case("an exception in a package shows its line", files={"__main__.py": "import help\ndef main(a): help.f()", "help.py": "def f():\n  raise OSError('deep')"}, runs=[({}, "R", {"error": "deep"})], logs=[..., ("E", "    raise OSError('deep')"), ("E", "OSError: deep")]),
    Case("a virtual environment", files={"__main__.py": "import dep, os\ndef main(a): return {'d': dep.x, 'v': os.environ['VIRTUAL_ENV'][-10:]}", "virtualenv/bin/activate_this.py": "import os, sys\nbase = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))\nos.environ['VIRTUAL_ENV'] = base\nsys.path.insert(0, base + '/lib')", "virtualenv/lib/dep.py": "x = 9"}, runs=[({}, "R", {"d": 9, "v": "virtualenv"})]),
    Case("a broken virtual environment", files={"__main__.py": "def main(a): return a", "virtualenv/x": ""}, init=NOT_BUILT, logs=[("E", "Invalid virtualenv. Zip file does not include 'activate_this.py'.")]),
]

RUBY_ECHO = """
def main(args)
  return args['scalar'] if args.key?('scalar')
  raise ArgumentError, args['raise'] if args['raise']

  args['list'] || args
end
"""

RUBY = [
    Case("a hash comes back", RUBY_ECHO, [({"a": 1, "b": [None, 1.5]}, "R", {"a": 1, "b": [None, 1.5]})]),
    Case("an array is a result", RUBY_ECHO, [({"list": [1, {"x": 2}]}, "R", [1, {"x": 2}])]),
    Case("an array is an argument", "def main(a) a + [3] end", [([1, 2], "R", [1, 2, 3])]),
    Case("symbols and whatever has JSON", "def main(a) { a: :b, 'c' => nil, 4 => 1..2 } end", [({}, "R", {"a": "b", "c": None, "4": "1..2"})]),
    Case("no value is an empty hash", "def main(a) { a: a } end", [(None, "R", {"a": {}})]),
    Case("nil is no result", RUBY_ECHO, [({"scalar": None}, "F", NOT_A_RESULT)]),
    Case("a text is no result", RUBY_ECHO, [({"scalar": "x"}, "F", NOT_A_RESULT)]),
    Case("a number is no result", RUBY_ECHO, [({"scalar": 5}, "F", NOT_A_RESULT)]),
    Case("an error member is passed on", RUBY_ECHO, [({"error": None}, "R", {"error": None}), ({"error": {"c": 4}}, "R", {"error": {"c": 4}})]),
    Case(
        "an exception",
        RUBY_ECHO,
        [({"raise": "no"}, "F", {"error": "Invalid Action: the execution was not successful. / ArgumentError: no"})],
        logs=[("E", pattern("main.rb:4:in `main': no \\(ArgumentError\\)$"))],
    ),
    Case("an exception without a text", "class E < StandardError; def message; raise 'x'; end; end\ndef main(a) raise E end", [({}, "F", {"error": "Invalid Action: the execution was not successful. / E"})]),
    Case("endless recursion", "def main(a) main(a) end", [({}, "F", pattern("SystemStackError"))]),
    Case("a circle has no JSON", "def main(a) a['a'] = a end", [({}, "F", pattern("The action did not produce a valid JSON or JSON Array response: nesting"))]),
    Case("NaN has no JSON", "def main(a) { x: Float::NAN } end", [({}, "F", pattern("The action did not produce a valid JSON or JSON Array response: "))]),
    Case("numbers pass unharmed", RUBY_ECHO, [({"i": 2**70, "f": 0.1, "e": 1e21, "n": -1}, "R", {"i": 2**70, "f": 0.1, "e": 1e21, "n": -1})]),
    Case("characters pass unharmed", RUBY_ECHO, [({"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"}, "R", {"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"})]),
    Case("what is no character is replaced", r"""def main(a) { a: "a\xffb", b: '\ud83d', c: '値'.encode('UTF-16LE') } end""", [({}, "R", {"a": "a\ufffdb", "b": "\\ud83d", "c": "値"})]),
    Case("another main", "def niam(a) { niam: 1 } end", [({}, "R", {"niam": 1})], main="niam"),
    Case("state stays", "$n = 0\ndef main(a) { n: $n += 1 } end", [({}, "R", {"n": 1}), ({}, "R", {"n": 2})]),
    Case("no main", "def other(a) end", init=pattern("Invalid Ruby Code: method checking failed / NameError: undefined method `main'")),
    Case("no code", "", init={"error": "Missing main/no code to execute."}),
    Case("no name of a main", "x = 1", main="", init={"error": "Missing main/no code to execute."}),
    Case("a syntax error", "def main(args", init={"error": "Invalid Ruby Code: failed to parse the input code"}, logs=[("E", pattern("main.rb:1: syntax error")), ...]),
    Case("code that raises", "puts 'at load'\nraise 'no'", init={"error": "Invalid Ruby Code: method checking failed / RuntimeError: no"}, logs=[("O", "at load"), ("E", pattern("main.rb:2:in .*: no \\(RuntimeError\\)$"))]),
    Case("a missing library", "require 'nothing_of_that_name'", init=pattern("LoadError: cannot load such file -- nothing_of_that_name"), logs=[...]),
    Case("a library of Ruby's own", "require 'set'\nrequire 'digest'\ndef main(a) { d: Digest::MD5.hexdigest('x')[0, 4] } end", [({}, "R", {"d": "9dd4"})]),
    Case("RubyGems are there when they are asked for", "def main(a) { v: Gem::Version.new('1.10') > Gem::Version.new('1.9') } end", [({}, "R", {"v": True})]),
    Case(
        "the environment",
        "L = ENV['S']\ndef main(a) %w[S E O N].to_h { |k| [k, ENV[k]] }.merge('l' => L) end",
        [({}, "R", {"l": "text", "S": "text", "E": "", "O": '{"a":[1]}', "N": ""})],
        env={"S": "text", "E": "", "O": {"a": [1]}, "N": None, "a=b": "x"},
    ),
    Case(
        "the context of each run",
        "def main(a) ENV.to_h.select { |k, _| k.start_with?('__OW_') } end",
        [
            ({}, "R", {"__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": "1".zfill(32), "__OW_TRANSACTION_ID": "tid-1", "__OW_DEADLINE": "1700000060000"}),
            ({}, "R", lambda r: r["__OW_ACTIVATION_ID"] == "2".zfill(32) and r["__OW_TRANSACTION_ID"] == "tid-2"),
        ],
    ),
    Case("log lines", "puts 'at load'\ndef main(a)\n puts \"one\\ntwo\\n\\nfour\"\n $stderr.puts 'x', 5\n STDOUT.printf('%d-', 1)\n STDOUT << 'a' << \"b\\n\"\n p nil\n warn 'w'\n {}\nend", [({}, "R", {})],
         logs=[("O", "at load"), ("O", "one"), ("O", "two"), ("O", ""), ("O", "four"), ("E", "x"), ("E", "5"), ("O", "1-ab"), ("O", "nil"), ("E", "w")]),
    Case("blank space is kept", "def main(a)\n puts '  lead', 'trail  ', \"\\ttab\\r\"\n {}\nend", [({}, "R", {})], logs=[("O", "  lead"), ("O", "trail  "), ("O", "\ttab\r")]),
    Case("a line without an end", "def main(a)\n print 'no '\n $stderr.print 'e'\n print 'newline'\n {}\nend", [({}, "R", {})], logs=[("O", "no newline"), ("E", "e")]),
    Case("a long line is split", "def main(a)\n puts 'z' * 20000, '値' * 6000, 'y' * 16384\n {}\nend", [({}, "R", {})],
         logs=[("O", "z" * 16384), ("O", "z" * 3616), ("O", "値" * 5461), ("O", "値" * 539), ("O", "y" * 16384)]),
    Case("a long line in small writes", "def main(a)\n 2000.times { print '0123456789' }\n {}\nend", [({}, "R", {})],
         logs=[("O", ("0123456789" * 2000)[:16384]), ("O", ("0123456789" * 2000)[16384:])]),
    Case("other encodings", "def main(a)\n puts '値'.encode('EUC-JP'), '値'.b\n {}\nend", [({}, "R", {})], logs=[("O", "値"), ("O", "値")]),
    Case("standard output cannot be closed", "def main(a)\n $stdout.close\n puts 'x'\n {}\nend", [({}, "R", {})], logs=[("O", "x")]),
    Case("standard input is empty", "def main(a) { got: $stdin.read } end", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children do not get the orders", "def main(a) { got: `cat` } end", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children get no descriptor but the streams", "def main(a) { fds: `ls /proc/self/fd`.split.drop(3) } end", [({}, "R", {"fds": ["3"]})]),
    Case("a package", files={"main.rb": "require 'help'\ndef main(a) { x: X, f: File.read('data.txt'), g: File.read(__dir__ + '/data.txt') } end", "help.rb": "X = 3", "data.txt": "content"}, runs=[({}, "R", {"x": 3, "f": "content", "g": "content"})]),
    Case("a source in base64", files={"exec": "def main(a) { x: 2 } end"}, runs=[({}, "R", {"x": 2})]),
    Case("a package without entry", files={"other.rb": "1"}, init={"error": "Invalid Ruby Code: zipped actions must contain main.rb at the root."}),
]

PHP_ECHO = """<?php
function main(array $args) {
    if (isset($args['raise'])) throw new RuntimeException($args['raise']);
    return array_key_exists('scalar', $args) ? $args['scalar'] : $args['list'] ?? $args;
}
"""

PHP = [
    Case("an array comes back", PHP_ECHO, [({"a": 1, "b": [None, 1.5]}, "R", {"a": 1, "b": [None, 1.5]})]),
    Case("a list is a result", PHP_ECHO, [({"list": [1, {"x": 2}]}, "R", [1, {"x": 2}])]),
    Case("a list is an argument", "<?php function main($a) { $a[] = 3; return $a; }", [([1, 2], "R", [1, 2, 3])]),
    Case("an empty array is an empty object", PHP_ECHO, [({}, "R", {}), (None, "R", {})]),
    Case("objects that are arrays", "<?php function main($a) { return isset($a['o']) ? (object) ['s' => 1] : new ArrayObject(['a' => 1]); }", [({}, "R", {"a": 1}), ({"o": 1}, "R", {"s": 1})]),
    Case("null is an empty object", PHP_ECHO, [({"scalar": None}, "R", {})]),
    Case("a text is no result", PHP_ECHO, [({"scalar": "x"}, "F", NOT_A_RESULT)], logs=[("E", 'Result must be an array but has type "string"')]),
    Case("a number is no result", PHP_ECHO, [({"scalar": 5}, "F", NOT_A_RESULT)]),
    Case("a truth value is no result", PHP_ECHO, [({"scalar": False}, "F", NOT_A_RESULT)], logs=[("E", 'Result must be an array but has type "boolean"')]),
    Case("an error member is passed on", PHP_ECHO, [({"error": None}, "R", {"error": None}), ({"error": {"c": 4}}, "R", {"error": {"c": 4}})]),
    Case("an exception", PHP_ECHO, [({"raise": "no"}, "F", NOT_A_RESULT)], logs=[("E", pattern("^RuntimeException: no in /tmp/.*:3$")), ("E", "Stack trace:"), ("E", "#0 {main}")]),
    Case("a circle has no JSON", "<?php function main($a) { $a['a'] = &$a; return $a; }", [({}, "F", NOT_A_RESULT)], logs=[("E", pattern("^Result has no JSON: "))]),
    Case("nor has NaN", "<?php function main($a) { return [NAN]; }", [({}, "F", NOT_A_RESULT)], logs=[("E", "Result has no JSON: Inf and NaN cannot be JSON encoded")]),
    Case("numbers pass unharmed", PHP_ECHO, [({"i": 9007199254740993, "f": 0.1, "e": 1e21, "n": -1, "z": 1.0}, "R", {"i": 9007199254740993, "f": 0.1, "e": 1e21, "n": -1, "z": 1.0})]),
    Case("characters pass unharmed", PHP_ECHO, [({"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"}, "R", {"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"})]),
    Case("what is no character is replaced", '<?php function main($a) { return ["a" => "a\\xffb"]; }', [({}, "R", {"a": "a\ufffdb"})]),
    Case("another main", "<?php function niam($a) { return ['niam' => 1]; }", [({}, "R", {"niam": 1})], main="niam"),
    Case("main is a method", "<?php class A { static function f($a) { return ['f' => 1]; } }", [({}, "R", {"f": 1})], main="A::f"),
    Case("state stays, in global and in static variables", "<?php $n = 0; function main($a) { global $n; static $m = 0; return [++$n, ++$m]; }", [({}, "R", [1, 1]), ({}, "R", [2, 2])]),
    Case("no main", "<?php function other($a) {}", init=NOT_STARTED, logs=[("E", "PHP Fatal error:  Call to undefined function main()")]),
    Case("no code", "", init={"error": "Missing main/no code to execute."}),
    Case("no name of a main", "<?php", main="", init={"error": "Missing main/no code to execute."}),
    Case("a syntax error", "<?php function main( {", init=NOT_BUILT, logs=[("E", pattern("^ParseError: syntax error")), ...]),
    Case("code that throws", '<?php echo "at load\\n"; throw new Error("no");', init=NOT_STARTED, logs=[("O", "at load"), ("E", pattern("^Error: no in ")), ...]),
    Case("a missing file", "<?php require 'nothing.php';", init=NOT_STARTED, logs=[("E", pattern("^PHP Warning:  require\\(nothing.php\\)")), ("E", pattern("^Error: Failed opening required")), ...]),
    Case(
        "the environment",
        "<?php $l = getenv('S'); function main($a) { global $l; return ['l' => $l, 'e' => $_ENV['S']] + array_map('getenv', ['S' => 'S', 'E' => 'E', 'O' => 'O', 'N' => 'N']); }",
        [({}, "R", {"l": "text", "e": "text", "S": "text", "E": "", "O": '{"a":[1]}', "N": ""})],
        env={"S": "text", "E": "", "O": {"a": [1]}, "N": None, "a=b": "x"},
    ),
    Case(
        "the context of each run",
        "<?php function main($a) { return array_filter(getenv(), fn($k) => str_starts_with($k, '__OW_'), ARRAY_FILTER_USE_KEY); }",
        [
            ({}, "R", {"__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": "1".zfill(32), "__OW_TRANSACTION_ID": "tid-1", "__OW_DEADLINE": "1700000060000"}),
            ({}, "R", lambda r: r["__OW_ACTIVATION_ID"] == "2".zfill(32) and r["__OW_TRANSACTION_ID"] == "tid-2"),
        ],
    ),
    Case("log lines", """<?php echo "at load\n"; function main($a) {
        echo "one\ntwo\n\nfour\n"; fwrite(STDERR, "x\n"); print("p\n"); fprintf(STDOUT, "%d\n", 5); error_log("logged"); var_dump(1); trigger_error("noticed"); @trigger_error("silent"); return [];
    }""", [({}, "R", {})],
         logs=[("O", "at load"), ("O", "one"), ("O", "two"), ("O", ""), ("O", "four"), ("E", "x"), ("O", "p"), ("O", "5"), ("E", "logged"), ("O", "int(1)"), ("E", pattern("^PHP Notice:  noticed in "))]),
    Case("a line without an end", "<?php function main($a) { echo 'no '; fwrite(STDERR, 'e'); fwrite(STDOUT, 'newline'); return []; }", [({}, "R", {})], logs=[("O", "no newline"), ("E", "e")]),
    Case("a long line is split", '<?php function main($a) { foreach ([["z", 20000], ["値", 6000], ["y", 16384]] as [$c, $n]) echo str_repeat($c, $n), "\\n"; return []; }', [({}, "R", {})],
         logs=[("O", "z" * 16384), ("O", "z" * 3616), ("O", "値" * 5461), ("O", "値" * 539), ("O", "y" * 16384)]),
    Case("a long line in small writes", "<?php function main($a) { for ($i = 0; $i < 2000; $i++) echo '0123456789'; return []; }", [({}, "R", {})],
         logs=[("O", ("0123456789" * 2000)[:16384]), ("O", ("0123456789" * 2000)[16384:])]),
    Case("output buffers of user code", '<?php function main($a) { ob_start(); echo "kept"; $k = ob_get_clean(); @ob_end_clean(); echo "out\\n"; return ["k" => $k]; }', [({}, "R", {"k": "kept"})], logs=[("O", "out")]),
    Case("standard input is empty", "<?php function main($a) { return ['got' => file_get_contents('php://stdin')]; }", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("children do not get the orders", "<?php function main($a) { return ['got' => (string) shell_exec('cat')]; }", [({}, "R", {"got": ""}), ({}, "R", {"got": ""})]),
    Case("a fatal error in a run", "<?php function main($a) { class A extends B {} }", [({}, "F", NOT_A_RESULT)], logs=[("E", pattern('^Error: Class "B" not found')), ...]),
    Case("a package", files={"index.php": "<?php require 'help.php'; function main($a) { return ['x' => X, 'f' => file_get_contents('data.txt'), 'g' => file_get_contents(__DIR__ . '/data.txt')]; }", "help.php": "<?php const X = 3;", "data.txt": "content"}, runs=[({}, "R", {"x": 3, "f": "content", "g": "content"})]),
    Case("a package with an autoloader", files={"index.php": "<?php function main($a) { return ['x' => Dep::X]; }", "vendor/autoload.php": "<?php spl_autoload_register(function ($c) { require __DIR__ . \"/$c.php\"; });", "vendor/Dep.php": "<?php class Dep { const X = 9; }"}, runs=[({}, "R", {"x": 9})]),
    Case("a source in base64", files={"exec": "<?php function main($a) { return ['x' => 2]; }"}, runs=[({}, "R", {"x": 2})]),
    Case("a package without entry", files={"other.php": "1"}, init=NOT_BUILT, logs=[("E", "Zip file does not include index.php")]),
]

def shell(script):
    return f"#!/bin/sh\n{script}\n"


def perl(script):
    return f"#!/usr/bin/perl\n{script}\n"


def says(text):
    return perl(f"print pack 'H*', '{text.encode().hex()}'")


NATIVE = [
    Case("the argument, on the command line and on standard input", shell("read in; echo '{\"in\":'$in',\"argument\":'$1',\"count\":'$#'}'"), [({"a": [1, None]}, "R", {"in": {"a": [1, None]}, "argument": {"a": [1, None]}, "count": 1})]),
    Case("what is too long for a command line", shell("wc -c | sed 's/.*/[&,'$#']/'"), [({"a": "x" * 200000}, "R", [200000 + 9, 0]), ({"a": "x" * 131000}, "R", [131000 + 9, 1])]),
    Case("an argument that nobody reads", shell("echo '{}'"), [({"a": "x" * 1000000}, "R", {})]),
    Case("no value is an empty object", shell("cat"), [(None, "R", {})]),
    Case("an array, and a result without a line end", shell("printf %s \"$1\""), [([1, "two"], "R", [1, "two"])]),
    Case("blanks around the result", shell("echo; echo '  {\"a\": 1 } '"), [({}, "R", {"a": 1})], logs=[("O", "")]),
    Case("the last line is the result, all others are logged", shell("echo one; echo '{\"not\":1}'; echo '[2]'; echo '{}'"), [({}, "R", {})], logs=[("O", "one"), ("O", '{"not":1}'), ("O", "[2]")]),
    Case("an error member is passed on", shell("cat"), [({"error": {"c": 4}}, "R", {"error": {"c": 4}})]),
    Case("the exit status is not looked at", shell("echo '{}'; exit 5"), [({}, "R", {})]),
    *(
        Case(f"no result: {text!r}", says(text), [({}, "F", NOT_A_RESULT)], logs=[("O", line) for line in text.split("\n") if line])
        for text in ("", "5", "text", "null", "{", "{}}", "[1,]", '{"a" 1}', '{"a":01}', '["\t"]', "[1 2]", "{1:2}", '["open]', "{}\nlast", "[nul]", r'["\x"]', "[1}", "[,]", "{,}")
    ),
    *(
        Case(f"a result: {text!r}", says(text), [({}, "R", json.loads(text))], logs=[])
        for text in ("[]", r'[{"a":[[],{}]},-0.5e-3,true,false,null,"\ud83d\ude00\n\u0000"]', '{ "a" : { } , "b":[ ] }', '["値"]\n')
    ),
    Case("a string of many escapes", perl(r"""print '["', '\\\\' x 200000, '"]'"""), [({}, "R", lambda r: r == ["\\" * 200000])]),
    Case("many values", perl("print '[', join(',', (1) x 200000), ']'"), [({}, "R", lambda r: len(r) == 200000)]),
    Case("a result that is no UTF-8", perl('print "[\"\\xff\"]"'), [({}, "F", NOT_A_RESULT)]),
    Case("characters pass unharmed", shell("cat"), [({"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"}, "R", {"t": "naïve 値 😀 \0 \"q\" \\ / \n\t\u2028\\ud800"})]),
    Case("what cannot be executed", "#!/no/such/interpreter", [({}, "F", NOT_A_RESULT)], logs=[("O", pattern("exec cannot be started: No such file or directory"))]),
    Case("a program that is killed by a signal", perl("kill 11, $$; sleep 9"), [({}, "F", NOT_A_RESULT)]),
    Case("children that keep the streams open", shell("sleep 60 & echo '{}'"), [({}, "R", {}), ({}, "R", {})]),
    Case("standard error", shell("echo one >&2; printf two >&2; echo '{}'"), [({}, "R", {})], logs=[("E", "one"), ("E", "two")]),
    Case("a long line is split", perl("print 'z' x 20000, qq(\\n), qq(値) x 6000, qq(\\n), 'y' x 16384, qq(\\n{}\\n)"), [({}, "R", {})],
         logs=[("O", "z" * 16384), ("O", "z" * 3616), ("O", "値" * 5461), ("O", "値" * 539), ("O", "y" * 16384)]),
    Case("a long line that looks like a result is one line", perl("print '[', '1,' x 50000, '1]'"), [({}, "R", lambda r: len(r) == 50001)], logs=[]),
    Case(
        "the environment and the context of each run",
        perl("print '{', join(',', map { qq(\"$_\":\"$ENV{$_}\") } grep { /^(__OW_|[SEON]$)/ } keys %ENV), '}'"),
        [
            ({}, "R", {"S": "text 値", "E": "", "O": "5", "N": "", "__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/hello", "__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": "1".zfill(32), "__OW_TRANSACTION_ID": "tid-1", "__OW_DEADLINE": "1700000060000"}),
            ({}, "R", lambda r: r["__OW_ACTIVATION_ID"] == "2".zfill(32) and r["__OW_TRANSACTION_ID"] == "tid-2"),
        ],
        env={"S": "text 値", "E": "", "O": 5, "N": None, "a=b": "x"},
    ),
    Case("no orders, no frames", shell("exec 2>&1; ls /proc/self/fd; echo '{}'"), [({}, "R", {})], logs=[("O", "0"), ("O", "1"), ("O", "2"), ("O", "3")]),
    Case("no code", "", init={"error": "Missing main/no code to execute."}),
    Case("an archive with a program", files={"exec": shell(". ./help; echo '{\"h\":\"'$(help)'\"}'"), "help": "help() { cat data.txt; }", "data.txt": "content"}, runs=[({}, "R", {"h": "content"})]),
    Case("an archive without one", files={"other": shell("echo '{}'")}, init=NOT_BUILT, logs=[("E", "There is no executable file 'exec'.")]),
]


class Tables(unittest.TestCase):
    """Every case of the tables, on its own launcher."""

    def check(self, expected, text, what):
        value = json.loads(text)
        if isinstance(expected, re.Pattern):
            self.assertRegex(text, expected, what)
        elif callable(expected):
            self.assertTrue(expected(value), f"{what}: {text}")
        else:
            self.assertEqual(value, expected, what)

    def check_logs(self, expected, got):
        """`...` stands for any lines in between."""
        lines = [(letter, text) for letter, _, _, text in got]
        at = 0
        skipping = False
        for want in expected:
            if want is ...:
                skipping = True
                continue
            while skipping and at < len(lines) and not self.same(want, lines[at]):
                at += 1
            self.assertLess(at, len(lines), f"{want} is missing in {lines}")
            self.assertTrue(self.same(want, lines[at]), f"{lines[at]} is not {want}")
            at += 1
            skipping = False
        if not skipping:
            self.assertEqual(lines[at:], [], "more was logged")

    @staticmethod
    def same(want, line):
        letter, text = want
        matches = text.search(line[1]) if isinstance(text, re.Pattern) else text == line[1]
        return letter == line[0] and bool(matches)

    def run_case(self, kind, case):
        logs = []
        with tempfile.TemporaryDirectory() as folder, Launcher(kind) as launcher:
            for name, content in (case.files or {}).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
                path.chmod(0o755 if content.startswith("#!") else 0o644)
            answer = launcher.init(
                case.code,
                folder if case.files else None,
                case.main,
                case.env,
                case.concurrent,
                logs,
            )
            self.assertTrue(all(log[1] == "a" * 32 for log in logs), logs)
            self.check(case.init, json.dumps(answer, ensure_ascii=False), "init")
            for value, letter, expected in case.runs:
                before = len(logs)
                got, text = launcher.run(value, logs)
                self.assertEqual(got, letter, text)
                self.check(expected, text, f"run of {value}")
                activation = f"{launcher.runs:032x}"
                self.assertTrue(all(log[1] == activation for log in logs[before:]), logs)
            if case.logs is not None:
                self.check_logs(case.logs, logs)
            self.assertEqual(launcher.finish(), 0)


def add(kind, cases):
    for case in cases:
        name = f"test {kind}: {case.name}"
        assert not hasattr(Tables, name), f"two cases are called {name}"
        setattr(Tables, name, lambda self, case=case: self.run_case(kind, case))


add("nodejs:20", NODE)
add("python:3.11", PYTHON)
add("ruby:2.5", RUBY)
add("php:8.1", PHP)
add(SKELETON, NATIVE)


# ---- what a table cannot say -------------------------------------------------


class Lives(unittest.TestCase):
    """The same promises of all launchers, in each language's words."""

    kinds = ("nodejs:20", "python:3.11", "ruby:2.5", "php:8.1", SKELETON)
    echo = {
        SKELETON: shell("cat"),
        "nodejs:20": "const main = p => p",
        "python:3.11": "def main(p): return p",
        "ruby:2.5": "def main(p) p end",
        "php:8.1": "<?php function main($p) { return $p; }",
    }

    def each(self):
        for kind in self.kinds:
            with self.subTest(kind):
                yield kind

    def read_all(self, fd):
        parts = []
        while data := os.read(fd, 65536):
            parts.append(data)
        return b"".join(parts)

    def test_the_end_of_input_ends_a_launcher_that_was_never_used(self):
        for kind in self.each():
            with Launcher(kind) as launcher:
                self.assertEqual(launcher.finish(), 0)

    def test_junk_ends_a_launcher_without_being_shown(self):
        for kind in self.each():
            for junk in (b"hunter2\n", b"\n", b"[]\n", b"5\n", b"null\n", b'{"hunter2":1}\n', b"\xff\xfe\n"):
                with self.subTest(junk), Launcher(kind) as launcher:
                    launcher.send_bytes(junk)
                    self.assertEqual(launcher.wait(), 70)
                    said = self.read_all(launcher.stderr)
                    self.assertRegex(said, b"^launcher: an order .*\n$")
                    self.assertNotIn(b"hunter2", said)
                    self.assertIsNone(launcher.frame())

    def test_a_second_initialisation_is_refused(self):
        for kind in self.each():
            with Launcher(kind) as launcher:
                self.assertEqual(launcher.init(self.echo[kind]), OK)
                self.assertEqual(
                    launcher.init(self.echo[kind]),
                    {"error": "Cannot initialize the action more than once."},
                )
                self.assertEqual(json.loads(launcher.run({"a": 1})[1]), {"a": 1})

    def test_a_run_before_initialisation_is_refused(self):
        for kind in self.each():
            with Launcher(kind) as launcher:
                self.assertEqual(launcher.run({}), ("F", '{"error":"System not initialized."}'))

    def test_fifty_megabytes_of_code_and_of_argument(self):
        comment = {SKELETON: "#", "nodejs:20": "//", "python:3.11": "#", "ruby:2.5": "#", "php:8.1": "//"}
        size = 50 << 20
        for kind in self.each():
            with Launcher(kind) as launcher:
                code = f"{self.echo[kind]}\n{comment[kind]}{'c' * size}"
                begun = time.monotonic()
                self.assertEqual(launcher.init(code), OK)
                letter, text = launcher.run({"a": "x" * size})
                # Some echo the blank too.
                self.assertIn((letter, len(text)), [("R", size + 8), ("R", size + 9)])
                self.assertLess(time.monotonic() - begun, PATIENCE)
                self.assertEqual(launcher.finish(), 0)

    def test_a_line_may_come_in_any_pieces(self):
        for kind in self.each():
            with Launcher(kind) as launcher:
                launcher.init(self.echo[kind])
                line = '{"value":{"t":"値😀"},"activation_id":"%s"}\n' % ("b" * 32)
                for byte in line.encode():
                    launcher.send_bytes(bytes([byte]))
                self.assertEqual(launcher.until_answer([]), ("R", "b" * 32, '{"t":"値😀"}'))

    def test_frames_are_complete_when_the_pipe_is_full_and_does_not_block(self):
        code = {
            SKELETON: perl("print 'y' x 300000, qq(\\n) for 1 .. 3; print '{\"a\":\"', 'x' x 300000, '\"}'"),
            "nodejs:20": "const main = () => { for (let i = 0; i < 3; i++) console.log('y'.repeat(300000)); return { a: 'x'.repeat(300000) } }",
            "python:3.11": "def main(a):\n for _ in range(3): print('y' * 300000)\n return {'a': 'x' * 300000}",
            "ruby:2.5": "def main(a)\n 3.times { puts 'y' * 300000 }\n { a: 'x' * 300000 }\nend",
            "php:8.1": "<?php function main($a) { for ($i = 0; $i < 3; $i++) echo str_repeat('y', 300000), \"\\n\"; return ['a' => str_repeat('x', 300000)]; }",
        }
        for kind in self.each():
            with Launcher(kind, nonblocking=True) as launcher:
                launcher.init(code[kind])
                logs = []
                letter, text = launcher.run({}, logs)
                self.assertEqual((letter, len(text)), ("R", 300008))
                self.assertEqual("".join(log[3] for log in logs), "y" * 900000)

    def test_what_was_printed_before_an_exit_is_not_lost(self):
        code = {
            "nodejs:20": "function main() { console.log('before'); process.stdout.write('half'); process.exit(3) }",
            "python:3.11": "import sys\ndef main(a):\n print('before')\n print('half', end='')\n sys.exit(3)",
            "ruby:2.5": "def main(a)\n puts 'before'\n print 'half'\n exit 3\nend",
            "php:8.1": "<?php function main($a) { echo \"before\\nhalf\"; exit(3); }",
        }
        for kind in filter(code.get, self.each()):
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                logs = []
                self.assertEqual(launcher.run({}, logs), (None, None))
                self.assertEqual([log[3] for log in logs], ["before", "half"])
                self.assertEqual(launcher.wait(), 3)

    def test_an_exit_while_loading(self):
        code = {
            "nodejs:20": "process.exit(3)",
            "python:3.11": "import sys\nsys.exit(3)",
            "ruby:2.5": "exit 3",
            "php:8.1": "<?php exit(3);",
        }
        for kind in filter(code.get, self.each()):
            with Launcher(kind) as launcher:
                with self.assertRaises(AssertionError):
                    launcher.init(code[kind])
                self.assertEqual(launcher.wait(), 3)

    def test_what_was_printed_before_an_endless_loop_is_there(self):
        code = {
            SKELETON: shell("echo before; sleep 60"),
            "nodejs:20": "function main() { console.log('before'); for (;;); }",
            "python:3.11": "def main(a):\n print('before')\n while True: pass",
            "ruby:2.5": "def main(a)\n puts 'before'\n loop {}\nend",
            "php:8.1": "<?php function main($a) { echo \"before\\n\"; for (;;); }",
        }
        for kind in self.each():
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                launcher.order({})
                self.assertRegex(launcher.frame(), "^O 0+1 [0-9]{16} before$")

    def test_what_was_printed_before_a_crash_is_there(self):
        code = {
            "nodejs:20": "function main() { console.log('before'); process.abort() }",
            "python:3.11": "import os\ndef main(a):\n print('before')\n os.abort()",
            "ruby:2.5": "def main(a)\n puts 'before'\n Process.kill(:KILL, $$)\n sleep\nend",
            "php:8.1": "<?php function main($a) { echo \"before\\n\"; posix_kill(getmypid(), 9); sleep(60); }",
        }
        for kind in filter(code.get, self.each()):
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                logs = []
                self.assertEqual(launcher.run({}, logs), (None, None))
                self.assertEqual([log[3] for log in logs], ["before"])

    def test_lines_carry_the_time_of_writing(self):
        code = {
            SKELETON: shell("date +%s%3N; sleep 0.03; date +%s%3N; echo '{}'"),
            "nodejs:20": "const main = () => new Promise(r => { console.log(Date.now()); setTimeout(() => { console.log(Date.now()); r({}) }, 30) })",
            "python:3.11": "import time\ndef main(a):\n print(time.time_ns() // 1000000)\n time.sleep(0.03)\n print(time.time_ns() // 1000000)\n return {}",
            "ruby:2.5": "def main(a)\n puts (Time.now.to_f * 1000).to_i\n sleep 0.03\n puts (Time.now.to_f * 1000).to_i\n {}\nend",
            "php:8.1": "<?php function main($a) { echo (int) (microtime(true) * 1000), \"\\n\"; usleep(30000); echo (int) (microtime(true) * 1000), \"\\n\"; return []; }",
        }
        for kind in self.each():
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                logs = []
                launcher.run({}, logs)
                for _, _, micros, text in logs:
                    # As far as a busy host lets a process go on writing.
                    self.assertLess(abs(micros - int(text) * 1000), 500_000, logs)
                self.assertGreater(logs[1][2] - logs[0][2], 10000)

    def test_children_write_to_the_real_streams(self):
        code = {
            "nodejs:20": "const main = () => { require('child_process').execSync('echo out; echo err >&2', { stdio: ['ignore', process.stdout, process.stderr] }); return {} }",
            "python:3.11": "import subprocess, sys\ndef main(a):\n subprocess.run('echo out; echo err >&2', shell=True, stdout=sys.stdout)\n return {}",
            "ruby:2.5": "def main(a)\n system('echo out; echo err >&2', out: $stdout)\n {}\nend",
            "php:8.1": "<?php function main($a) { proc_close(proc_open('echo out; echo err >&2', [], $pipes)); return []; }",
        }
        for kind in filter(code.get, self.each()):
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                self.assertEqual(launcher.run({})[0], "R")
                self.assertEqual(launcher.finish(), 0)
                self.assertEqual(self.read_all(launcher.stdout), b"out\n")
                self.assertEqual(self.read_all(launcher.stderr), b"err\n")

    def test_modules_of_the_platform_are_found(self):
        files = {
            "nodejs:20": ("node_dep.js", "module.exports = 8"),
            "python:3.11": ("py_dep.py", "x = 8"),
            "ruby:2.5": ("ruby_dep.rb", "X = 8"),
            "php:8.1": ("php_dep.php", "<?php const X = 8;"),
        }
        code = {
            "nodejs:20": "const main = () => ({ x: require('node_dep') })",
            "python:3.11": "import py_dep\ndef main(a): return {'x': py_dep.x}",
            "ruby:2.5": "require 'ruby_dep'\ndef main(a) { x: X } end",
            "php:8.1": "<?php require 'php_dep.php'; function main($a) { return ['x' => X]; }",
        }
        for kind in filter(code.get, self.each()):
            with tempfile.TemporaryDirectory() as folder:
                name, content = files[kind]
                Path(folder, name).write_text(content)
                variable = next(iter(KINDS[kind]["environment"]))
                with Launcher(kind, environment={variable: folder}) as launcher:
                    self.assertEqual(launcher.init(code[kind]), OK)
                    self.assertEqual(launcher.run({}), ("R", '{"x":8}'))

    def test_a_line_printed_after_the_answer_belongs_to_the_run_that_printed_it(self):
        code = {
            "nodejs:20": "const main = p => { setTimeout(() => process.stdout.write('late'), 1); return {} }",
            "python:3.11": "import threading\ndef main(a):\n threading.Timer(0.001, print, ['late']).start()\n return {}",
            "ruby:2.5": "def main(a)\n Thread.new { sleep 0.001; puts 'late' }\n {}\nend",
        }
        # PHP does nothing between two runs, and of a program nothing is left.
        for kind in filter(code.get, self.each()):
            with Launcher(kind) as launcher:
                launcher.init(code[kind])
                self.assertEqual(launcher.run({}), ("R", "{}"))
                self.assertRegex(launcher.frame(), "^O 0+1 [0-9]{16} late$")


    def test_overlapping_runs_keep_their_answers_and_their_lines(self):
        cases = {
            "nodejs:20": """async function main(p) {
              console.log('start', p.i);
              process.stdout.write('tail ');
              await new Promise(done => setTimeout(done, 40 - 2 * p.i));
              console.error('end', p.i);
              process.stdout.write(String(p.i));
              if (p.i === 3) return { error: 'third' };
              return { i: p.i };
            }""",
            "python:3.11": """
import asyncio, sys
async def main(p):
    print('start', p['i'])
    print('tail ', end='')
    await asyncio.sleep((40 - 2 * p['i']) / 1000)
    print('end', p['i'], file=sys.stderr)
    print(p['i'], end='')
    if p['i'] == 3:
        raise ValueError('third')
    return {'i': p['i']}""",
            SKELETON: shell("""i=${1##*: }; i=${i%\\}}
                echo start $i
                sleep 0.$((500 - 20 * i))
                echo end $i >&2
                echo tail $i
                [ $i = 3 ] && exec echo '{"error":"third"}'
                echo '{"i":'$i'}'"""),
            "python:3.11 in threads": """
import sys, threading, time
def main(p):
    print('start', p['i'])
    print('tail ', end='')
    time.sleep((40 - 2 * p['i']) / 1000)
    helper = threading.Thread(target=print, args=('end', p['i']), kwargs={'file': sys.stderr})
    helper.start()
    helper.join()
    print(p['i'], end='')
    if p['i'] == 3:
        raise ValueError('third')
    return {'i': p['i']}""",
            "ruby:2.5": """def main(p)
              puts "start #{p['i']}"
              print 'tail '
              sleep (40 - 2 * p['i']) / 1000.0
              Thread.new { warn "end #{p['i']}" }.join
              print p['i']
              return { error: 'third' } if p['i'] == 3
              { i: p['i'] }
            end""",
        }
        for name, code in cases.items():
            with self.subTest(name), Launcher(name.split(" ")[0]) as launcher:
                self.assertEqual(launcher.init(code, concurrent=True), OK)
                ids = [launcher.order({"i": i}) for i in range(16)]
                logs = []
                answers = {}
                order = []
                for _ in ids:
                    letter, activation, text = launcher.until_answer(logs)
                    order.append(activation)
                    answers[activation] = letter, json.loads(text)
                self.assertNotEqual(order, ids, "the runs did not overlap")
                for i, activation in enumerate(ids):
                    lines = [(letter, text) for letter, owner, _, text in logs if owner == activation]
                    if i == 3:
                        self.assertEqual(answers[activation], ("R", {"error": "third"}))
                        # A traceback may come in between.
                        lines = [line for line in lines if line[1].split(" ")[0] in ("start", "end", "tail")]
                    else:
                        self.assertEqual(answers[activation], ("R", {"i": i}))
                    if name == SKELETON:
                        # Its streams are two pipes, and each has an order of its own.
                        lines.sort(key=lambda line: (line[1].startswith("tail"), line[0] == "E"))
                    self.assertEqual(lines, [("O", f"start {i}"), ("E", f"end {i}"), ("O", f"tail {i}")])
                self.assertEqual(launcher.init(code), {"error": "Cannot initialize the action more than once."})
                self.assertEqual(launcher.finish(), 0)

    def test_an_exit_in_one_of_overlapping_runs_ends_all(self):
        cases = {
            "nodejs:20": "const main = p => p.exit ? process.exit(3) : new Promise(() => {})",
            "python:3.11": "import asyncio, sys\nasync def main(p):\n if 'exit' in p: sys.exit(3)\n await asyncio.sleep(3600)",
            "python:3.11 in threads": "import sys, time\ndef main(p):\n if 'exit' in p: sys.exit(3)\n time.sleep(1)",
            "ruby:2.5": "def main(p)\n exit 3 if p['exit']\n sleep\nend",
        }
        for name, code in cases.items():
            with self.subTest(name), Launcher(name.split(" ")[0]) as launcher:
                self.assertEqual(launcher.init(code, concurrent=True), OK)
                launcher.order({})
                launcher.order({"exit": 1})
                self.assertEqual(launcher.until_answer([])[0], None)
                self.assertEqual(launcher.wait(), 3)


class Node(unittest.TestCase):
    """What only Node.js does."""

    kind = "nodejs:20"

    def test_an_exception_outside_of_a_run_ends_the_process_and_is_shown(self):
        for code in (
            "const main = () => { setTimeout(() => { throw new Error('stray') }, 1); return new Promise(() => {}) }",
            "const main = () => { Promise.reject(new Error('stray')); return new Promise(() => {}) }",
        ):
            with Launcher(self.kind) as launcher:
                launcher.init(code)
                self.assertEqual(launcher.run({}), (None, None))
                self.assertEqual(launcher.wait(), 1)
                self.assertIn(b"Error: stray", os.read(launcher.stderr, 65536))

    def test_timers_of_user_code_run_between_activations(self):
        code = "let n = 0; const main = p => { if (p.start) setTimeout(() => { n++; console.log('tick') }, 1); return { n } }"
        with Launcher(self.kind) as launcher:
            launcher.init(code)
            self.assertEqual(launcher.run({"start": 1}), ("R", '{"n":0}'))
            self.assertRegex(launcher.frame(), "tick$")
            self.assertEqual(launcher.run({}), ("R", '{"n":1}'))

    def test_replaced_built_ins_do_not_break_the_protocol(self):
        code = """const main = () => ({ fine: 1 });
        require('fs').writeSync = JSON.parse = JSON.stringify = Date.now = () => { throw new Error('broken') };"""
        with Launcher(self.kind) as launcher:
            self.assertEqual(launcher.init(code), OK)
            self.assertEqual(launcher.run({}), ("R", '{"fine":1}'))


class Python(unittest.TestCase):
    """What only Python does."""

    kind = "python:3.11"

    def test_a_fork_neither_answers_nor_takes_orders(self):
        code = """import os
def main(a):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return {'parent': True}
    print('from the child', flush=True)
    return {'child': True}"""
        with Launcher(self.kind) as launcher:
            launcher.init(code)
            for _ in range(2):
                logs = []
                self.assertEqual(launcher.run({}, logs), ("R", '{"parent":true}'))
                self.assertEqual(logs, [])
                self.assertEqual(os.read(launcher.stdout, 100), b"from the child\n")

    def test_processes_of_multiprocessing_work(self):
        code = """import multiprocessing
def square(x): return x * x
def main(a):
    with multiprocessing.get_context('fork').Pool(2) as pool:
        return {'s': pool.map(square, [1, 2, 3])}"""
        with Launcher(self.kind) as launcher:
            launcher.init(code)
            for _ in range(2):
                self.assertEqual(launcher.run({}), ("R", '{"s":[1,4,9]}'))

    def test_threads_print_whole_lines(self):
        code = """import threading
def main(a):
    def work(n):
        for i in range(50): print(f'{n}:' + 'x' * 5000)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    return {}"""
        with Launcher(self.kind) as launcher:
            launcher.init(code)
            logs = []
            self.assertEqual(launcher.run({}, logs), ("R", "{}"))
            self.assertEqual(sum(len(log[3].replace("\n", "")) for log in logs), 8 * 50 * 5002)

    def test_an_argument_beyond_python_is_refused_and_the_launcher_lives(self):
        with Launcher(self.kind) as launcher:
            launcher.init("def main(a): return a")
            for value in ("1" + "0" * 5000, "[" * 100000 + "]" * 100000):
                launcher.send_bytes(b'{"value":{"v":%s},"activation_id":"%s"}\n' % (value.encode(), b"c" * 32))
                letter, activation, text = launcher.until_answer([])
                self.assertEqual((letter, activation), ("F", "c" * 32))
                self.assertEqual(json.loads(text), {"error": "Internal system error: the argument cannot be read."})
            self.assertEqual(launcher.run({"a": 1}), ("R", '{"a":1}'))

    def test_a_thread_that_goes_on_does_not_keep_the_process(self):
        code = "import threading, time\nthreading.Thread(target=time.sleep, args=[3600]).start()\ndef main(a): return a"
        with Launcher(self.kind) as launcher:
            launcher.init(code)
            self.assertEqual(launcher.finish(), 0)


class Manifest(unittest.TestCase):
    """The manifest is data that others read."""

    def test_one_default_in_each_family(self):
        families = json.loads((HERE / "manifest.json").read_text())["runtimes"]
        for family, kinds in families.items():
            self.assertEqual(sum(kind["default"] for kind in kinds), 1, family)
            for kind in kinds:
                self.assertTrue(kind["kind"].startswith(f"{family}:"))
                self.assertEqual(kind["attached"], {"attachmentName": "codefile", "attachmentType": "text/plain"})

    def test_a_launcher_is_a_file_with_a_command_or_null(self):
        for name, kind in KINDS.items():
            if kind["launcher"] is None:
                self.assertNotIn("command", kind, name)
                self.assertNotIn("stemCells", kind, f"nothing can be kept warm for {name}")
            else:
                self.assertTrue((HERE / kind["launcher"]).is_file(), name)
                self.assertTrue(kind["command"]["candidates"], name)


class Examples(unittest.TestCase):
    """What `examples/` shows works."""

    folder = HERE.parent / "examples"

    def test_hello(self):
        for kind, name in (("nodejs:20", "hello.js"), ("python:3.11", "hello.py")):
            with self.subTest(name), Launcher(kind) as launcher:
                self.assertEqual(launcher.init((self.folder / name).read_text()), OK)
                logs = []
                self.assertEqual(launcher.run({"name": "Ann"}, logs), ("R", '{"greeting":"Hello, Ann!"}'))
                self.assertEqual(logs[0][3], "greeting Ann")
                self.assertEqual(launcher.run({}), ("R", '{"greeting":"Hello, world!"}'))

    def test_the_greeter_package(self):
        with Launcher("nodejs:20") as launcher:
            self.assertEqual(launcher.init(None, str(self.folder / "greeter")), OK)
            self.assertEqual(launcher.run({"language": "de"}), ("R", '{"greeting":"Guten Tag, world!"}'))
            self.assertIn("no greeting in 'xx'", launcher.run({"language": "xx"})[1])


# ---- the micro benchmark -----------------------------------------------------

ECHO_CHILD = {
    "nodejs:20": "const fs = require('fs'); new (require('net').Socket)({ fd: 0, readable: true, writable: false }).on('data', data => fs.writeSync(3, data))",
    "python:3.11": "import os, sys\nlines = sys.stdin.buffer\nwhile line := lines.readline(): os.write(3, line)",
    "ruby:2.5": "out = IO.for_fd(3); while line = STDIN.gets; out.syswrite(line); end",
    "php:8.1": "$out = fopen('php://fd/3', 'wb'); while (($line = fgets(STDIN)) !== false) fwrite($out, $line);",
    # Of a program for each run, the floor is to start it.
    SKELETON: "open my $out, '>&=', 3; while (<STDIN>) { my $said = `/bin/echo '{}'`; syswrite $out, $said }",
}
ECHO_FLAG = {"nodejs:20": "-e", "python:3.11": "-c", "ruby:2.5": "-e", "php:8.1": "-r", SKELETON: "-e"}
HELLO = {
    "nodejs:20": "function main(p) { return { hello: p.name } }",
    "python:3.11": "def main(p): return {'hello': p['name']}",
    "ruby:2.5": "def main(p) { hello: p['name'] } end",
    "php:8.1": "<?php function main($p) { return ['hello' => $p['name']]; }",
    SKELETON: shell("echo '{}'"),
}


def round_trips(child, count):
    """Microseconds from writing an order to having its answer: p50, p99."""
    times = []
    for i in range(count):
        line = (
            b'{"value":{"name":"Ann"},"namespace":"guest","action_name":"/guest/hello",'
            b'"action_version":"0.0.1","activation_id":"%032x","transaction_id":"%032d",'
            b'"deadline":"%d"}\n' % (i, i, 1700000000000 + i)
        )
        begun = time.perf_counter_ns()
        os.write(child.orders, line)
        os.read(child.frames, 65536)
        times.append((time.perf_counter_ns() - begun) / 1000)
    times = sorted(times[count // 4 :])
    return statistics.median(times), times[len(times) * 99 // 100]


def first_answer(make, count=15):
    """Milliseconds from starting a child to its first line."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        with make() as child:
            child.send({"init": {"activation": "a" * 32, "name": "x", "main": "main", "code": HELLO[child.kind]}})
            child.frame()
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def bench():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("one core, this process and the child; bare = a child that only echoes lines")
    for kind in Lives.kinds:

        def bare():
            child = Child([*interpreter(kind), ECHO_FLAG[kind], ECHO_CHILD[kind]])
            child.kind = kind
            return child

        def launcher():
            child = Launcher(kind)
            child.kind = kind
            return child

        count = 500 if kind == SKELETON else 20000
        floors, subjects, concurrent = [], [], []
        for _ in range(3):
            with bare() as child:
                floors.append(round_trips(child, count))
            with launcher() as child:
                child.init(HELLO[kind])
                subjects.append(round_trips(child, count))
            if KINDS[kind]["concurrent"]:
                with launcher() as child:
                    child.init(HELLO[kind], concurrent=True)
                    concurrent.append(round_trips(child, count))
        floor, subject = sorted(floors)[1], sorted(subjects)[1]
        print(f"{kind.split('/')[-1]:14} bare {floor[0]:5.1f} us (p99 {floor[1]:.1f})  launcher {subject[0]:5.1f} us (p99 {subject[1]:.1f})  {subject[0] / floor[0]:.2f} x", end="")
        print(f"  concurrent {sorted(concurrent)[1][0]:.1f} us" if concurrent else "")
        start, started = first_answer(bare), first_answer(launcher)
        print(f"{'':14} start to first answer: bare {start:.1f} ms  launcher {started:.1f} ms  {started / start:.2f} x")


if __name__ == "__main__":
    if sys.argv[1:] == ["--bench"]:
        bench()
    else:
        unittest.main()
