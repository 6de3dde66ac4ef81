# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions by hand: dial, ping, info, call; a star without discovery."""

import glob
import json
import os
import re
import socket
import threading

from support import (CAP, HASH, NONCE, TOP, MeshTest, free_port, main,
                     until)


class Recorder:
    """A TCP relay that keeps what goes by, each way."""

    def __init__(self, test, to):
        self.to = to
        self.seen = {"there": bytearray(), "back": bytearray()}
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        test.addCleanup(self.close)
        self.conns = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                here, _ = self.server.accept()
                there = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.conns += [here, there]
            for a, b, way in ((here, there, "there"), (there, here, "back")):
                threading.Thread(target=self._copy, args=(a, b, way),
                                 daemon=True).start()

    def _copy(self, a, b, way):
        try:
            while data := a.recv(65536):
                self.seen[way] += data
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.server.close()
        for s in self.conns:
            s.close()


class Dial(MeshTest):
    def test_star_without_discovery(self):
        hub = self.start("--no-dht")
        spokes = [self.worker("--no-dht") for _ in range(2)]
        for s in spokes:
            self.ok(s.cli("dial", hub.address))
            hub.until_peer(s)
        end, _ = self.search(hub, "--range", f"{NONCE - 500000}-{NONCE}")
        self.assertEqual(end["hash"], HASH)
        self.assertIn(end["by"], [s.id for s in spokes])

    def test_one_session_per_pair(self):
        a, b = self.start(), self.start()
        self.ok(a.cli("dial", b.address))
        self.ok(b.cli("dial", a.address))
        self.ok(a.cli("dial", b.address))
        for x, y in ((a, b), (b, a)):
            until(lambda: x.status()["sessions"] == 1, 10)
            self.assertEqual(x.peers()[y.id]["state"], "ok")

    def test_address_without_a_key_is_refused(self):
        a, b = self.start(), self.start()
        r = a.cli("dial", f"127.0.0.1:{b.port}")
        self.assertEqual(r.code, 64, r)
        self.assertIn("ID@HOST:PORT", r.err)
        self.assertEqual(a.status()["sessions"], 0)

    def test_wrong_key_is_refused(self):
        a, c = self.start(), self.start()
        b = self.start("--log", "debug")
        r = a.cli("dial", f"{c.id}@127.0.0.1:{b.port}")
        self.assertNotIn(r.code, (0, 64, 69, 70), r)
        self.assertNotEqual(a.peers().get(c.id, {}).get("state"), "ok")
        # b says why, and is well.
        b.wait_line("(?i)handshake|refused|crypto")
        self.ok(a.cli("dial", b.address))

    def test_ourselves(self):
        a = self.start()
        r = a.cli("dial", a.address)
        self.assertNotIn(r.code, (0, 69, 70), r)
        self.assertIn("self", (r.err + r.out).lower())

    def test_nobody_there(self):
        a, b = self.start(), self.start()
        b.stop()
        r = a.cli("dial", b.address)
        self.assertNotIn(r.code, (0, 64, 69, 70), r)

    def test_nonsense(self):
        a = self.start()
        for text in ("", "@", "zz@127.0.0.1:1", f"{a.id}@127.0.0.1",
                     f"{a.id}@127.0.0.1:0", f"{a.id}@127.0.0.1:99999",
                     f"{a.id[:-1]}@127.0.0.1:7450"):
            r = a.cli("dial", text)
            self.assertEqual(r.code, 64, (text, r))

    def test_ping_and_info(self):
        a, b = self.start(), self.worker()
        self.ok(a.cli("dial", b.address))
        for ref in (b.id, b.name, b.id[:12]):
            p = a.json("ping", ref)
            self.assertGreater(p["min_us"], 0)
            self.assertEqual(p["id"], b.id)
        info = a.json("info", b.name)
        self.assertEqual(info["id"], b.id)
        self.assertEqual([o["name"] for o in info["offers"]], [CAP])
        self.assertIn("node.info", [m["name"] for m in info["methods"]])
        self.assertEqual(a.json("info")["id"], a.id)
        self.assertIn(b.name, self.ok(a.cli("info", b.name)).out)
        r = a.cli("ping", "nobody-here-0000")
        self.assertEqual(r.code, 1, r)

    def test_call(self):
        a, b = self.start(), self.start()
        self.ok(a.cli("dial", b.address))
        reply = json.loads(self.ok(a.cli("call", b.name, "node.info")).out)
        self.assertEqual(reply["id"], b.id)
        reply = a.json("call", b.name, "node.ping", '{"token": 7}')
        self.assertEqual(reply["token"], 7)
        r = a.cli("call", b.name, "node.wash")
        self.assertEqual(r.code, 1, r)
        self.assertIn("node.wash", r.err)
        r = a.cli("call", b.name, "node.ping", '{"token": "x"}')
        self.assertEqual(r.code, 64, r)
        r = a.cli("call", b.name, "node.ping", "{")
        self.assertEqual(r.code, 64, r)

    def test_owner_methods_are_denied_to_peers(self):
        a, b = self.start(), self.worker()
        self.ok(a.cli("dial", b.address))
        # A peer is not told of them; their rows are in the sources.
        owners = set()
        for path in glob.glob(os.path.join(TOP, "node", "mesh", "*.c")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            owners |= set(re.findall(r'OWNER\("([a-z.]+)"', text))
            for row in re.findall(r'\{\.name = "[a-z.]+",.*?\}', text, re.S):
                if "RIGHT_OWNER" in row or ".right" not in row:
                    owners.add(row.split('"')[1])
        self.assertTrue({"mesh.invite", "node.status", "job.submit",
                         "mesh.rekey", "node.stop"} <= owners, owners)
        for name in owners:
            r = a.cli("call", b.name, name)
            if "is a stream" not in r.err:
                self.assertEqual(r.code, 77, (name, r))

    def test_advertised_address_is_announced(self):
        a = self.start("--advertise", "192.0.2.7:9999")
        self.assertEqual(a.status()["address"][0], "192.0.2.7:9999")
        self.assertIn(f"127.0.0.1:{a.port}", a.status()["address"])

    def test_wrong_advertised_address_is_passed_by(self):
        a = self.start()
        b = self.worker("--bootstrap", a.dht, "--advertise",
                        f"127.0.0.1:{free_port()}")
        a.until_peer(b, topic=CAP)

    def test_no_plaintext_on_the_wire(self):
        a, b = self.start(), self.worker()
        relay = Recorder(self, b.port)
        self.ok(a.cli("dial", f"{b.id}@127.0.0.1:{relay.port}"))
        self.ok(a.cli("info", b.name))
        self.ok(a.cli("hash", "sha256d", "PLANTED-SECRET-TEXT", "--peer",
                      b.name))
        end, _ = self.search(a, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertEqual(end["by"], b.id)
        ids = [bytes.fromhex(x.id) for x in (a, b)]
        words = [b"PLANTED-SECRET", b"node.", b"hash.", b"sha256", b"hnode 0",
                 b"public", a.name.encode(), b.name.encode(),
                 bytes.fromhex("81cd02ab7e569e8b"), *ids]
        for way, data in relay.seen.items():
            self.assertGreater(len(data), 500, way)
            for word in words:
                self.assertNotIn(word, bytes(data[8:]), (way, word))

    def test_keys_change_while_it_talks(self):
        a = self.start("--rekey-interval", "1s")
        b = self.worker("--rekey-interval", "1s")
        self.ok(a.cli("dial", b.address))
        n = int(self.rate(b) * 4)
        end, _ = self.search(a, "--range", f"0-{n - 1}", "--target",
                             "00" * 31 + "01", code=1)
        self.assertEqual(end["hashes"], n)
        self.assertEqual(a.status()["sessions"], 1)


if __name__ == "__main__":
    main()
