# SPDX-License-Identifier: GPL-3.0-or-later
"""Receipts: both sides agree on what is owed, whatever happens between."""

import json
import os
import sqlite3
import subprocess

import support
import wire
from support import HEADER, NONCE, until

ERR = {"busy": 3, "crypto": 9, "denied": 12}
AUDIT = os.path.join(os.path.dirname(support.BIN), "hnode-audit")


def audit(*files):
    p = subprocess.run([AUDIT, *files], capture_output=True, text=True,
                       timeout=60 * support.SLOW)
    return p.returncode, p.stdout + p.stderr


class Books(support.MeshTest):
    def credits(self, node, other):
        """The row about that node, which is its own owner here."""
        rows = node.json("credits")["owners"]
        return next((r for r in rows if r["owner"] == other.id), None)

    def agree(self, s, w):
        """Until the worker has a receipt for all that was accepted."""
        def seen():
            paid, earned = self.credits(s, w), self.credits(w, s)
            return paid and earned and paid["spent_parts"] and \
                not paid["pending_answers"] and \
                paid["spent_parts"] == earned["earned_parts"] and earned
        return until(seen, 60, lambda: (
            f"no agreement: {self.credits(s, w)} {self.credits(w, s)}"
            f"\n{s.tail()}\n{w.tail()}"))

    def export(self, node, change=None):
        """Its export, as a file; lines changed."""
        lines = self.ok(node.cli("credits", "--export", "-")).out.split("\n")
        if change:
            change(lines)
        return self.path("export.jsonl", "\n".join(lines))

    def test_books_agree_although_both_are_killed(self):
        w = self.worker()
        s = self.start("--no-dht")
        self.ok(s.cli("dial", w.address))
        n = int(self.rate(w) * 4)
        job = s.json("submit", "search", "--header", HEADER, "--range",
                     f"{NONCE - n}-{NONCE}", "--all")["job"]

        def answered(node):
            return node.counter("credit.answers") >= 2
        until(lambda: answered(s), 30, s.tail)
        s.kill()
        s = self.start("--no-dht", dir=s.dir)
        until(lambda: answered(s), 30, s.tail)
        w.kill()
        w = self.worker("--port", str(w.port), dir=w.dir, port=None)
        self.ok(s.cli("dial", w.address))
        until(lambda: s.json("job", "show", job)["state"] == "done", 60,
              s.tail)
        self.agree(s, w)
        self.compare(s, w)
        # The same from the disks alone.
        for node in (s, w):
            node.stop()
        self.compare(s, w)
        check = w.json("db", "check")
        self.assertTrue(check["whole"] and check["receipts"] >= 4, check)
        db = sqlite3.connect(os.path.join(w.dir, "hnode.db"))
        with db:
            db.execute("UPDATE receipts SET total = total + 1 WHERE seq = 2")
        db.close()
        r = self.ok(w.cli("db", "check"), 1)
        self.assertIn("receipt 2 is damaged", r.out)

    def test_digests_are_receipted_too(self):
        w = self.worker()
        s = self.start("--no-dht")
        self.ok(s.cli("dial", w.address))
        lines = "".join(f"line {n}\n" for n in range(30000))
        self.ok(s.cli("submit", "batch", self.path("in.txt", lines), "--out",
                      os.path.join(self.new_dir(), "out"), "--watch"))
        earned = self.agree(s, w)
        self.assertGreaterEqual(earned["earned_parts"], 30000)
        self.assertRegex(w.cli("receipt", "list").out, "[0-9] digest ")
        self.compare(s, w)

    def compare(self, s, w):
        mine, theirs = self.export(s), self.export(w)
        code, text = audit(mine, theirs)
        self.assertEqual((code, text.split("\n")[-2]), (0, "equal"), text)
        r = support.run("receipt", "verify", theirs)
        self.ok(r)
        n = sum('"seq"' in line for line in open(theirs))
        if n > 1:
            self.assertEqual(r.out, f"{n} receipts, {n} good\n")

        def drop(lines):
            del lines[-2]
        code, text = audit(mine, self.export(w, drop))
        self.assertEqual(code, 1)
        self.assertRegex(text, "disagreement: .* number ")

        def more(lines):
            one = json.loads(lines[1])
            one["amount"] += 1
            lines[1] = json.dumps(one)
        bad = self.export(w, more)
        code, text = audit(mine, bad)
        self.assertEqual(code, 1)
        self.assertIn("line 2", text)
        r = support.run("receipt", "verify", bad)
        self.ok(r, 1)
        self.assertIn("BAD: ", r.out)
        self.assertIn("line 2:", r.out)
        code, text = audit(self.path("empty.jsonl", ""), theirs)
        self.assertEqual(code, 64)
        self.assertIn("no export: its first line is missing", text)
        first = w.cli("receipt", "list", "--json").out.split("\n")[0]
        r = support.run("receipt", "verify", "-", input=first)
        self.ok(r)

    def search(self, peer, lease, bits=8, start=0, end=20000):
        """A lease as a submitter that is not ours asks for it."""
        header, chunks = bytes.fromhex(HEADER), []
        error, text, reply = peer.call(
            "hash.search", ["job1", lease, header, start, end, bits, 10],
            chunks=chunks)
        if error:
            return error, text, None
        shares = [n for c in chunks for n in wire.values(c[1])]
        return 0, "", wire.Receipt(peer.key, bytes.fromhex(peer.node), "job1",
                                   lease, header, start, end, bits, shares,
                                   reply[2])

    def dial(self, node):
        peer = wire.Peer(node.port, bytes.fromhex(node.id))
        peer.node = node.id
        self.addCleanup(peer.close)
        return peer

    def put(self, peer, *receipts, owner=None):
        me = peer.key.public
        return peer.call("receipt.put", [
            owner or me, bytes.fromhex(peer.node), 1, list(receipts)])

    def test_true_receipts_are_taken_and_others_refused(self):
        w = self.worker()
        peer = self.dial(w)
        error, _, r = self.search(peer, 1)
        self.assertEqual(error, 0)
        # A lease is served once.
        self.assertEqual(self.search(peer, 1)[0], ERR["denied"])
        self.assertEqual(w.counter("replay.refused"), 1)
        self.assertEqual(w.counter("replay.held"), 1)
        unpaid = w.json("credits")["owners"][0]
        self.assertEqual((unpaid["earned_parts"], unpaid["unpaid_parts"]),
                         (0, 5))

        good = r.signed()
        # Not signed by us; by nobody; of another; for no work of theirs.
        forged = list(good)
        forged[12] += 1
        self.assertEqual(self.put(peer, forged)[0], ERR["crypto"])
        stranger = self.dial(w)
        self.assertEqual(self.put(stranger, good)[0], ERR["denied"])
        self.assertEqual(self.put(peer, good, owner=bytes(32))[0],
                         ERR["denied"])
        error, _, head = self.put(peer, r.signed(_15=bytes(64)))
        self.assertEqual((error, head[0], head[3]), (0, 0, 1), head)
        self.assertIn("not signed by the worker", head[5])

        # The true one, again, and another in its place.
        error, _, head = self.put(peer, good)
        self.assertEqual((error, head[0], head[1], head[3]), (0, 1, 5, 0))
        self.assertEqual(head[2], wire.Receipt.hash(good))
        self.assertEqual(self.put(peer, good)[2], head)
        error, _, fork = self.put(peer, r.signed(_13=12345))
        self.assertEqual((error, fork[0], fork[3]), (0, 1, 1))
        self.assertEqual(fork[4], wire.Receipt.hash(good))
        # Nor is a lease paid twice.
        _, _, twice = self.put(peer, r.signed(
            _16=2, _17=wire.Receipt.hash(good), _19=10))
        self.assertEqual((twice[0], twice[3]), (1, 2))
        self.assertIn("paid before", twice[5])

        # Nor is what was true once forked later.
        other = self.search(peer, 2)[2].signed(
            _16=2, _17=wire.Receipt.hash(good), _19=10)
        self.assertEqual(self.put(peer, other)[2][:2], [2, 10])
        _, _, fork = self.put(peer, r.signed(_13=777))
        self.assertEqual((fork[0], fork[3]), (2, 1))
        self.assertEqual(fork[4], wire.Receipt.hash(good))

        # The submitter can have its own back; a stranger can not.
        me = peer.key.public
        since = [me, me, bytes.fromhex(w.id), 0]
        self.assertEqual(peer.call("receipt.since", since)[2][1],
                         [good, other])
        self.assertEqual(stranger.call("receipt.since", since)[0],
                         ERR["denied"])
        books = w.json("credits")
        row = books["owners"][0]
        self.assertEqual((row["earned_parts"], row["unpaid_parts"]), (10, 0))
        self.assertEqual([(d["seq"], d["peer"]) for d in books["disputes"]],
                         [(n, me.hex()) for n in (1, 1, 2, 1)])
        self.assertIn("number 2", self.ok(w.cli("credits")).out)
        # Kept by the worker, checked by a third.
        r = support.run("receipt", "verify", self.export(w))
        self.ok(r)

    def test_over_the_limit_work_waits(self):
        w = self.worker("--credit-limit", "2")
        peer = self.dial(w)
        self.assertEqual(self.search(peer, 1)[0], 0)
        w.stop()
        db = sqlite3.connect(os.path.join(w.dir, "hnode.db"))
        with db:  # as if that had been two credits' worth
            db.execute("UPDATE served SET credit = ?", (2 << 20,))
        db.close()
        w = self.worker("--credit-limit", "2", dir=w.dir)
        again = wire.Peer(w.port, bytes.fromhex(w.id), key=peer.key)
        self.addCleanup(again.close)
        again.node = w.id
        error, text, _ = self.search(again, 2)
        self.assertEqual(error, ERR["busy"])
        self.assertIn("credit limit", text)
        # A replay is remembered over a restart; others are served.
        self.assertEqual(w.counter("replay.held"), 1)
        self.assertEqual(self.search(self.dial(w), 1)[0], 0)


if __name__ == "__main__":
    support.main()
