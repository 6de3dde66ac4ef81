# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes for tests: start, talk to, kill, and always clean up.

A test says what it waits for and how long at most. Nodes stand on 127.0.0.1
(or in a network namespace of the test), each with a data directory of its
own that is removed at the end. Only processes that were started here are
ever signalled, by their id.

HN_BIN names the program (default: build/hnode of this tree); HN_TEST_SLOW
stretches deadlines where the program is slow, as under a sanitizer.
"""

import collections
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("HN_BIN") or
                      os.path.join(TOP, "build", "hnode"))
SLOW = float(os.environ.get("HN_TEST_SLOW") or 1)

# Block 125552, which every client of Bitcoin knows: its nonce solves it.
HEADER = ("01000000"
          "81cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000"
          "e320b6c2fffc8d750423db8b1eb942ae710e951ed797f7affc8892b0f1fc122b"
          "c7f5d74df2b9441a42a14695")
NONCE = 2504433986
HASH = "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d"
CAP = "hash/sha256d"

Result = collections.namedtuple("Result", "code out err seconds")


def digest(nonce, header=HEADER):
    """The hash of the header with this nonce, as explorers show it."""
    raw = bytes.fromhex(header)[:76] + struct.pack("<I", nonce)
    return hashlib.sha256(hashlib.sha256(raw).digest()).digest()[::-1].hex()


assert digest(NONCE) == HASH


def clean_env(**more):
    """Our environment without what would configure a node."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("HNODE_")}
    env.update({k: str(v) for k, v in more.items()})
    return env


class Failure(AssertionError):
    """Something did not happen in time."""


# What the sanitizers say of a program, wherever it says it.
FAULT = re.compile(r"ERROR: (Address|Leak)Sanitizer|runtime error: |"
                   r"WARNING: ThreadSanitizer|Assertion .* failed")


class Process:
    """A child whose output is read as it comes."""

    def __init__(self, argv, env=None, stdin=subprocess.DEVNULL, cwd=None):
        self.argv = argv
        self.lines = []  # of both outputs, in the order of arrival
        self._news = threading.Condition()
        self._open = 2
        self.p = subprocess.Popen(
            argv, stdin=stdin, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=env or clean_env(), cwd=cwd,
            start_new_session=True)
        self.pid = self.p.pid
        self.out, self.err = [], []
        self._threads = [
            threading.Thread(target=self._read, args=a, daemon=True)
            for a in ((self.p.stdout, self.out), (self.p.stderr, self.err))]
        for t in self._threads:
            t.start()

    def _read(self, pipe, into):
        for raw in iter(pipe.readline, b""):
            line = raw.decode("utf-8", "replace").rstrip("\n")
            with self._news:
                into.append(line)
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._open -= 1
            self._news.notify_all()

    def wait_line(self, pattern, timeout=10, start=0):
        """The first line from number start on that the pattern is found in;
        returns its match."""
        want = re.compile(pattern)
        deadline = time.monotonic() + timeout * SLOW
        at = start
        with self._news:
            while True:
                for at in range(at, len(self.lines)):
                    m = want.search(self.lines[at])
                    if m:
                        return m
                at = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or not self._open:
                    raise Failure(f"no line with {pattern!r} "
                                  f"{'in time' if left <= 0 else 'until its end'}"
                                  f":\n{self.tail()}")
                self._news.wait(left)

    def wait_news(self, seconds):
        """Until the next line, or at most so long."""
        with self._news:
            if self._open:
                self._news.wait(seconds)

    def tail(self, n=40):
        return f"$ {' '.join(self.argv)}\n" + "\n".join(self.lines[-n:])

    def running(self):
        return self.p.poll() is None

    def wait(self, timeout=10):
        """The exit code; every line has been read then."""
        try:
            code = self.p.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {timeout * SLOW:.0f} s:\n"
                          + self.tail()) from None
        for t in self._threads:
            t.join(5)
        return code

    def signal(self, number):
        self.p.send_signal(number)

    def kill(self):
        """At once, without a word."""
        if self.running():
            self.p.kill()
        self.p.wait()

    def close(self):
        self.kill()
        for t in self._threads:
            t.join(5)
        self.p.stdout.close()
        self.p.stderr.close()
        if self.p.stdin:
            try:
                self.p.stdin.close()
            except OSError:
                pass


class Node(Process):
    """A running hnode."""

    def __init__(self, test, flags, dir=None, prefix=(), env=None,
                 bind="127.0.0.1", port=0, program=BIN):
        self.test = test
        self.dir = dir or test.new_dir()
        self.prefix = list(prefix)
        argv = self.prefix + [program, "--data-dir", self.dir]
        if bind:
            argv += ["--bind", bind]
        if port is not None:
            argv += ["--port", str(port)]
        super().__init__(argv + list(flags), env=env)
        self.id = self.name = self.port = None

    def ready(self, timeout=15):
        """Waits until it has said all it says at its start, and answers."""
        try:
            self.wait_line("stop with Ctrl-C", timeout)
        except Failure:
            if self.running():
                raise
        deadline = time.monotonic() + timeout * SLOW
        while True:
            r = self.cli("status", "--json")
            if r.code in (0, 2):
                s = json.loads(r.out)
                self.id, self.name, self.port = s["id"], s["name"], s["port"]
                return self
            if not self.running():
                self.wait()
                raise Failure("the node ended:\n" + self.tail())
            if r.code != 69 or time.monotonic() > deadline:
                raise Failure(f"not ready: {r}\n" + self.tail())
            self.wait_news(0.05)

    def finish(self):
        """At the end of a test: it stops as it should, and is well."""
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                code = self.wait(10)
                if code:
                    raise Failure(f"exit code {code} at its stop:\n"
                                  + self.tail())
            finally:
                self.close()
        else:
            self.close()
        bad = [i for i, line in enumerate(self.lines) if FAULT.search(line)]
        if bad:
            raise Failure("\n".join(self.lines[bad[0]:bad[0] + 100]))

    def cli(self, *args, **how):
        return run(*args, dir=self.dir, prefix=self.prefix, **how)

    def json(self, *args, code=0, **how):
        """A client verb's one JSON object."""
        r = self.cli(*args, "--json", **how)
        codes = code if isinstance(code, tuple) else (code,)
        if r.code not in codes:
            raise Failure(f"{args}: exit {r.code}, not {code}\n{r.out}"
                          f"{r.err}\nnode:\n{self.tail(15)}")
        return json.loads(r.out.strip().split("\n")[-1])

    def status(self):
        return self.json("status", code=(0, 2))

    def counter(self, name):
        for c in self.status()["counters"]:
            if c["name"] == name:
                return c["value"]
        return 0

    def peers(self, *args):
        """Rows of `peers` by node id, without our own."""
        rows = self.json("peers", *args)
        if isinstance(rows, dict):
            rows = rows["peers"]
        return {p["id"]: p for p in rows if p["path"] != "self"}

    def until_peer(self, other, states=("ok",), timeout=20, topic=None):
        """Waits until this node sees the other in one of these states."""
        args = ("--topic", topic) if topic else ()

        def seen():
            row = self.peers(*args).get(other.id)
            return row if row and row["state"] in states else None
        return until(seen, timeout, lambda: (
            f"{self.name} does not see {other.name} as {states}: "
            f"{self.peers(*args)}\n{self.tail()}\n{other.tail()}"))

    @property
    def dht(self):
        return f"127.0.0.1:{self.port}"

    @property
    def address(self):
        return f"{self.id}@127.0.0.1:{self.port}"

    def stop(self, timeout=10):
        """Ctrl-C's friend; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)


def run(*args, dir=None, prefix=(), input=None, timeout=60, env=None,
        cwd=None, program=BIN):
    """Runs a client verb to its end."""
    argv = list(prefix) + [program] + list(args)
    if dir:
        argv += ["--data-dir", dir]
    begin = time.monotonic()
    if isinstance(input, str):
        input = input.encode()
    try:
        p = subprocess.run(argv, capture_output=True, timeout=timeout * SLOW,
                           env=env or clean_env(), cwd=cwd,
                           **({"input": input} if input is not None
                              else {"stdin": subprocess.DEVNULL}))
    except subprocess.TimeoutExpired as e:
        raise Failure(f"{' '.join(argv)} did not end in "
                      f"{timeout * SLOW:.0f} s: {e.stdout!r} {e.stderr!r}"
                      ) from None
    r = Result(p.returncode, p.stdout.decode("utf-8", "replace"),
               p.stderr.decode("utf-8", "replace"), time.monotonic() - begin)
    if r.code < 0 or FAULT.search(r.err):
        raise Failure(f"{' '.join(argv)}: {r.code}\n{r.err}")
    return r


def until(seen, timeout, why="it did not come true"):
    """What `seen` returns as soon as that is true. There is no event to wait
    for behind a client verb, so it is asked again until the deadline."""
    deadline = time.monotonic() + timeout * SLOW
    pause = threading.Event()
    while True:
        result = seen()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(why() if callable(why) else why)
        pause.wait(0.05)


def objects(text):
    """JSON lines."""
    return [json.loads(line) for line in text.split("\n") if line.strip()]


class MeshTest(unittest.TestCase):
    """Knows every process and directory of a test."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not os.access(BIN, os.X_OK):
            raise unittest.SkipTest(f"{BIN} is not built")

    def new_dir(self):
        d = tempfile.mkdtemp(prefix="hn-")
        self.addCleanup(shutil.rmtree, d, ignore_errors=True)
        return d

    def path(self, name, content=""):
        p = os.path.join(self.new_dir(), name)
        with open(p, "w", encoding="utf-8") as f:
            f.write(content)
        return p

    def start(self, *flags, ready=True, lan=False, **how):
        """A node on 127.0.0.1; with ready, waits until it answers."""
        if not lan:
            flags += ("--no-lan",)
        node = Node(self, flags, **how)
        self.addCleanup(node.finish)
        if ready:
            node.ready()
        return node

    def worker(self, *flags, **how):
        return self.start("--offer", CAP, "--threads", "1", *flags, **how)

    def follow(self, node, *args, input=None):
        """A client verb that goes on; its lines can be waited for."""
        p = Process(node.prefix + [BIN, *args, "--data-dir", node.dir])
        self.addCleanup(p.close)
        return p

    def ok(self, result, code=0):
        self.assertEqual(result.code, code, f"\n{result.out}{result.err}")
        return result

    def search(self, node, *args, header=HEADER, code=0, **how):
        """submit search --watch --json: (last object, all before it)."""
        r = node.cli("submit", "search", "--header", header, *args, "--watch",
                     "--json", **how)
        self.ok(r, code)
        lines = objects(r.out)
        return lines[-1], lines[:-1]

    def rate(self, node):
        """H/s of its own device."""
        return sum(d["rate"] for d in node.status()["devices"])


def free_port():
    """A port that nobody has at this moment."""
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Timed(unittest.TextTestResult):
    """Says how long each test took."""

    def startTest(self, test):
        self._began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        self.stream.write(f"{time.monotonic() - self._began:.1f} s ")
        super().addSuccess(test)


def main():
    """Runs the tests of the file; 77 when every one was skipped."""
    program = unittest.main(exit=False, testRunner=unittest.TextTestRunner(
        verbosity=2, resultclass=Timed))
    r = program.result
    if not r.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if r.skipped and len(r.skipped) >= r.testsRun else 0)
