# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of a file by the mesh: order kept, nothing lost, liars found."""

import hashlib
import os
import random

import support
import wire
from support import CAP, MeshTest, until


def sha256d(data):
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def sha256(data):
    return hashlib.sha256(data).digest()


class BatchTest(MeshTest):
    def file(self, data, name="in"):
        p = os.path.join(self.new_dir(), name)
        with open(p, "wb") as f:
            f.write(data)
        return p

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def batch(self, node, path, out, *more, code=0, **how):
        r = node.cli("submit", "batch", path, "--out", out, "--watch",
                     "--json", *more, **how)
        self.ok(r, code)
        return support.objects(r.out)[-1] if r.out else {}

    def show(self, node, job):
        return node.json("job", "show", job, "--by-peer")

    def no_parts(self, *folders):
        for folder in folders:
            left = [n for n in os.listdir(folder) if ".part-" in n]
            self.assertEqual(left, [])


class Batch(BatchTest):
    def test_leases_that_are_only_held_give_way(self):
        """Four strangers take all the leases that a worker has and send
        nothing: another's job is done all the same."""
        class Holder(wire.Worker):
            held = False

            def _serve(self, stream, payload):
                super()._serve(stream, payload)
                for k in range(0 if self.held else 8):
                    self.open("hash.digest", ["held", k, 0, 1000, 1, 10])
                self.held = True

        worker = self.worker("--no-dht")
        node = self.start("--no-dht")
        holders = [Holder(worker.port, bytes.fromhex(worker.id), CAP, 1, None)
                   for _ in range(4)]
        for holder in holders:
            self.addCleanup(holder.close)
        until(lambda: all(h.held for h in holders), 10)
        self.ok(node.cli("dial", worker.address))
        node.until_peer(worker)
        path = self.file(b"one\ntwo\n")
        self.batch(node, path, path + ".out", timeout=30)
        self.assertEqual(self.read(path + ".out"),
                         sha256d(b"one") + sha256d(b"two"))

    def test_small_files(self):
        node = self.worker("--no-dht")
        cases = {
            b"": [],
            b"\n": [b""],
            b"one": [b"one"],
            b"a\n\nb\0c\r\nlast\xff": [b"a", b"", b"b\0c\r", b"last\xff"],
            b"x" * (1 << 20) + b"\ny\n": [b"x" * (1 << 20), b"y"],
        }
        for n, (data, inputs) in enumerate(cases.items()):
            path = self.file(data)
            out = os.path.join(os.path.dirname(path), "out")
            end = self.batch(node, path, out)
            self.assertEqual(end["inputs"], len(inputs))
            self.assertEqual(self.read(out), b"".join(map(sha256d, inputs)))
            end = self.batch(node, path, out, "--hash", "sha256", "--hex",
                             "--force")
            self.assertEqual(self.read(out), "".join(
                sha256(x).hex() + "\n" for x in inputs).encode())
            self.assertEqual(end["hashes"], len(inputs))
            self.no_parts(os.path.dirname(path))
        rng = random.Random(4)
        data = rng.randbytes(80 * 3000)
        path = self.file(data)
        self.batch(node, path, path + ".out", "--records", "80")
        self.assertEqual(self.read(path + ".out"), b"".join(
            sha256d(data[i:i + 80]) for i in range(0, len(data), 80)))
        self.assertEqual(len(node.json("jobs")["jobs"]), 2 * len(cases) + 1)

    def test_what_is_refused(self):
        node = self.start("--no-dht")
        d = self.new_dir()
        good = self.file(b"abc\n")
        out = os.path.join(d, "out")
        long = self.file(b"a\nb\n" + b"x" * ((1 << 20) + 1) + b"\nc\n")

        def refused(code, why, *args):
            r = node.cli("submit", "batch", *args)
            self.assertEqual(r.code, code, r)
            self.assertRegex(r.err, why)
            self.assertEqual(node.json("jobs")["jobs"], [])
            self.assertEqual(os.listdir(d), [])
        refused(64, "No such file", d + "/none", "--out", out)
        refused(64, "is a directory", d, "--out", out)
        refused(64, "line 3 is over 1 MiB", long, "--out", out)
        refused(64, "no multiple", good, "--out", out, "--records", "3")
        refused(64, "--out FILE", good)
        refused(64, "is a directory", good, "--out", d)
        refused(1, "--force", good, "--out", self.file(b""))
        refused(64, "the input file itself", good, "--out", good, "--force")
        refused(1, "cannot be written", good, "--out", "/nowhere/out")
        r = node.cli("submit", "batch", good, "--out", out, "--watch",
                     "--wait", "100ms")
        self.assertEqual(r.code, 75, r)
        until(lambda: not os.listdir(d), 10)

    def test_a_changed_file_fails_the_job(self):
        node = self.start("--no-dht")
        path = self.file(b"abc\n" * 100)
        out = path + ".out"
        job = node.json("submit", "batch", path, "--out", out,
                        "--wait", "10m")["job"]
        with open(path, "ab") as f:
            f.write(b"more\n")
        self.ok(node.cli("offer", CAP))
        until(lambda: self.show(node, job)["state"] == "failed", 20)
        self.assertRegex(self.show(node, job)["text"], "has changed since")
        until(lambda: os.listdir(os.path.dirname(path)) == ["in"], 10)

    def test_killed_in_mid_job(self):
        rng = random.Random(5)
        words = [rng.randbytes(rng.randrange(90)).replace(b"\n", b"")
                 for _ in range(1000)]
        lines = [b"%d %s" % (i, words[i % 997]) for i in range(1200000)]
        path = self.file(b"\n".join(lines))
        out = path + ".out"
        a, b = self.worker("--no-dht"), self.worker("--no-dht")
        s = self.start("--no-dht")
        for w in (a, b):
            self.ok(s.cli("dial", w.address))
        job = s.json("submit", "batch", path, "--out", out, "--wait",
                     "10m")["job"]
        until(lambda: self.show(s, job)["percent"] > 10, 60)
        a.kill()
        until(lambda: self.show(s, job)["percent"] > 30, 60)
        s.kill()
        self.assertFalse(os.path.exists(out))
        s = self.start("--no-dht", dir=s.dir)
        until(lambda: self.show(s, job)["state"] == "done", 100,
              lambda: f"{self.show(s, job)}\n{s.tail()}")
        self.assertEqual(self.read(out), b"".join(map(sha256d, lines)))
        end = self.show(s, job)
        self.assertEqual(end["hashes"], len(lines))
        self.assertGreater(end["checked"], 0)
        self.assertIn("stays unseen", end["note"])
        self.no_parts(os.path.dirname(path))
        # Once done it stays so.
        s.kill()
        s = self.start("--no-dht", dir=s.dir)
        self.assertEqual(self.show(s, job)["state"], "done")

    def test_stopped_in_mid_job(self):
        """At any of its steps."""
        lines = [b"%d" % (i * 7919) for i in range(600000)]
        path = self.file(b"\n".join(lines) + b"\n")
        out = path + ".out"
        w, s = self.worker("--no-dht"), self.start("--no-dht")
        self.ok(s.cli("dial", w.address))
        job = s.json("submit", "batch", path, "--out", out, "--hash",
                     "sha256", "--wait", "10m")["job"]
        for percent in (0, 5, 15):
            until(lambda: self.show(s, job)["percent"] >= percent, 60)
            self.assertEqual(s.stop(), 0)
            s = self.start("--no-dht", dir=s.dir)
        until(lambda: self.show(s, job)["state"] == "done", 60)
        self.assertEqual(self.read(out), b"".join(map(sha256, lines)))

    def test_canceled(self):
        s, w = self.start("--no-dht"), self.worker("--no-dht")
        self.ok(s.cli("dial", w.address))
        path = self.file(b"some line\n" * 3000000)
        job = s.json("submit", "batch", path, "--out", path + ".out")["job"]
        until(lambda: self.show(s, job)["percent"] > 5, 60)
        self.ok(s.cli("job", "cancel", job))
        until(lambda: os.listdir(os.path.dirname(path)) == ["in"], 10)
        self.assertEqual(self.show(s, job)["state"], "canceled")


class Liar(BatchTest):
    """wire.py shares no line with hnode; first it is alone, then somebody
    honest comes."""

    def run_with(self, cheat, why, state="dropped"):
        s = self.start("--no-dht")
        lines = [b"input %d" % i for i in range(3000)]
        path = self.file(b"\n".join(lines) + b"\n")
        out = path + ".out"
        peer = wire.Worker(s.port, bytes.fromhex(s.id), CAP, 200000, cheat)
        self.addCleanup(peer.close)
        job = s.json("submit", "batch", path, "--out", out, "--wait",
                     "10m")["job"]

        def row():
            rows = {r["id"]: r for r in self.show(s, job)["by_peer"]}
            return rows.get(peer.key.public.hex(), {"state": None})
        if state == "dropped":
            until(lambda: row()["state"] == state, 30,
                  lambda: f"{row()} {peer.ended} {s.tail()}")
            self.assertRegex(row()["why"], why)
            self.assertEqual(row()["hashes"], 0)
        honest = self.worker("--no-dht")
        self.ok(s.cli("dial", honest.address))
        until(lambda: self.show(s, job)["state"] == "done", 30,
              lambda: f"{self.show(s, job)} {peer.ended} {s.tail()}")
        self.assertEqual(self.read(out), b"".join(map(sha256d, lines)))
        return s, peer, row()

    def test_an_independent_worker_is_paid_attention(self):
        """The protocol as written is enough to work."""
        def honest(lease, true):
            return true
        s, peer, row = self.run_with(honest, None, "done")
        self.assertGreater(row["hashes"], 0)
        self.assertTrue(peer.opened)
        for places in peer.opened:
            self.assertEqual(places, sorted(set(places)))

    def test_half_of_the_digests_invented(self):
        def half(lease, true):
            return [d if i % 2 else d[:31] + bytes([d[31] ^ 1])
                    for i, d in enumerate(true)]
        s, peer, _ = self.run_with(half, "wrong digest of input")
        # That is proof: it is out, and does not come in again.
        peer.thread.join(20)
        self.assertFalse(peer.thread.is_alive())
        # Anybody can be shown it.
        row, = until(lambda: s.json("evidence", "list")["rows"], 10)
        self.assertEqual(row["lie"], "false-digest")
        self.assertEqual(row["node"], peer.key.public.hex())
        doc = self.path("lie.json", self.ok(
            s.cli("evidence", "show", row["id"], "--json")).out)
        r = self.ok(support.run("evidence", "verify", doc,
                                dir=self.new_dir()))
        self.assertIn("wrong digest of input", r.out)

    def test_another_root_signed(self):
        def other(lease, true):
            lease.signed_root = b"\7" * 32
            return true
        self.run_with(other, "signed no answer")

    def test_too_few_digests(self):
        def short(lease, true):
            return true[:-1]
        self.run_with(short, "signed no answer")


if __name__ == "__main__":
    support.main()
