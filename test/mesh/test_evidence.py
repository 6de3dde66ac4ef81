# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes find a cheat while no job is open; what it signed convicts it.

The cheat is wire.py, which shares no line with hnode. The evidence is looked
at by a command that has no node, and by a node that never met the cheat."""

import hashlib
import json
import os
import struct
import time

import support
import wire
from support import CAP, until


def half(start, end, bits, shares):
    return [n for n in shares() if (n - start >> bits + 2) % 2]


class Evidence(support.MeshTest):
    def peer(self, node, how):
        peer = wire.Worker(node.port, bytes.fromhex(node.id), CAP, 200000,
                           how)
        self.addCleanup(peer.close)
        return peer

    def row(self, node, peer):
        return node.peers().get(peer.key.public.hex()) or {}

    def until_trust(self, node, peer, state):
        until(lambda: self.row(node, peer).get("trust") == state, 30,
              lambda: f"not {state}: {self.row(node, peer)}\n{node.tail()}")
        return self.row(node, peer)

    def verify(self, file, code=0):
        """Without any node, and without a place for one."""
        return self.ok(support.run("evidence", "verify", file,
                                   dir="/nonexistent"), code)

    def test_from_a_probe_to_a_third_node(self):
        s = self.start("--no-dht", "--probe-interval", "1s")
        honest = self.peer(s, lambda start, end, bits, shares: shares())
        cheat = self.peer(s, half)

        # The honest one answers the same probes.
        row = self.until_trust(s, cheat, "barred")
        self.assertEqual(row["score"], 0)
        self.assertEqual(row["state"], "dropped")
        self.assertIn("of a probe", row["why"])
        until(lambda: self.row(s, honest)["score"] > 600, 20)
        self.assertEqual(s.status()["barred"], 1)
        # A probe is like any unit: nothing in it says what it is.
        self.assertTrue(all(a < b for a, b in cheat.units + honest.units))

        listed = until(lambda: s.json("evidence", "list")["rows"], 10)
        self.assertEqual(len(listed), 1)
        self.assertEqual(listed[0]["node"], cheat.key.public.hex())
        self.assertEqual(listed[0]["source"], "here")
        doc = s.json("evidence", "show", listed[0]["id"][:8])
        file = self.path("evidence.json", json.dumps(doc))
        r = self.verify(file)
        self.assertIn("does not list nonce", r.out)
        self.assertIn(cheat.key.public.hex(), r.out)

        # What Python says of the same document.
        text = bytes.fromhex(doc["answer"])
        self.assertTrue(wire.verify(cheat.key.public,
                                    b"hnode answer 1\0" + text,
                                    bytes.fromhex(doc["sig"])))
        bits, header = text[-33], text[-137:-57]
        nonce = doc["nonce"]
        self.assertNotIn(nonce, doc["shares"])
        self.assertEqual(wire.shares_of(header, nonce, nonce + 1, bits),
                         [nonce])

        # Changed anywhere, it proves nothing.
        for change in ({"nonce": nonce + 1},
                       {"shares": doc["shares"][1:]},
                       {"shares": sorted(doc["shares"] + [nonce])},
                       {"worker": honest.key.public.hex()},
                       {"lie": "false-share"},
                       {"sig": doc["sig"][:-2] + "00"
                        if doc["sig"][-2:] != "00" else doc["sig"][:-2]
                        + "01"},
                       {"version": 2}):
            bad = self.path("bad.json", json.dumps({**doc, **change}))
            r = self.verify(bad, 1)
            self.assertIn("no proof", r.err)
        self.verify(self.path("bad.json", json.dumps(doc)[:-9]), 1)

        # A third node that never met it refuses it from now on.
        third = self.start("--no-dht")
        self.ok(third.cli("dial", s.address))
        got = third.json("evidence", "fetch", s.id)
        self.assertEqual((got["held"], got["refused"], len(got["rows"])),
                         (1, 0, 1))
        self.assertTrue(got["rows"][0]["fresh"])
        self.assertEqual(third.status()["barred"], 1)
        with self.assertRaises(wire.Closed):
            wire.Peer(third.port, bytes.fromhex(third.id), key=cheat.key)
        # But not of strangers who press it upon it: what they send is not
        # even read.
        stranger = wire.Peer(third.port, bytes.fromhex(third.id))
        self.assertEqual(stranger.call("evidence.put", [b"?" * 1000])[0], 12)
        stranger.close()
        # And so does one that was given the file.
        fourth = self.start("--no-dht")
        r = self.ok(fourth.cli("evidence", "add", file))
        self.assertIn("no work for", r.out)
        r = fourth.cli("evidence", "add", bad)
        self.assertEqual(r.code, 1)
        with self.assertRaises(wire.Closed):
            wire.Peer(fourth.port, bytes.fromhex(fourth.id), key=cheat.key)

        # Not forgotten by a node that dies.
        s.kill()
        s = self.start("--no-dht", dir=s.dir)
        self.assertEqual(s.status()["barred"], 1)
        with self.assertRaises(wire.Closed):
            wire.Peer(s.port, bytes.fromhex(s.id), key=cheat.key)
        self.assertEqual(len(s.json("evidence", "list")["rows"]), 1)
        # But pardoned by a person.
        self.ok(s.cli("pardon", cheat.key.public.hex()))
        r = self.ok(s.cli("pardon", cheat.key.public.hex()), 1)
        self.assertIn("nothing to pardon", r.err)
        self.assertEqual(s.status()["barred"], 0)
        wire.Peer(s.port, bytes.fromhex(s.id), key=cheat.key).close()

    def test_quarantine_and_the_way_back(self):
        """One that says nothing gets no work, and then some again."""
        s = self.start("--no-dht", "--probe-interval", "1s",
                       "--probe-timeout", "1s", "--quarantine", "3s")
        mute = [True]
        peer = self.peer(s, lambda start, end, bits, shares:
                         None if mute[0] else shares())
        row = self.until_trust(s, peer, "quarantined")
        self.assertIn("did not answer a probe", row["trust_why"])
        self.assertGreaterEqual(row["fails"], 3)
        self.assertLess(row["score"], 300)
        self.assertLessEqual(row["until_ms"], 3000)
        self.assertEqual(s.status()["quarantined"], 1)
        self.assertEqual(s.status()["word"], "healthy")
        r = self.ok(s.cli("peers", "--stats"))
        self.assertIn("quarantined", r.out)
        mute[0] = False
        began = time.monotonic()
        row = self.until_trust(s, peer, "trusted")
        print(f"trusted again after {time.monotonic() - began:.1f} s",
              flush=True)
        self.assertIsNone(row["trust_why"])
        self.assertIn("probes right", row["reasons"])


    def test_a_private_mesh_hears_of_it(self):
        a = self.start("--no-dht")
        word = self.ok(a.cli("invite", "--yes", "--uses", "2")).out.strip()
        b = self.start("--no-dht", "--join", word)
        c = self.start("--no-dht", "--join", word)
        self.ok(b.cli("dial", c.address))
        a.until_peer(b)
        a.until_peer(c)
        # The lie is signed with the key of c, which has never told it.
        with open(os.path.join(c.dir, "node.key"), encoding="ascii") as f:
            key = wire.Key(bytes.fromhex(f.read().split()[3]))
        self.assertEqual(key.public.hex(), c.id)
        header = bytes.fromhex(support.HEADER)
        start, end, bits = 1000, 3000, 8
        shares = wire.shares_of(header, start, end, bits)
        left = shares.pop(1)
        text = b"4f2a91c0" + header + struct.pack(">QQQB", 7, start, end,
                                                  bits)
        text += hashlib.sha256(b"".join(struct.pack(">I", n)
                                        for n in shares)).digest()
        doc = {"version": 1, "worker": c.id, "kind": "search",
               "lie": "missed", "answer": text.hex(),
               "sig": key.sign(b"hnode answer 1\0" + text).hex(),
               "shares": shares, "nonce": left}
        file = self.path("evidence.json", json.dumps(doc))
        self.verify(file)
        self.ok(a.cli("evidence", "add", file))
        rows = until(lambda: b.json("evidence", "list")["rows"], 20)
        self.assertEqual(rows[0]["source"], a.name)
        for node in (a, b):
            self.assertEqual(node.status()["barred"], 1)
            until(lambda n=node: n.peers()[c.id]["state"] == "dropped", 10)
        # It is no judge of itself.
        r = c.cli("evidence", "add", file)
        self.assertIn("against this node", r.err)
        self.assertEqual(c.status()["barred"], 0)


if __name__ == "__main__":
    support.main()
