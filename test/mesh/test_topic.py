# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that know one DHT address find each other by topic."""

import json
import re
import signal
import time

from support import (CAP, HASH, HEADER, NONCE, MeshTest, free_port, main,
                     until)


class Topics(MeshTest):
    def three(self):
        first = self.worker()
        second = self.worker("--bootstrap", first.dht)
        third = self.start("--bootstrap", first.dht)
        return first, second, third

    def test_three_nodes_solve_a_block(self):
        a, b, c = self.three()
        n = 3000000
        end, _ = self.search(c, "--range", f"{NONCE - n}-{NONCE + n}")
        self.assertEqual(end["nonce"], NONCE)
        self.assertEqual(end["hash"], HASH)
        self.assertIn(end["by"], (a.id, b.id))
        # Each found the others, though only one address was given.
        for x, y in ((a, b), (b, a)):
            x.until_peer(y, ("ok", "known"))
        rows = c.peers("--topic", CAP)
        self.assertEqual(set(rows), {a.id, b.id})
        for row in rows.values():
            self.assertEqual([o["name"] for o in row["offers"]], [CAP])

    def test_join_shows_within_ten_seconds(self):
        a = self.start()
        b = self.start("--bootstrap", a.dht)
        c = self.start("--bootstrap", a.dht)
        self.ok(b.cli("join", "my/topic"))
        row = c.until_peer(b, ("ok", "known"), 10, topic="my/topic")
        self.assertEqual(row["offers"], [])  # joined, not offered
        text = self.ok(c.cli("peers", "--topic", "my/topic")).out
        self.assertIn(b.name, text)
        self.assertEqual(c.peers("--topic", "your/topic"), {})

    def test_leaving_is_seen_at_once(self):
        a = self.start()
        b = self.start("--bootstrap", a.dht)
        c = self.start("--bootstrap", a.dht)
        for n in (b, c):
            self.ok(n.cli("join", "t"))
        c.until_peer(b, ("ok", "known"), topic="t")
        self.ok(b.cli("leave", "t"))
        until(lambda: b.id not in c.peers("--topic", "t")
              or c.peers("--topic", "t")[b.id]["state"] == "left", 10)

    def test_left_is_not_lost(self):
        a = self.worker()
        b = self.worker("--bootstrap", a.dht)
        c = self.worker("--bootstrap", a.dht)
        for n in (b, c):
            a.until_peer(n)
        self.assertEqual(b.stop(), 0)
        a.until_peer(b, ("left",), 5)
        c.kill()
        a.until_peer(c, ("lost", "retry", "dialling"), 10)
        text = self.ok(a.cli("peers")).out
        self.assertRegex(text, re.escape(b.name) + r".*\bleft\b")

    def test_user_is_no_worker(self):
        a = self.worker()
        b = self.start("--bootstrap", a.dht, "--role", "use")
        r = b.cli("offer", CAP)
        self.assertNotIn(r.code, (0, 70), r)
        end, _ = self.search(b, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertEqual(end["by"], a.id)
        found = a.json("find", "--cap", CAP)
        rows = found["peers"] if isinstance(found, dict) else found
        self.assertNotIn(b.id, [p["id"] for p in rows])
        self.assertEqual(b.status()["role"], "use")

    def test_server_is_found_and_looks_for_nobody(self):
        a = self.start("--role", "serve", "--offer", CAP, "--threads", "1")
        b = self.worker("--bootstrap", a.dht)
        c = self.start("--bootstrap", a.dht)
        until(lambda: set(c.peers("--topic", CAP)) == {a.id, b.id}, 20)
        end, _ = self.search(c, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertIn(end["by"], (a.id, b.id))
        self.assertEqual(a.status()["role"], "serve")

    def test_worker_without_a_port_finds_who_wants_it(self):
        a = self.start()
        s = self.start("--bootstrap", a.dht)
        w = self.worker("--bootstrap", a.dht, "--no-listen")
        # s cannot dial w: w must learn that s wants work done, and dial.
        end, _ = self.search(s, "--range", f"{NONCE - 100000}-{NONCE}",
                             timeout=90)
        self.assertEqual(end["by"], w.id)

    def test_mesh_restarts_without_its_bootstrap(self):
        a = self.worker()
        b = self.worker("--bootstrap", a.dht)
        c = self.start("--bootstrap", a.dht)
        self.search(c, "--range", f"{NONCE}-{NONCE}")
        self.ok(c.cli("ping", b.name))
        b.until_peer(a)
        for n in (a, b, c):
            self.assertEqual(n.stop(), 0)
        # The first one stays away; ports and peers are remembered.
        dead = f"127.0.0.1:{a.port}"
        b2 = self.start("--offer", CAP, "--threads", "1", "--bootstrap", dead,
                        dir=b.dir)
        c2 = self.start("--bootstrap", dead, dir=c.dir)
        self.assertEqual(b2.port, b.port)
        end, _ = self.search(c2, "--range", f"{NONCE - 1000}-{NONCE}",
                             timeout=90)
        self.assertEqual(end["by"], b2.id)

    def test_bootstrap_that_does_not_answer_is_said(self):
        dead = f"127.0.0.1:{free_port()}"
        a = self.start("--bootstrap", dead)
        until(lambda: any(dead in r for r in a.status()["reasons"]), 30,
              lambda: str(a.status()))
        r = a.cli("status")
        self.assertEqual(r.code, 2, r)
        self.assertIn(dead, r.out + r.err)

    def test_find_by_rate(self):
        a, b, c = self.three()
        c.json("find", "--cap", CAP)

        def found(*args):
            r = c.json("find", "--cap", CAP, *args, code=(0, 75, 1))
            rows = r["peers"] if isinstance(r, dict) and "peers" in r else r
            return {p["id"]: p for p in rows} if rows else {}
        until(lambda: set(found()) == {a.id, b.id}, 15)
        until(lambda: set(found("--min-rate", "1kH")) == {a.id, b.id}, 15)
        self.assertEqual(found("--min-rate", "900TH"), {})
        until(lambda: set(found("--max-rtt", "1s")) == {a.id, b.id}, 15)
        for row in found().values():
            self.assertIn("age_ms", row)  # how old what we know is

    def test_wide_shows_what_a_node_has(self):
        a = self.worker()
        b = self.start("--bootstrap", a.dht)
        b.until_peer(a, topic=CAP)
        row = until(lambda: (r := b.peers()[a.id])["cores"] and r, 10)
        self.assertGreater(row["ram_mib"], 0)
        self.assertIn("scalar", row["cpu"])
        self.assertGreater(row["offers"][0]["rate"], 0)
        text = self.ok(b.cli("peers", "--wide")).out
        for word in ("CORES", "RAM", "SOFTWARE", "hnode 0.", a.id):
            self.assertIn(word, text)

    def test_topics_that_are_none(self):
        a = self.start()
        for text in ("", "a b", "x" * 300, "\n"):
            self.assertEqual(a.cli("join", text).code, 64, text)
        self.assertNotIn(a.cli("leave", "never/joined").code, (69, 70))

    def test_topic_id_is_the_same_everywhere(self):
        a, b = self.start(), self.start()
        x = a.json("topic", "id", "infer/my-model")
        self.assertEqual(x, b.json("topic", "id", "infer/my-model"))
        self.assertRegex(a.cli("topic", "id", "infer/my-model").out,
                         r"\b[0-9a-f]{64}\b")
        self.assertNotEqual(x, a.json("topic", "id", "infer/other"))

    def test_newcomer_after_the_work_began(self):
        a = self.worker()
        s = self.start("--bootstrap", a.dht)
        s.until_peer(a, ("ok", "known"), topic=CAP)
        n = int(self.rate(a) * 12)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target",
                            "00" * 31 + "01", "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        b = self.worker("--bootstrap", a.dht)
        self.assertEqual(watch.wait(60), 1, watch.tail())
        end = json.loads(watch.out[-1])
        self.assertEqual(end["hashes"], n)
        self.assertEqual(end["peers"], 2)
        rows = s.json("job", "show", end["job"], "--by-peer")["by_peer"]
        self.assertEqual({r["id"] for r in rows if r["hashes"]},
                         {a.id, b.id})


class Reconnect(MeshTest):
    def test_peer_that_comes_back_is_dialled_again(self):
        a = self.worker()
        s = self.start("--bootstrap", a.dht)
        self.search(s, "--range", f"{NONCE}-{NONCE}")
        a.kill()
        s.until_peer(a, ("lost", "retry", "dialling"), 5)
        again = self.worker(dir=a.dir)
        self.assertEqual(again.port, a.port)
        s.until_peer(again, ("ok",), 30)
        end, _ = self.search(s, "--range", f"{NONCE}-{NONCE}")
        self.assertEqual(end["by"], a.id)

    def test_stopped_process_is_noticed_when_idle(self):
        a = self.start("--ping-interval", "1s")
        s = self.start("--ping-interval", "1s")
        self.ok(s.cli("dial", a.address))
        a.signal(signal.SIGSTOP)
        try:
            s.until_peer(a, ("lost", "retry", "dialling"), 6)
        finally:
            a.signal(signal.SIGCONT)
        # It lives: they meet again by themselves.
        s.until_peer(a, ("ok",), 30)

    def test_killed_and_started_at_once(self):
        """The newer process of a key counts; the dead one's session goes."""
        a = self.worker()
        s = self.start()
        self.ok(s.cli("dial", a.address))
        a.kill()
        again = self.worker(dir=a.dir)
        self.ok(again.cli("dial", s.address))
        self.ok(s.cli("ping", a.id))
        self.assertFalse(any("twice" in r for r in s.status()["reasons"]))

    def test_stopped_process_is_noticed_while_it_owes(self):
        a = self.worker()
        b = self.worker()
        s = self.start()
        for n in (a, b):
            self.ok(s.cli("dial", n.address))
        n = int(self.rate(a) * 10)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target",
                            "00" * 31 + "01", "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        began = time.monotonic()
        a.signal(signal.SIGSTOP)
        try:
            s.until_peer(a, ("lost", "retry", "dialling"), 8)
            self.assertLess(time.monotonic() - began, 7)
            self.assertEqual(watch.wait(60), 1)
        finally:
            a.signal(signal.SIGCONT)
        self.assertEqual(json.loads(watch.out[-1])["hashes"], n)


if __name__ == "__main__":
    main()
