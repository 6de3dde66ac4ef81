# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches over several nodes: found, complete, checked, ended."""

import random
import signal
import time

from support import (CAP, HASH, HEADER, NONCE, SLOW, MeshTest, digest, main,
                     objects, until)

FAR = "00" * 31 + "01"  # nobody finds a hash below this


class Search(MeshTest):
    def check_found(self, end, worker_ids):
        self.assertIs(end["found"], True)
        self.assertEqual(end["nonce"], NONCE)
        self.assertEqual(end["hash"], HASH)
        self.assertIn(end["by"], worker_ids)
        self.assertIsInstance(end["hashes"], int)
        self.assertGreater(end["seconds"], 0)
        self.assertTrue(0 <= end["checked"] <= 1)
        self.assertGreaterEqual(end["peers"], 1)

    def pair(self, *flags):
        """A worker and a submitter that offers nothing."""
        w = self.worker(*flags)
        s = self.start()
        self.ok(s.cli("dial", w.address))
        return w, s

    def test_one_node_finds_the_block(self):
        node = self.worker()
        end, _ = self.search(node, "--range",
                             f"{NONCE - 2000000}-{NONCE + 2000000}")
        self.check_found(end, [node.id])
        self.assertEqual(end["peers"], 1)

    def test_range_includes_both_ends(self):
        node = self.worker()
        for a, b in ((NONCE, NONCE), (NONCE - 1, NONCE), (NONCE, NONCE + 1)):
            end, _ = self.search(node, "--range", f"{a}-{b}")
            self.assertEqual(end["nonce"], NONCE)
        for a, b in ((NONCE - 1, NONCE - 1), (NONCE + 1, NONCE + 1)):
            end, _ = self.search(node, "--range", f"{a}-{b}", code=1)
            self.assertIsNone(end["nonce"])
            self.assertEqual(end["hashes"], 1)

    def test_empty_range_counts_what_was_tried(self):
        w, s = self.pair()
        end, _ = self.search(s, "--range", f"0-{9999999}", code=1)
        self.assertIs(end["found"], False)
        self.assertIsNone(end["nonce"])
        self.assertIsNone(end["hash"])
        self.assertIsNone(end["by"])
        self.assertEqual(end["hashes"], 10000000)
        self.assertEqual(end["peers"], 1)

    def test_last_nonces(self):
        node = self.worker()
        end, _ = self.search(node, "--range", "4294967290-4294967295",
                             "--target", "f" * 64, "--all")
        self.assertEqual([h["nonce"] for h in end["hits"]],
                         list(range(4294967290, 4294967296)))

    def test_all_hits_of_a_range(self):
        w, s = self.pair()
        rng = random.Random(7)
        start = rng.randrange(1 << 31)
        n = 40000
        want = [x for x in range(start, start + n)
                if digest(x).startswith("000")]
        self.assertTrue(want)
        target = "000" + "f" * 61
        end, _ = self.search(s, "--all", "--range", f"{start}-{start + n - 1}",
                             "--target", target)
        self.assertEqual([h["nonce"] for h in end["hits"]], want)
        for hit in end["hits"]:
            self.assertEqual(hit["hash"], digest(hit["nonce"]))
            self.assertEqual(hit["by"], w.id)
        self.assertEqual(end["nonce"], want[0])
        self.assertEqual(end["hashes"], n)

    def test_targets_in_every_form(self):
        node = self.worker()
        at = ("--range", f"{NONCE}-{NONCE}")
        diff1 = "00000000ffff" + "0" * 52
        for target, found in (("1a44b9f2", True), ("1d00ffff", True),
                              (diff1, True), ("diff1", True),
                              ("diff0.001", True), ("diff30000000000", True),
                              (HASH, True), ("diff100000000000", False),
                              (f"{int(HASH, 16) - 1:064x}", False)):
            end, _ = self.search(node, *at, "--target", target,
                                 code=0 if found else 1)
            self.assertIs(end["found"], found, target)
        for target in ("diff0", "diff-1", "1234", "g" * 64, "0" * 65, ""):
            r = node.cli("submit", "search", "--header", HEADER, *at,
                         "--target", target)
            self.assertEqual(r.code, 64, (target, r))

    def test_headers_in_every_form(self):
        node = self.worker()
        at = ("--range", f"{NONCE - 5}-{NONCE}")
        text = self.path("header.hex", HEADER + "\n")
        short = HEADER[:152]
        raw = self.path("header.bin")
        with open(raw, "wb") as f:
            f.write(bytes.fromhex(HEADER))
        for header in (HEADER.upper(), short, short + "00000000", text, raw):
            end, _ = self.search(node, *at, header=header)
            self.assertEqual(end["nonce"], NONCE, header)
        for header in ("00" * 79, "00" * 81, "zz" * 80, "/no/such/file", ""):
            r = node.cli("submit", "search", "--header", header, *at)
            self.assertNotIn(r.code, (0, 70, 69), (header, r))
            self.assertTrue(r.err.strip())

    def test_ranges_that_are_none(self):
        node = self.worker()
        for text in ("5-4", "0-4294967296", "-1-5", "a-b", "1", ""):
            r = node.cli("submit", "search", "--header", HEADER, "--range",
                         text)
            self.assertEqual(r.code, 64, (text, r))

    def test_nobody_to_do_it(self):
        node = self.start()
        r = node.cli("submit", "search", "--header", HEADER, "--wait", "1s",
                     "--watch", "--json")
        self.ok(r, 75)
        self.assertLess(r.seconds, 10 * SLOW)

    def test_terms_choose_who_works(self):
        w, s = self.pair("--region", "eu", "--price", "5")
        ask = ["submit", "search", "--header", HEADER, "--range", "0-999999",
               "--target", FAR, "--watch", "--wait", "1s"]
        for flags, why in ((("--region", "us"), "is in eu, and us is asked"),
                           (("--max-price", "4"), "asks 5 credits"),
                           (("--hardware-only",), "is a processor"),
                           (("--trust", "0.99"), "has a score of 0.5"),
                           (("--min-rate", "900TH"), "at least 900 TH/s")):
            r = self.ok(s.cli(*ask, *flags), 75)
            self.assertIn(why, r.err)
        r = self.ok(s.cli(*ask, "--region", "EU", "--max-price", "5",
                          "--balance", "least-busy"), 1)
        job = s.json("jobs")["jobs"][-1]["job"]
        terms = s.json("job", "show", job)["terms"]
        self.assertEqual((terms["region"], terms["balance"],
                          terms["max_price"]), ("EU", "least-busy", 5))
        self.assertIn("region EU", self.ok(s.cli("job", "show", job)).out)
        for flags in (("--trust", "2"), ("--balance", "fair"),
                      ("--replicas", "9"), ("--min-rate", "fast")):
            self.ok(s.cli(*ask, *flags), 64)

    def test_nobody_left(self):
        w, s = self.pair()
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--target", FAR, "--wait", "1s", "--watch",
                            "--json")
        watch.wait_line('"hashes": *[1-9]')
        w.kill()
        self.assertEqual(watch.wait(20), 75, watch.tail())

    def test_without_watch_prints_the_job(self):
        node = self.worker()
        r = self.ok(node.cli("submit", "search", "--header", HEADER,
                             "--range", f"{NONCE}-{NONCE}"))
        job = r.out.strip().split()[-1]
        again = node.json("submit", "search", "--header", HEADER,
                          "--range", f"{NONCE}-{NONCE}")["job"]
        self.assertNotEqual(job, again)
        for j in (job, again):
            until(lambda: node.json("job", "show", j)["state"] == "done", 10)
        self.assertEqual({x["job"] for x in self.jobs(node)}, {job, again})

    def jobs(self, node):
        rows = node.json("jobs")
        return rows["jobs"] if isinstance(rows, dict) else rows

    def test_progress_objects(self):
        w, s = self.pair()
        n = int(self.rate(w) * 3)
        end, progress = self.search(s, "--range", f"0-{n - 1}", "--target",
                                    FAR, code=1)
        self.assertEqual(end["hashes"], n)
        self.assertGreater(len(progress), 1)
        done = [p["hashes"] for p in progress]
        self.assertEqual(done, sorted(done))
        self.assertTrue(all(p["job"] == end["job"] for p in progress))

    def test_submitter_checks_what_it_is_told(self):
        w, s = self.pair()
        n = int(self.rate(w) * 4)
        end, _ = self.search(s, "--range", f"0-{n - 1}", "--target", FAR,
                             code=1)
        self.assertGreater(end["checked"], 0.001)
        show = s.json("job", "show", end["job"], "--by-peer")
        row, = show["by_peer"]
        self.assertEqual(row["id"], w.id)
        self.assertEqual(row["hashes"], n)
        self.assertGreater(row["shares"], 0)
        self.assertEqual(show["late"], 0)
        r = self.ok(s.cli("job", "show", end["job"], "--by-peer"))
        text = r.out + r.err
        self.assertIn(w.name, text)
        self.assertIn("unseen", text)  # what no check can rule out

    def test_units_are_disjoint_and_cover(self):
        workers = [self.worker() for _ in range(2)]
        s = self.start()
        for w in workers:
            self.ok(s.cli("dial", w.address))
        n = int(self.rate(workers[0]) * 4)
        end, _ = self.search(s, "--range", f"0-{n - 1}", "--target", FAR,
                             code=1)
        self.assertEqual(end["hashes"], n)
        self.assertEqual(end["peers"], 2)
        show = s.json("job", "show", end["job"], "--units")
        units = sorted((u["start"], u["end"]) for u in show["units"]
                       if u["state"] == "done")
        at = 0
        for a, b in units:
            self.assertEqual(a, at)
            at = b
        self.assertEqual(at, n)

    def test_killed_worker_loses_nothing(self):
        workers = [self.worker() for _ in range(3)]
        s = self.start()
        for w in workers:
            self.ok(s.cli("dial", w.address))
        n = int(self.rate(workers[0]) * 6)
        target = "000000" + "f" * 58
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", target,
                            "--all", "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        workers[1].kill()
        code = watch.wait(90)
        end = objects("\n".join(watch.out))[-1]
        self.assertEqual(end["hashes"], n, end)
        hits = [h["nonce"] for h in end["hits"]]
        self.assertEqual(code, 0 if hits else 1)
        self.assertEqual(hits, sorted(set(hits)))
        for h in end["hits"]:
            self.assertEqual(digest(h["nonce"]), h["hash"])
        # The same range on one node that nobody kills has the same hits.
        whole, _ = self.search(workers[0], "--range", f"0-{n - 1}",
                               "--target", target, "--all",
                               code=0 if hits else 1, timeout=120)
        self.assertEqual([h["nonce"] for h in whole["hits"]], hits)
        rows = s.json("job", "show", end["job"], "--by-peer")["by_peer"]
        states = {r["id"]: r["state"] for r in rows}
        self.assertEqual(states.get(workers[1].id), "lost", rows)
        self.assertEqual(s.peers()[workers[1].id]["state"], "lost")

    def test_worker_that_listens_to_nobody(self):
        s = self.start()
        w = self.worker("--no-listen")
        self.ok(w.cli("dial", s.address))
        self.assertEqual(w.status()["address"], [])
        end, _ = self.search(s, "--range", f"{NONCE - 1000000}-{NONCE}")
        self.check_found(end, [w.id])

    def running(self, *nodes):
        return sum(d["running"] + d["queued"] for n in nodes
                   for d in n.status()["devices"])

    def test_interrupt_stops_every_device(self):
        workers = [self.worker() for _ in range(2)]
        s = self.start()
        for w in workers:
            self.ok(s.cli("dial", w.address))
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--target", FAR, "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        until(lambda: self.running(*workers) >= 2, 10)
        began = time.monotonic()
        watch.signal(signal.SIGINT)
        self.assertEqual(watch.wait(), 130, watch.tail())
        until(lambda: self.running(*workers) == 0, 10)
        self.assertLess(time.monotonic() - began, 2 * SLOW)
        job, = self.jobs(s)
        self.assertEqual(job["state"], "canceled")
        self.assertGreater(job["hashes"], 0)  # what was done is kept

    def test_cancel_from_elsewhere(self):
        w, s = self.pair()
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--target", FAR, "--watch", "--json")
        m = watch.wait_line('"job": *"([0-9a-f]+)".*"hashes": *[1-9]')
        began = time.monotonic()
        self.ok(s.cli("job", "cancel", m.group(1)))
        until(lambda: self.running(w) == 0, 10)
        self.assertLess(time.monotonic() - began, 2 * SLOW)
        self.assertIn(watch.wait(), (1, 130), watch.tail())
        self.assertEqual(s.json("job", "show", m.group(1))["state"],
                         "canceled")

    def test_watcher_that_is_killed_leaves_no_work(self):
        w, s = self.pair()
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--target", FAR, "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        # Killed, it cannot cancel; the job goes on and can be canceled.
        watch.kill()
        job, = self.jobs(s)
        self.assertEqual(job["state"], "running")
        self.ok(s.cli("job", "cancel", job["job"]))
        until(lambda: self.running(w) == 0, 5)

    def test_submitter_that_is_killed_leaves_no_work(self):
        w, s = self.pair()
        s.json("submit", "search", "--header", HEADER, "--target", FAR)
        until(lambda: self.running(w), 10)
        s.kill()
        until(lambda: self.running(w) == 0, 5)

    def test_unknown_job(self):
        node = self.start()
        for verb in ("show", "cancel"):
            r = node.cli("job", verb, "ffffffff")
            self.assertEqual(r.code, 1, r)
            self.assertTrue(r.err.strip())

    def test_offer_stopped_while_it_works(self):
        workers = [self.worker() for _ in range(2)]
        s = self.start()
        for w in workers:
            self.ok(s.cli("dial", w.address))
        n = int(self.rate(workers[0]) * 6)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", FAR,
                            "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        self.ok(workers[0].cli("offer", CAP, "--stop"))
        until(lambda: self.running(workers[0]) == 0, 5)
        self.assertEqual(watch.wait(60), 1)
        self.assertEqual(objects("\n".join(watch.out))[-1]["hashes"], n)

    def test_offer_started_while_a_job_waits(self):
        s = self.start()
        w = self.start("--threads", "1")
        self.ok(s.cli("dial", w.address))
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"{NONCE - 100}-{NONCE}", "--watch",
                            "--json")
        watch.wait_line('"state": *"queued"')
        self.ok(w.cli("offer", CAP))
        self.assertEqual(watch.wait(30), 0, watch.tail())

    def test_watcher_that_does_not_read(self):
        """It is stopped with its pipe unread; the job ends without it."""
        w, s = self.pair()
        n = int(self.rate(w) * 3)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", FAR,
                            "--watch", "--json")
        job = watch.wait_line('"job": *"([0-9a-f]+)"').group(1)
        watch.signal(signal.SIGSTOP)
        try:
            until(lambda: s.json("job", "show", job)["state"] == "done", 30)
        finally:
            watch.signal(signal.SIGCONT)
        self.assertEqual(watch.wait(20), 1, watch.tail())
        self.assertEqual(objects("\n".join(watch.out))[-1]["hashes"], n)

    def test_open_jobs_are_bounded(self):
        node = self.start()
        for _ in range(64):
            node.json("submit", "search", "--header", HEADER, "--wait", "10m")
        r = node.cli("submit", "search", "--header", HEADER)
        self.assertEqual(r.code, 75, r)
        for job in self.jobs(node):
            self.ok(node.cli("job", "cancel", job["job"]))
        self.assertEqual({j["state"] for j in self.jobs(node)}, {"canceled"})

    def test_two_jobs_at_once(self):
        w, s = self.pair()
        n = int(self.rate(w) * 2)
        both = [self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"{k * n}-{k * n + n - 1}", "--target",
                            FAR, "--watch", "--json") for k in range(2)]
        for watch in both:
            self.assertEqual(watch.wait(60), 1, watch.tail())
            self.assertEqual(objects("\n".join(watch.out))[-1]["hashes"], n)

    def test_both_ends_submit_and_work(self):
        a, b = self.worker(), self.worker()
        self.ok(a.cli("dial", b.address))
        n = int(self.rate(a) * 2)
        both = [self.follow(x, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", FAR,
                            "--watch", "--json") for x in (a, b)]
        for watch in both:
            self.assertEqual(watch.wait(60), 1, watch.tail())
            self.assertEqual(objects("\n".join(watch.out))[-1]["hashes"], n)

    def test_human_output(self):
        node = self.worker()
        r = self.ok(node.cli("submit", "search", "--header", HEADER,
                             "--range", f"{NONCE - 10}-{NONCE}", "--watch"))
        self.assertIn(HASH, r.out)
        self.assertIn(node.name, r.out)
        self.assertNotIn("\033", r.out + r.err)
        self.assertNotIn("\r", r.out)


if __name__ == "__main__":
    main()
