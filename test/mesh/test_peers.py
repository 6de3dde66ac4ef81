# SPDX-License-Identifier: GPL-3.0-or-later
"""One node and 500 peers: its memory is bounded, and nobody else waits."""

import os
import re
import statistics
import subprocess
import unittest

import support

PEERS = os.path.join(os.path.dirname(support.BIN), "test", "load_peers")
N = 500
KIB_EACH = 64  # of the node's memory, a session with all that belongs to it


@unittest.skipUnless(os.path.exists(PEERS), "needs load_peers")
class Load(support.MeshTest):
    def ping_us(self, node, other):
        """The median of some."""
        return statistics.median(
            node.json("ping", other.id, "-c", "30")["rtt_us"])

    def test_five_hundred_peers(self):
        node = self.worker("--no-dht")
        other = self.start("--no-dht")
        other.cli("dial", node.address)
        other.until_peer(node)
        alone = self.ping_us(other, node)
        before = node.status()

        peers = support.Process([PEERS, node.id, str(node.port), str(N)],
                                stdin=subprocess.PIPE)
        self.addCleanup(peers.close)
        peers.wait_line(f"^up {N}$", 60)
        at = len(peers.lines)
        # Each peer has been pinged back and forth a few times by then.
        peers.wait_line(rf"^pings \d+ .* up {N} ", 10, start=at + 3)
        beside = self.ping_us(other, node)
        self.assertLess(beside, max(2 * alone, 5000 * support.SLOW))

        # It works for others as before.
        n = 1 << 24
        end, _ = self.search(other, "--range", f"0-{n - 1}", "--target",
                             "0000" + "f" * 60, "--all")
        self.assertEqual(end["hashes"], n)

        m = re.search(r"p50 (\d+) us longest (\d+) us", peers.lines[-1])
        during = node.status()
        self.assertEqual(during["sessions"], N + 1)
        if support.SLOW == 1:  # a sanitizer's memory is its own
            each = (during["rss_kib"] - before["rss_kib"]) / N
            self.assertLess(each, KIB_EACH)
            print(f"{each:.0f} KiB a peer; ping {alone} us alone, "
                  f"{beside} us beside {N} peers, whose median is "
                  f"{m[1]} us", end=" ", flush=True)
        peers.p.stdin.close()
        self.assertEqual(peers.wait(20), 0, peers.tail())
        support.until(lambda: node.status()["sessions"] == 1, 20)


if __name__ == "__main__":
    support.main()
