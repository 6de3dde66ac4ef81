# SPDX-License-Identifier: GPL-3.0-or-later
"""valgrind finds nothing in the start, work and stop of a node."""

import os
import shutil
import unittest

from support import CAP, NONCE, TOP, MeshTest, main

SUPP = os.path.join(TOP, "test", "valgrind.supp")


@unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
class Clean(MeshTest):
    def node(self, *flags):
        return self.start(*flags, ready=False, prefix=(
            # One thread runs at a time: without turns, one that hashes may
            # keep the loop waiting for ever.
            "valgrind", "--fair-sched=yes", "--leak-check=full", "--show-leak-kinds=definite,"
            "indirect", "--errors-for-leak-kinds=definite,indirect",
            "--error-exitcode=99", "--track-fds=yes",
            f"--suppressions={SUPP}"))

    def finish(self, node):
        node.prefix = []  # its client verbs run without valgrind
        node.signal(15)
        code = node.wait(60)
        self.assertEqual(code, 0, node.tail(120))

    def ready(self, node):
        node.prefix = []
        return node.ready(120)

    def test_start_and_stop(self):
        self.finish(self.ready(self.node()))

    def test_a_job_and_a_peer(self):
        peer = self.start()
        node = self.ready(self.node("--offer", CAP, "--threads", "1",
                                    "--kernel", "scalar", "--bootstrap",
                                    peer.dht))
        self.ok(peer.cli("dial", node.address))
        end, _ = self.search(node, "--range", f"{NONCE - 100}-{NONCE}")
        self.assertEqual(end["nonce"], NONCE)
        self.finish(node)


if __name__ == "__main__":
    main()
