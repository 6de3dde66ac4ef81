# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that cheats is dropped and named, and its units are done again.

The cheat is wire.py, which shares no line with hnode; beside it works one
honest node. What the job reports is compared with what Python finds in the
units that the cheat had."""

import hashlib
import os
import time
import unittest

import support
import wire
from support import CAP, HEADER

TARGET = "0000" + "f" * 60  # a hit in 65536
ZEROS = 16
SECONDS = 4  # of the honest worker alone


class Cheat(support.MeshTest):
    def setUp(self):
        self.submitter = self.start("--no-dht")
        self.honest = self.worker("--no-dht")
        self.honest.cli("dial", self.submitter.address)
        self.submitter.until_peer(self.honest)

    def cheat(self, how, rate=200000, kind=wire.Worker):
        peer = kind(self.submitter.port,
                    bytes.fromhex(self.submitter.id), CAP, rate, how)
        self.addCleanup(peer.close)

        def offers():
            row = self.submitter.peers().get(peer.key.public.hex())
            return row and row["offers"]
        support.until(offers, 20, "the cheat's offer is not seen")
        return peer

    def solve(self, peer, *more, seconds=SECONDS):
        """Runs a job with every hit; returns the cheat's row of it."""
        rate = self.rate(self.honest)
        n = int(min(max(rate * seconds, 1 << 22), 1 << 31))
        end, _ = self.search(self.submitter, "--range", f"0-{n - 1}",
                             "--target", TARGET, "--all", *more)
        self.assertEqual(end["hashes"], n)
        self.assertTrue(end["found"])
        hits = [h["nonce"] for h in end["hits"]]
        self.assertEqual(hits, sorted(set(hits)))
        for hit in end["hits"]:
            self.assertEqual(support.digest(hit["nonce"]), hit["hash"])
        self.assertTrue(peer.units, "the cheat was asked for nothing")
        for start, stop in peer.units[:4]:
            stop = min(stop, start + 400000)
            self.assertEqual(
                [h for h in hits if start <= h < stop],
                wire.shares_of(bytes.fromhex(HEADER), start, stop, ZEROS))
        show = self.submitter.json("job", "show", end["job"], "--by-peer")
        rows = {row["id"]: row for row in show["by_peer"]}
        self.assertEqual(rows[self.honest.id]["state"], "done")
        return rows[peer.key.public.hex()], n, rows[self.honest.id]

    def dropped(self, peer, why):
        row, n, honest = self.solve(peer)
        self.assertEqual(row["state"], "dropped", row)
        self.assertRegex(row["why"], why)
        self.assertEqual(row["hashes"], 0)
        self.assertEqual(honest["hashes"], n)
        seen = self.submitter.peers()[row["id"]]
        self.assertEqual(seen["state"], "dropped")
        self.assertRegex(seen["why"], why)
        self.submitter.wait_line(r"dropped: .*its units are done again", 5)
        # It gets no more work.
        before = len(peer.units)
        end, _ = self.search(self.submitter, "--range", "0-4194303",
                             "--target", TARGET, "--all")
        self.assertEqual(end["hashes"], 1 << 22)
        self.assertEqual(len(peer.units), before)

    def test_invented_shares(self):
        peer = self.cheat(lambda start, end, bits, shares:
                          sorted(set(shares()) | {start + 1, start + 2}))
        self.dropped(peer, r"reported nonce \d+, whose hash has not")
        # What it signed after that is proof for everybody.
        rows = support.until(
            lambda: self.submitter.json("evidence", "list")["rows"], 10)
        self.assertEqual([r["lie"] for r in rows], ["false-share"])
        self.assertEqual(rows[0]["node"], peer.key.public.hex())
        # It is out, and does not come in again.
        peer.thread.join(20)
        self.assertFalse(peer.thread.is_alive())
        with self.assertRaises(wire.Closed):
            wire.Peer(self.submitter.port, bytes.fromhex(self.submitter.id),
                      key=peer.key)
        r = self.submitter.cli("ping", peer.key.public.hex())
        self.assertNotEqual(r.code, 0)
        self.assertIn("whose hash has not", r.err)
        self.assertLess(r.seconds, 5 * support.SLOW)

    def test_half_of_each_unit_skipped(self):
        def half(start, end, bits, shares):
            # Every second of many stretches: no gap is long.
            return [n for n in shares() if (n - start >> bits + 2) % 2]
        self.dropped(self.cheat(half),
                     r"did not report|reported \d+ shares where")

    def test_another_range_is_not_this_one(self):
        self.dropped(self.cheat(lambda start, end, bits, shares:
                                shares() + [end + 1]),
                     r"out of its range")

    def test_shares_withheld(self):
        self.dropped(self.cheat(lambda *unit: []),
                     r"no share for too long|shares where")

    def test_what_it_says_again_and_again_is_not_kept(self):
        """Nobody counts shares below a prefix that was told before, but
        they were kept for the signature, as many as came."""
        class Parrot(wire.Worker):
            def _search(self, stream, job, lease, header, start, end, bits):
                self.units.append((start, end))
                say = wire.pack([start, wire.differences(
                    range(start, start + 4096))])
                for _ in range(33):
                    self.send_frame(2, say, stream)
        self.dropped(self.cheat(None, kind=Parrot), r"signature|signed")

    def test_a_silent_boaster_does_not_hold_the_job_up(self):
        peer = self.cheat(lambda *unit: None, rate=10**13)
        row, n, honest = self.solve(peer)
        self.assertEqual((row["hashes"], honest["hashes"]), (0, n))
        self.assertLess(max(stop - start for start, stop in peer.units),
                        n // 4)


CHEAT = os.path.join(os.path.dirname(support.BIN), "hnode-cheat")


@unittest.skipUnless(os.path.exists(CHEAT),
                     "needs hnode-cheat: cmake -DHN_CHEATS=ON")
class Built(support.MeshTest):
    """The cheating build: what can be seen of each way in seconds."""

    def meet(self, *ways):
        self.submitter = self.start("--no-dht")
        self.honest = self.worker("--no-dht")
        self.liars = {how: self.worker("--no-dht", "--cheat", how,
                                       program=CHEAT) for how in ways}
        nodes = [self.honest, *self.liars.values()]
        for n in nodes:
            n.cli("dial", self.submitter.address)
            self.submitter.until_peer(n)

        def offered():
            rows = self.submitter.peers()
            return all(rows[n.id]["offers"] for n in nodes)
        support.until(offered, 10)

    def solve(self, *more, seconds=SECONDS):
        """A job with every hit, right whatever happens; each liar's row."""
        rate = self.rate(self.honest)
        n = int(min(max(rate * seconds, 1 << 24), 1 << 31))
        end, _ = self.search(self.submitter, "--range", f"0-{n - 1}",
                             "--target", TARGET, "--all", *more)
        self.assertEqual(end["hashes"], n)
        hits = [h["nonce"] for h in end["hits"]]
        self.assertEqual(hits, sorted(set(hits)))
        self.assertEqual(
            [h for h in hits if h < 400000],
            wire.shares_of(bytes.fromhex(HEADER), 0, 400000, ZEROS))
        show = self.submitter.json("job", "show", end["job"], "--by-peer")
        rows = {r["id"]: r for r in show["by_peer"]}
        return {how: rows.get(n.id) for how, n in self.liars.items()}

    def caught(self, ways, *more):
        self.meet(*ways)
        rows = self.solve(*more)
        for how, why in ways.items():
            self.assertEqual(rows[how]["state"], "dropped", (how, rows))
            self.assertRegex(rows[how]["why"], why)
            self.assertEqual(rows[how]["hashes"], 0)

    def test_lies_about_shares(self):
        false = "whose hash has not|did not report"
        self.caught({"skip=0.25": "did not report|shares where|no share",
                     "invent": false, "replay": false, "flip=0.02": false})

    def test_winners_withheld_where_all_is_done_twice(self):
        # Elsewhere it is seen with the chance that the report states.
        self.meet("withhold")
        other = self.worker("--no-dht")
        other.cli("dial", self.submitter.address)
        self.submitter.until_peer(other)
        row = self.solve("--replicas", "2", seconds=2)["withhold"]
        self.assertEqual((row["state"], row["hashes"]), ("dropped", 0), row)
        self.assertRegex(row["why"], "did not (report|find)")

    def test_who_is_slow_or_picks_holds_nobody_up(self):
        self.meet("boast", "easy", "stall=3")
        rows = self.submitter.peers()
        self.assertGreater(rows[self.liars["boast"].id]["offers"][0]["rate"],
                           rows[self.honest.id]["offers"][0]["rate"] * 2)
        begin = time.monotonic()
        self.solve()
        self.assertLess(time.monotonic() - begin,
                        4 * SECONDS * support.SLOW + 10)

    def test_digests_made_up(self):
        self.meet("invent=0.2")
        path = self.path("in", "".join(f"{i}\n" for i in range(200000)))
        out = path + ".out"
        r = self.submitter.cli("submit", "batch", path, "--out", out,
                               "--watch", "--json")
        self.ok(r)
        with open(out, "rb") as f:
            for i in range(200000):
                want = hashlib.sha256(
                    hashlib.sha256(b"%d" % i).digest()).digest()
                self.assertEqual(f.read(32), want, i)
        seen = self.submitter.peers()[self.liars["invent=0.2"].id]
        self.assertEqual(seen["state"], "dropped", seen)

    def test_a_way_that_is_none(self):
        r = support.run("--cheat", "fly", dir=self.new_dir(), program=CHEAT)
        self.assertEqual(r.code, 64)
        self.assertIn("takes one of skip=0.25 withhold=1", r.err)
        # The real one knows nothing of it.
        self.assertEqual(support.run("--cheat", "skip",
                                     dir=self.new_dir()).code, 64)


if __name__ == "__main__":
    support.main()
