# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests: one, many, here or by a peer; order kept, failures told."""

import hashlib
import json
import os

from support import CAP, MeshTest, main, run


def sha(data, double=False):
    d = hashlib.sha256(data).digest()
    return (hashlib.sha256(d).digest() if double else d).hex()


class Hash(MeshTest):
    def test_one(self):
        node = self.start()
        for text in ("abc", "", "ünï", "x" * 1000):
            for algo, double in (("sha256", False), ("sha256d", True)):
                r = self.ok(node.cli("hash", algo, text))
                self.assertEqual(r.out.split()[0], sha(text.encode(), double))
        one = node.json("hash", "sha256", "abc")
        self.assertIn(sha(b"abc"), json.dumps(one))
        self.assertIn(node.id, json.dumps(one))  # names who computed it

    def test_by_a_peer(self):
        a, b, c = self.start(), self.worker(), self.start()
        for n in (b, c):
            self.ok(a.cli("dial", n.address))
        one = a.json("hash", "sha256d", "abc", "--peer", b.name)
        self.assertIn(sha(b"abc", True), json.dumps(one))
        self.assertIn(b.id, json.dumps(one))
        # c offers nothing.
        r = a.cli("hash", "sha256", "abc", "--peer", c.name)
        self.assertEqual(r.code, 77, r)

    def test_batch_keeps_order(self):
        node = self.start()
        lines = [f"line {i} " + "y" * (i % 97) for i in range(5000)]
        lines[7] = ""
        path = self.path("in.txt", "\n".join(lines) + "\n")
        want = [sha(x.encode()) for x in lines]
        r = self.ok(node.cli("hash", "sha256", "--batch", path))
        self.assertEqual([x.split()[0] for x in r.out.splitlines()], want)
        r = self.ok(node.cli("hash", "sha256", "--batch", "-",
                             input="\n".join(lines) + "\n"))
        self.assertEqual([x.split()[0] for x in r.out.splitlines()], want)

    def test_batch_by_a_peer(self):
        a, b = self.start(), self.worker()
        self.ok(a.cli("dial", b.address))
        lines = [os.urandom(i % 70).hex() for i in range(3000)]
        r = self.ok(a.cli("hash", "sha256d", "--batch", "-", "--hex",
                          "--peer", b.name, input="\n".join(lines) + "\n"))
        self.assertEqual([x.split()[0] for x in r.out.splitlines()],
                         [sha(bytes.fromhex(x), True) for x in lines])

    def test_last_line_without_its_end(self):
        node = self.start()
        r = self.ok(node.cli("hash", "sha256", "--batch", "-", input="a\nb"))
        self.assertEqual([x.split()[0] for x in r.out.splitlines()],
                         [sha(b"a"), sha(b"b")])
        r = self.ok(node.cli("hash", "sha256", "--batch", "-", input=""))
        self.assertEqual(r.out, "")

    def test_failed_lines_are_named(self):
        node = self.start()
        text = "00\nzz\n0102\n123\n"
        r = node.cli("hash", "sha256", "--batch", "-", "--hex", "--json",
                     input=text)
        self.assertEqual(r.code, 2, r)  # partly done
        last = json.loads(r.out.strip().split("\n")[-1])
        self.assertEqual(last["count"], 4)
        failed = [f["index"] if isinstance(f, dict) else f
                  for f in last["failed"]]
        self.assertEqual(failed, [1, 3])
        self.assertIn(sha(b"\0"), r.out)
        self.assertIn(sha(b"\1\2"), r.out)

    def test_long_lines(self):
        node = self.start()
        big = "z" * 300000
        r = self.ok(node.cli("hash", "sha256", "--batch", "-",
                             input=f"a\n{big}\nb\n"))
        self.assertEqual([x.split()[0] for x in r.out.splitlines()],
                         [sha(x.encode()) for x in ("a", big, "b")])

    def test_without_a_node(self):
        d = self.new_dir()
        r = self.ok(run("hash", "sha256", "abc", dir=d))
        self.assertEqual(r.out.split()[0], sha(b"abc"))
        r = self.ok(run("hash", "sha256d", "--batch", "-", dir=d,
                        input="a\nb\n"))
        self.assertEqual(r.out.split(), [sha(b"a", True), sha(b"b", True)])
        self.assertEqual(os.listdir(d), [])

    def test_wrong_use(self):
        node = self.start()
        for args in (["sha256"], ["md5", "x"], [],
                     ["sha256", "--batch", "/no/such"],
                     ["sha256", "zz", "--hex"]):
            r = node.cli("hash", *args)
            self.assertNotIn(r.code, (0, 69, 70), (args, r))
        self.assertEqual(node.cli("hash", "md5", "x").code, 64)


class Topic(MeshTest):
    def test_offer_and_stop(self):
        node = self.start("--threads", "1")
        offers = node.json("offer", CAP)
        self.assertEqual([o["name"] for o in offers["offers"]], [CAP])
        self.assertIn(CAP, self.ok(node.cli("offer")).out)
        self.ok(node.cli("offer", CAP, "--stop"))
        self.assertEqual(node.status()["offers"], [])
        r = node.cli("offer", "hash/nonsense")
        self.assertNotIn(r.code, (0, 69, 70), r)

    def test_measured_rate_is_told(self):
        node = self.worker()
        offer, = node.status()["offers"]
        self.assertGreater(offer["rate"], 1000)


if __name__ == "__main__":
    main()
