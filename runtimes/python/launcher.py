"""Loads one Python action and runs it as often as it is told to.

The server speaks to it in lines, as ``runtimes/README.md`` says: orders come on
standard input, frames go out on file descriptor 3. One order is one line, one
answer is one write, and whatever user code prints is framed and written at that
moment, so that nothing is lost when the process dies in the next.

A warm run passes through ``serve`` and ``run``, and those are written to be
cheap. Modules that only some actions need are imported when they are needed,
because a fresh container waits for every import up here.

It refuses to guess: an order that it cannot read ends the process, or the run
when the order says which one it is. It sets no limits of its own on time, memory
or sizes, since the sandbox around it does, and it is no wall: user code runs
beside it and could reach it.

Runs overlap only in a container that was initialised as concurrent: on one event
loop if the action's function is asynchronous, else in a thread each.
"""

import io
import json
import os
import sys
import time
from _thread import RLock
from types import ModuleType

FRAMES_FD = 3
"""Where frames go."""

LINE_BYTES = 16384
"""Longest log line; OpenWhisk's log driver splits longer ones as well."""

BROKEN = 70
"""Exit status after an order that cannot be obeyed: EX_SOFTWARE."""

NOT_BUILT = "The action failed to generate or locate a binary. See logs for details."
NOT_STARTED = "Cannot start action. Check logs for details."
NOT_A_RESULT = "The action did not return a dictionary or array."
NOT_JSON = "The action did not produce a valid JSON or JSON Array response: "

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
encode_strictly = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode
parse = json.JSONDecoder().decode


class Refusal(Exception):
    """Initialisation failed, for the reason given; details are in the log."""


class Owner:
    """One run, or the initialisation: owns the log lines written under it."""

    __slots__ = ("activation", "tails", "done")

    def __init__(self, activation):
        self.activation = activation
        # What comes after the last newline, by stream.
        self.tails = {}
        self.done = False


class Frames:
    """The way out. One lock, since threads of user code print as they like."""

    def __init__(self, fd):
        self.fd = fd
        self.lock = RLock()
        # Whose is what is printed now; among overlapping runs, the fallback.
        self.owner = Owner(b"0" * 32)
        # Follows overlapping runs through their calls; a context variable.
        self.story = None
        self.logs = ()

    def current(self):
        if self.story is None:
            return self.owner
        return self.story.get(None) or self.owner

    def send(self, data):
        """Writes frames, all of them, before it returns."""
        with self.lock:
            try:
                written = os.write(self.fd, data)
            except BlockingIOError:
                written = self.wait()
            except OSError as error:
                broken(f"cannot write frames: {error.strerror}")
            if written < len(data):
                self.send(data[written:])

    def wait(self):
        """Waits until a full pipe, in non-blocking mode, has room again."""
        import select

        select.select((), (self.fd,), ())
        return 0

    def end(self, frame, owner):
        """Sends a last frame, after the lines that were left unfinished."""
        try:
            data = frame.encode()
        except UnicodeEncodeError:
            # Half of a surrogate pair is no character: strict parsers refuse it.
            data = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in frame).encode()
        with self.lock:
            if owner.tails:
                for log in self.logs:
                    log.finish(owner)
            owner.done = True
            self.send(data)


class Log(io.RawIOBase):
    """Stands where ``sys.stdout.buffer`` or ``sys.stderr.buffer`` was.

    ``fileno`` is still the real one's, so that children which are given this
    stream write there.
    """

    def __init__(self, frames, letter, fd):
        self.frames = frames
        self.letter = letter
        self.fd = fd
        self.framed = True

    def write(self, data):
        data = bytes(data)
        if not self.framed:
            return os.write(self.fd, data)
        with self.frames.lock:
            owner = self.frames.current()
            lines = data.split(b"\n")
            if owner.tails:
                lines[0] = owner.tails.pop(self.letter, b"") + lines[0]
            tail = lines.pop()
            if len(tail) > LINE_BYTES:
                *full, tail = pieces(tail)
                lines += full
            if tail:
                if owner.done:
                    lines.append(tail)
                else:
                    owner.tails[self.letter] = tail
            if lines:
                self.emit(owner, lines)
        return len(data)

    def finish(self, owner):
        """Sends the line that has no end."""
        if line := owner.tails.pop(self.letter, b""):
            self.emit(owner, [line])

    def emit(self, owner, lines):
        head = b"%s %s %d " % (self.letter, owner.activation, time.time_ns() // 1000)
        out = bytearray()
        for line in lines:
            for piece in pieces(line) if len(line) > LINE_BYTES else (line,):
                out += head
                out += piece
                out += b"\n"
        self.frames.send(out)

    def writable(self):
        return True

    def fileno(self):
        return self.fd

    def close(self):
        """Stays open: nobody can close it for the next run."""


def pieces(line):
    """Cuts a line into pieces of LINE_BYTES, never inside a character."""
    parts = []
    start = 0
    while start < len(line):
        end = min(start + LINE_BYTES, len(line))
        while start < end < len(line) and line[end] & 0xC0 == 0x80:
            end -= 1
        if end == start:
            end = start + LINE_BYTES  # not UTF-8 at all
        parts.append(line[start:end])
        start = end
    return parts


def replace_streams(frames):
    """Frames what is printed from here on."""
    names = (("stdout", b"O", 1), ("stderr", b"E", 2))
    frames.logs = tuple(Log(frames, letter, fd) for _, letter, fd in names)
    for (name, _, _), log in zip(names, frames.logs):
        stream = io.TextIOWrapper(
            log, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def take_input():
    """Moves the orders away from descriptor 0, which gets an empty input.

    User code that reads standard input, or a child that inherits it, must not
    eat them. Neither orders nor frames are passed on to programs.
    """
    orders = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.set_inheritable(FRAMES_FD, False)
    return orders


def leave_forks_out(frames, orders):
    """Cuts a forked child off: it must neither answer nor take an order.

    What it prints goes to the real streams. If it comes back from the user's
    function, it finds the end of its input and leaves.
    """

    def in_child():
        empty = os.open(os.devnull, os.O_RDWR)
        os.dup2(empty, orders.fileno(), inheritable=False)
        os.dup2(empty, frames.fd, inheritable=False)
        os.close(empty)
        frames.lock = RLock()
        for log in frames.logs:
            log.framed = False

    os.register_at_fork(after_in_child=in_child)


# ---- initialisation ---------------------------------------------------------


def load(init):
    """The action's function. Says on standard error what is wrong with it."""
    name, code, folder = init.get("main"), init.get("code"), init.get("folder")
    if not name or not (code or folder):
        raise Refusal("Missing main/no code to execute.")
    for key, value in (init.get("env") or {}).items():
        try:
            os.environ[key] = as_text(value)
        except (OSError, ValueError):
            print(f"'{key}' cannot be the name of an environment variable", file=sys.stderr)
    module = ModuleType("main__")
    if folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        path, code = find_source(folder)
        activate_virtualenv(folder)
    else:
        path = os.path.join(os.getcwd(), "main__.py")
    module.__file__ = path
    sys.modules["main__"] = module
    try:
        program = compile(code, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        show(error, path, code, skip=None)
        raise Refusal(NOT_BUILT) from None
    try:
        exec(program, module.__dict__)
        return getattr(module, name)
    except AttributeError as error:
        if error.obj is module and error.name == name:
            print(f"cannot import name '{name}' from 'main__' ({path})", file=sys.stderr)
        else:
            show(error, path, code)
    except Exception as error:
        show(error, path, code)
    raise Refusal(NOT_STARTED)


def find_source(folder):
    """``exec`` is where the server puts what is no archive."""
    for name in ("exec", "__main__.py", "main__.py"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, "rb") as file:
                return path, file.read()
    print("Zip file does not include main__", file=sys.stderr)
    raise Refusal(NOT_BUILT)


def activate_virtualenv(folder):
    root = os.path.join(folder, "virtualenv")
    if not os.path.isdir(root):
        return
    for binaries in ("bin", "Scripts"):
        path = os.path.join(root, binaries, "activate_this.py")
        if os.path.exists(path):
            break
    else:
        print(
            "Invalid virtualenv. Zip file does not include 'activate_this.py'.", file=sys.stderr
        )
        raise Refusal(NOT_BUILT)
    with open(path, "rb") as file:
        source = file.read()
    try:
        exec(compile(source, path, "exec", dont_inherit=True), {"__file__": path})
    except Exception as error:
        show(error, path, source)
        raise Refusal(NOT_STARTED) from None


def show(error, path=None, source=None, skip=1):
    """Prints a traceback that begins in user code, with its lines."""
    import traceback

    if isinstance(source, str):
        import linecache

        lines = source.splitlines(keepends=True)
        linecache.cache[path] = (len(source), None, lines, path)
    trace = error.__traceback__
    if skip is None:
        trace = None
    else:
        for _ in range(skip):
            trace = trace and trace.tb_next
    # One write, so that lines of another thread do not come between.
    sys.stderr.write("".join(traceback.format_exception(type(error), error, trace)))


def as_text(value):
    if isinstance(value, str):
        return value
    return "" if value is None else encode(value)


# ---- runs -------------------------------------------------------------------


class Runner:
    """Calls the action's function."""

    def __init__(self, frames, main, source):
        self.frames = frames
        self.main = main
        self.source = source
        self.loop = None
        self.exported = {}
        self.environment = Environment()

    def run(self, order, activation):
        """Runs once; the frame that answers."""
        value = order.get("value")
        try:
            result = self.main({} if value is None else value)
            if hasattr(result, "__await__"):
                result = self.wait_for(result)
            return answer(activation, result)
        except Exception as error:
            return self.excepted(activation, error)

    def excepted(self, activation, error):
        """The frame for an exception, which is shown."""
        show(error, *self.source)
        return f"R {activation} {encode({'error': words(error)})}\n"

    def wait_for(self, result):
        """One event loop for all runs: clients that were opened stay usable."""
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(result)

    def export(self, order):
        """Sets ``__OW_*``. Setting is a system-wide affair; most never change."""
        exported = self.exported
        for key, value in order.items():
            if key != "value" and exported.get(key) != value:
                exported[key] = value
                self.environment.set(b"__OW_" + key.upper().encode(), as_text(value).encode())


class Environment:
    """Variables that are set again and again.

    The C library keeps whatever was set until the process ends, which is 200 bytes
    a run. So a process that has run for a while has places of its own for them, and
    writes over what is there. What it takes is not loaded by one that has not.
    """

    AT_FIRST = 1000
    """Values that are set the usual way."""

    def __init__(self):
        self.count = 0
        self.usual = True
        self.places = {}
        """By name and length of the value."""

    def set(self, name, value):
        if self.usual:
            os.environb[name] = value
            self.count += 1
            self.usual = self.count != self.AT_FIRST or not self.load()
            return
        place = self.places.get((name, len(value)))
        if place is None:
            place = self.ctypes.create_string_buffer(name + b"=" + value)
            self.places[name, len(value)] = place
        else:
            self.ctypes.memmove(self.ctypes.byref(place, len(name) + 1), value, len(value))
        self.putenv(place)
        os.environb._data[name] = value

    def load(self):
        """Whether this Python can do it."""
        try:
            import ctypes

            self.putenv = ctypes.CDLL(None).putenv
        except (ImportError, OSError, AttributeError):
            return False
        self.ctypes = ctypes
        return hasattr(os.environb, "_data")


class Overlap:
    """Runs that are under way at once."""

    MOST_THREADS = 500
    """Runs of a function that is not asynchronous; further ones wait for one of
    these to end."""

    def __init__(self, frames, orders, runner):
        import asyncio
        import concurrent.futures
        import contextvars

        self.frames = frames
        self.orders = orders
        self.runner = runner
        self.copy_context = contextvars.copy_context
        frames.story = contextvars.ContextVar("owner")
        self.awaits = asyncio.iscoroutinefunction(runner.main)
        self.threads = concurrent.futures.ThreadPoolExecutor(self.MOST_THREADS)
        self.follow_threads()
        self.rest = []
        self.tasks = set()
        self.process = os.getpid()
        self.loop = runner.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def serve(self):
        """Takes orders until there are no more."""
        self.loop.add_reader(self.orders.fileno(), self.read)
        try:
            self.loop.run_forever()
        except SystemExit as error:
            # Threads of other runs would be waited for.
            self.frames.end("", self.frames.current())
            os._exit(error.code if isinstance(error.code, int) else int(error.code is not None))

    def read(self):
        data = self.orders.read1(65536)
        if not data:
            self.loop.stop()
        *lines, last = data.split(b"\n")
        for line in lines:
            self.rest.append(line)
            line = b"".join(self.rest)
            self.rest.clear()
            self.begin(line)
        if last:
            self.rest.append(last)

    def begin(self, line):
        order = read_order(self.frames, line)
        if order is None:
            return
        activation = order.get("activation_id")
        if activation is None:
            refuse_init(self.frames, order)
            return
        owner = self.frames.owner = Owner(activation.encode())
        self.runner.export(order)
        context = self.copy_context()
        context.run(self.frames.story.set, owner)
        # The loop itself keeps no task alive.
        task = context.run(self.loop.create_task, self.run(order, owner, context))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, order, owner, context):
        activation = order["activation_id"]
        value = order.get("value")
        value = {} if value is None else value
        try:
            if self.awaits:
                result = await self.runner.main(value)
            else:
                call = (context.copy().run, self.runner.main, value)
                result = await self.loop.run_in_executor(self.threads, *call)
                if hasattr(result, "__await__"):
                    result = await result
            frame = answer(activation, result)
        except Exception as error:
            frame = self.runner.excepted(activation, error)
        if os.getpid() != self.process:
            # A fork came back from the user's function.
            os._exit(0)
        self.frames.end(frame, owner)

    def follow_threads(self):
        """Threads that user code starts print for the run that started them."""
        import threading

        copy_context, start = self.copy_context, threading.Thread.start

        def follow(thread):
            context, run = copy_context(), thread.run
            thread.run = lambda: context.run(run)
            start(thread)

        threading.Thread.start = follow


def answer(activation, result):
    """The frame for a result."""
    kind = type(result)
    if kind is not dict and kind is not list and not isinstance(result, (dict, list, tuple)):
        return failed(activation, NOT_A_RESULT)
    try:
        return f"R {activation} {encode_strictly(result)}\n"
    except ValueError:
        # A circle fails again. NaN and infinity are written by Python alone; no
        # parser of JSON takes them.
        return failed(activation, NOT_JSON + encode(result))


def words(error):
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def failed(activation, message):
    return f"F {activation} {encode({'error': message})}\n"


# ---- orders -----------------------------------------------------------------


def serve(frames, orders):
    """Takes orders until there are no more."""
    runner = None
    begun = False
    while line := orders.readline():
        order = read_order(frames, line)
        if order is None:
            continue
        activation = order.get("activation_id")
        if activation is not None:
            owner = frames.owner = Owner(activation.encode())
            if runner is None:
                frame = failed(activation, "System not initialized.")
            else:
                runner.export(order)
                frame = runner.run(order, activation)
            frames.end(frame, owner)
        elif begun:
            refuse_init(frames, order)
        elif "init" in order:
            begun = True
            init = order["init"]
            frames.owner = Owner(init["activation"].encode())
            runner, said = initialise(frames, init)
            overlap = runner and init.get("concurrent") and Overlap(frames, orders, runner)
            frames.end(f"I {encode(said)}\n", frames.owner)
            if overlap:
                return overlap.serve()
        else:
            neither()


def read_order(frames, line):
    """One order; None if it is a run that had to be answered already."""
    try:
        order = parse(line.decode())
        if type(order) is not dict:
            raise ValueError
    except (ValueError, RecursionError) as error:
        return unreadable(frames, line, error)
    return order


def refuse_init(frames, order):
    """What comes instead of a run once there was an initialisation."""
    if "init" not in order:
        neither()
    said = {"error": "Cannot initialize the action more than once."}
    with frames.lock:
        frames.send(f"I {encode(said)}\n".encode())


def neither():
    broken("an order is neither an initialisation nor a run")


def initialise(frames, init):
    try:
        main = load(init)
    except Refusal as refusal:
        return None, {"error": str(refusal)}
    source = sys.modules["main__"].__file__, init.get("code")
    return Runner(frames, main, source), {"ok": True}


def unreadable(frames, line, error):
    """Answers a run whose argument is JSON, but more than Python takes.

    Numbers of thousands of digits and lists in a thousand lists are such. The
    server writes the value before the activation's id, hence the last match.
    """
    import re

    ids = re.findall(rb'"activation_id"\s*:\s*"([0-9a-f]{32})"', line)
    if not ids:
        # Never show the line: it may hold the user's secrets.
        broken(f"an order of {len(line)} bytes cannot be read ({type(error).__name__})")
    owner = frames.owner = Owner(ids[-1])
    print(f"The argument cannot be read: {type(error).__name__}", file=sys.stderr)
    message = "Internal system error: the argument cannot be read."
    frames.end(failed(ids[-1].decode(), message), owner)


def broken(why):
    """Says why on the real standard error, and ends."""
    os.write(2, f"launcher: {why}\n".encode())
    os._exit(BROKEN)


def main():
    # The launcher's own folder, where user code has no business, and its source.
    del sys.path[0], sys.argv[1:]
    frames = Frames(FRAMES_FD)
    orders = os.fdopen(take_input(), "rb", buffering=65536)
    replace_streams(frames)
    leave_forks_out(frames, orders)
    try:
        serve(frames, orders)
    finally:
        # Also on the way out of sys.exit() in user code.
        frames.end("", frames.current())
    # Threads of user code would keep the process alive.
    os._exit(0)


if __name__ == "__main__":
    main()
