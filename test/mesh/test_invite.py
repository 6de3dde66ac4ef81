# SPDX-License-Identifier: GPL-3.0-or-later
"""Private meshes: invite, join, keep strangers out, change the key."""

import os
import stat
import subprocess
import time

from support import (BIN, CAP, NONCE, MeshTest, Process, clean_env, main, run,
                     until)


class Private(MeshTest):
    def invite(self, node, *args):
        return node.json("invite", "--yes", *args)["invite"]

    def owner(self):
        a = self.start("--offer", CAP, "--threads", "1")
        return a, self.invite(a)

    def test_invite_is_all_a_second_machine_needs(self):
        a, word = self.owner()
        self.assertNotIn(" ", word)
        b = self.start("--join", word)
        a.until_peer(b)
        for n in (a, b):
            self.assertEqual(n.status()["mesh"], "home")
        self.assertEqual(a.status()["mesh_id"], b.status()["mesh_id"])
        end, _ = self.search(b, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertEqual(end["by"], a.id)

    def test_asks_before_it_leaves_public(self):
        a = self.start()
        r = a.cli("invite")  # nobody answers: no terminal
        self.assertNotEqual(r.code, 0, r)
        self.assertIn("--yes", r.err + r.out)
        self.assertEqual(a.status()["mesh"], "public")
        self.ok(a.cli("invite", "--yes", "--mesh", "lab"))
        self.assertEqual(a.status()["mesh"], "lab")

    def test_membership_is_stored(self):
        a, word = self.owner()
        b = self.start("--join", word)
        a.until_peer(b)
        b.stop()
        again = self.start(dir=b.dir)
        self.assertEqual(again.status()["mesh"], "home")
        a.until_peer(again, timeout=30)
        a.stop()
        for name in os.listdir(a.dir):
            st = os.lstat(os.path.join(a.dir, name))
            self.assertEqual(stat.S_IMODE(st.st_mode) & 0o077, 0, name)
        back = self.start(dir=a.dir)
        self.assertEqual(back.status()["mesh"], "home")
        back.until_peer(again, timeout=40)

    def test_join_from_standard_input_file_and_environment(self):
        a = self.start()
        word = self.invite(a, "--uses", "3")
        path = self.path("invite", word + "\n")
        b = self.start("--join", "@" + path)
        c = self.start(env=clean_env(HNODE_JOIN=word))
        for n in (b, c):
            a.until_peer(n)
        d = self.new_dir()
        p = Process([BIN, "--data-dir", d, "--bind", "127.0.0.1", "--port",
                     "0", "--no-lan", "--join", "-"], stdin=subprocess.PIPE)
        self.addCleanup(p.close)
        p.p.stdin.write((word + "\n").encode())
        p.p.stdin.close()
        until(lambda: run("status", dir=d).code in (0, 2), 15, p.tail)
        self.assertIn('"home"', run("status", "--json", dir=d).out)

    def test_one_use(self):
        a, word = self.owner()
        b = self.start("--join", word)
        a.until_peer(b)
        c = self.start("--join", word, ready=False)
        self.assertIn(c.wait(30), (77, 1), c.tail())

    def test_expired(self):
        a = self.start()
        word = self.invite(a, "--expires", "1s")
        b = self.start("--join", word)
        # Whoever comes in time may come; what is late, not. A word that is
        # over is known as such by its reader.
        self.assertEqual(b.status()["mesh"], "home")
        end = time.time() + 1.5
        word = self.invite(a, "--expires", "1s")
        until(lambda: time.time() > end, 5)
        c = self.start("--join", word, ready=False)
        self.assertIn(c.wait(30), (77, 1), c.tail())

    def test_mistyped(self):
        a, word = self.owner()
        letter = "q" if word[20] != "q" else "p"
        for wrong in (word[:20] + letter + word[21:], word[:-4], "hn1qqqq",
                      "nonsense", word + word):
            b = self.start("--join", wrong, ready=False)
            self.assertIn(b.wait(), (64, 77, 78), (wrong, b.tail()))

    def test_stranger_is_refused(self):
        a, word = self.owner()
        stranger = self.start()  # in public
        r = stranger.cli("dial", a.address)
        self.assertNotIn(r.code, (0, 70), r)
        # Another private mesh of the same name is another mesh.
        other = self.start()
        self.invite(other)
        r = other.cli("dial", a.address)
        self.assertNotIn(r.code, (0, 70), r)
        self.assertEqual(a.status()["sessions"], 0)

    def test_meshes_do_not_see_each_other(self):
        a, word = self.owner()
        b = self.start("--join", word)
        p = self.worker("--bootstrap", a.dht)
        q = self.start("--bootstrap", a.dht, "--bootstrap", p.dht)
        q.until_peer(p, ("ok", "known"), topic=CAP)
        until(lambda: a.peers().get(b.id), 10)
        self.assertNotIn(p.id, a.peers())
        self.assertNotIn(a.id, q.peers())

    def test_only_the_owner_invites(self):
        a, word = self.owner()
        b = self.start("--join", word)
        for args in (["invite", "--yes"], ["mesh", "rekey"]):
            r = b.cli(*args)
            self.assertEqual(r.code, 77, r)
            self.assertIn("owner import", r.err)

    def test_owner_moves_house(self):
        a, word = self.owner()
        b = self.start("--join", word)
        secret = self.path("pass", "correct horse\n")
        r = self.export(a, secret)
        key = r.out.strip().split()[0]
        self.assertNotIn("correct", key)
        r = self.import_(b, key, self.path("wrong", "battery\n"))
        self.assertNotEqual(r.code, 0, r)
        r = self.ok(self.import_(b, key, secret))
        word = self.invite(b)
        c = self.start("--join", word)
        b.until_peer(c)
        self.assertEqual(a.json("owner", "show")["owner"],
                         b.json("owner", "show")["owner"])

    def export(self, node, secret):
        return self.ok(node.cli("owner", "export", "--passphrase-file",
                                secret))

    def import_(self, node, key, secret):
        return node.cli("owner", "import", key, "--passphrase-file", secret)

    def test_rekey_leaves_one_out(self):
        a = self.start("--offer", CAP, "--threads", "1")
        word = self.invite(a, "--uses", "2")
        b = self.start("--join", word)
        c = self.start("--join", word)
        for n in (b, c):
            a.until_peer(n)
        r = a.json("mesh", "rekey", "--without", c.name)
        self.assertGreaterEqual(r["told"], 1)
        self.assertEqual(r["excluded"], 1)
        until(lambda: a.peers().get(c.id, {}).get("state") != "ok", 10)
        r = c.cli("dial", a.address)
        self.assertNotIn(r.code, (0, 70), r)
        r = c.cli("dial", b.address)
        self.assertNotIn(r.code, (0, 70), r)
        a.until_peer(b)
        end, _ = self.search(b, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertEqual(end["by"], a.id)
        # An old invite is worth nothing to it, a new one lets others in.
        d = self.start("--join", self.invite(a))
        a.until_peer(d)

    def test_node_that_was_off_during_a_rekey(self):
        a = self.start()
        b = self.start("--join", self.invite(a))
        a.until_peer(b)
        b.stop()
        a.json("mesh", "rekey")
        again = self.start(dir=b.dir)
        until(lambda: a.peers().get(b.id, {}).get("state") == "ok", 40,
              lambda: a.tail() + again.tail())
        self.ok(again.cli("ping", a.name))

    def test_secrets_are_not_logged(self):
        a = self.start("--log", "trace")
        word = self.invite(a)
        b = self.start("--join", word, "--log", "trace")
        a.until_peer(b)
        with open(os.path.join(a.dir, "node.key")) as f:
            seed = f.read().split()[3]
        for n in (a, b):
            text = "\n".join(n.lines)
            self.assertNotIn(word, text)
            self.assertNotIn(seed, text)


if __name__ == "__main__":
    main()
