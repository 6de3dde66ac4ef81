# SPDX-License-Identifier: GPL-3.0-or-later
"""Strange bytes on every socket: counted, closed, and the node is well."""

import os
import random
import socket
import struct
import time

from support import MeshTest, NONCE, main, until


class Hostile(MeshTest):
    def setUp(self):
        self.node = self.worker()
        self.before = self.node.status()

    def tearDown(self):
        """Whatever was sent, it works, and is no bigger for it."""
        if not self.node.running():
            self.fail(self.node.tail())
        end, _ = self.search(self.node, "--range", f"{NONCE - 10}-{NONCE}")
        self.assertEqual(end["nonce"], NONCE)
        after = self.node.status()
        if not int(os.environ.get("HN_TEST_SLOW") or 1) > 1:
            self.assertLess(after["rss_kib"], self.before["rss_kib"] + 8192)
        # Log lines about strangers are limited in rate.
        self.assertLess(len(self.node.lines), 200)

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.node.port), 10)
        self.addCleanup(s.close)
        return s

    def closed(self, s, timeout=15):
        """True when the node closes; what it says before is read."""
        s.settimeout(timeout)
        got = b""
        try:
            while data := s.recv(65536):
                got += data
                self.assertLess(len(got), 1 << 20)
        except (ConnectionResetError, BrokenPipeError):
            pass
        return True

    def send(self, s, data):
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def counters(self):
        return {c["name"]: c["value"]
                for c in self.node.status()["counters"]}

    def test_garbage(self):
        before = self.counters()
        rng = random.Random(1)
        for n in (1, 7, 8, 9, 40, 100, 1000, 70000, 300000):
            s = self.connect()
            self.send(s, rng.randbytes(n))
            self.assertTrue(self.closed(s))
        after = self.counters()
        grown = {k for k in after if after[k] > before.get(k, 0)}
        self.assertTrue(grown, after)

    def test_web_browser(self):
        s = self.connect()
        self.send(s, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(self.closed(s))

    def test_says_nothing(self):
        """Half-open handshakes have 5 s."""
        s = self.connect()
        began = time.monotonic()
        self.assertTrue(self.closed(s, 30))
        self.assertLess(time.monotonic() - began, 20)

    def test_begins_well_and_stops(self):
        """A dialler's true first bytes, cut at each length, then changed."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        other = self.start()
        call = self.follow(other, "dial", f"{self.node.id}@127.0.0.1:"
                           f"{listener.getsockname()[1]}")
        listener.settimeout(20)
        peer, _ = listener.accept()
        self.addCleanup(peer.close)
        peer.settimeout(20)
        first = b""
        while len(first) < 8 + 2 + 48:
            first += peer.recv(4096)
        call.kill()
        for n in list(range(0, len(first), 5)):
            s = self.connect()
            self.send(s, first[:n])
            self.assertTrue(self.closed(s))
        for n in range(len(first)):
            s = self.connect()
            self.send(s, first[:n] + bytes([first[n] ^ 0x41]) + first[n + 1:])
            self.assertTrue(self.closed(s))
        # The true one, again: message 1 can be replayed, and proves nothing.
        s = self.connect()
        s.sendall(first + os.urandom(200))
        self.assertTrue(self.closed(s))
        # And with lengths that promise more than is allowed.
        for length in (0, 1, 47, 49, 1024, 1025, 0xffff):
            s = self.connect()
            self.send(s, first[:8] + struct.pack(">H", length) +
                      os.urandom(2000))
            self.assertTrue(self.closed(s))
        self.assertEqual(self.node.status()["sessions"], 0)

    def test_many_half_open(self):
        """64 half-open from loopback; what is more is closed unread."""
        socks = [self.connect() for _ in range(150)]
        other = self.start()
        # They run into the 5 s; then, or before, a true dial comes through.
        until(lambda: other.cli("dial", self.node.address).code == 0, 20,
              other.tail)
        for s in socks:
            s.close()

    def test_control_socket(self):
        path = os.path.join(self.node.dir, "control")
        rng = random.Random(2)
        for data in (b"", b"\0", b"GET / HTTP/1.0\r\n\r\n",
                     b"\xff" * 100000, struct.pack(">I", 0xffffffff) * 100,
                     struct.pack("<I", 0xffffffff) * 100,
                     rng.randbytes(10), rng.randbytes(100000)):
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(20)
                s.connect(path)
                self.send(s, data)
                self.closed(s, 20)

    def test_changed_bytes_of_a_session(self):
        """A relay that flips, repeats, swaps or drops what it carries."""
        import threading

        def relay(change):
            server = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(server.close)

            def pump(a, b, alter):
                n = 0
                try:
                    while data := a.recv(65536):
                        b.sendall(change(data, n) if alter else data)
                        n += 1
                except OSError:
                    pass
                for x in (a, b):
                    try:
                        x.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

            def serve():
                while True:
                    try:
                        a, _ = server.accept()
                        b = socket.create_connection(
                            ("127.0.0.1", self.node.port))
                    except OSError:
                        return
                    self.addCleanup(a.close)
                    self.addCleanup(b.close)
                    for x in ((a, b, True), (b, a, False)):
                        threading.Thread(target=pump, args=x,
                                         daemon=True).start()
            threading.Thread(target=serve, daemon=True).start()
            return server.getsockname()[1]

        def flip(data, n):
            return data if n < 3 else data[:-1] + bytes([data[-1] ^ 1])

        def twice(data, n):
            return data if n < 3 else data + data

        def cut(data, n):
            return data if n < 3 else data[:-1]

        def longer(data, n):
            return data if n < 3 else b"\xff\xff\xff\xff" + data

        for change in (flip, twice, cut, longer):
            other = self.start()
            port = relay(change)
            other.cli("dial", f"{self.node.id}@127.0.0.1:{port}")
            for _ in range(3):
                other.cli("call", self.node.name, "node.info",
                          timeout=30)
            until(lambda: self.node.peers().get(other.id, {}).get("state")
                  != "ok", 20, change.__name__)
            self.assertIn(other.status()["word"], ("healthy", "degraded"))
            other.stop()

    def test_datagrams(self):
        rng = random.Random(3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for n in (0, 1, 20, 100, 500, 1400, 9000):
                for _ in range(20):
                    s.sendto(rng.randbytes(n), ("127.0.0.1",
                                                self.node.port))

    def test_datagrams_that_promise_much(self):
        """Counts of msgpack that no datagram could hold; OpenDHT's reader
        asks for the memory at once, and must take a no for an answer."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for head in (b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9",
                         b"\x81\xa1y\xdd", b"\x81\xa1a\xdf"):
                for n in (0xffffffff, 0x7fffffff, 0x04000000, 0x00100000):
                    for _ in range(5):
                        s.sendto(head + struct.pack(">I", n) + b"\0" * 40,
                                 ("127.0.0.1", self.node.port))

    def test_deep_and_wrong_json(self):
        for text in ("[" * 5000, "{}" * 100, '{"a":' * 3000, "nul", "\xff",
                     '{"token": 1e999}', '{"token": -1}',
                     '{"token": 18446744073709551616}'):
            r = self.node.cli("call", self.node.name, "node.ping", text)
            self.assertNotIn(r.code, (69, 70), (text[:20], r))


if __name__ == "__main__":
    main()
