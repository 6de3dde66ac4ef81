# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's backup ends it when its submitter is gone, and gives it back."""

import os
import signal

from support import HEADER, MeshTest, main, until

FAR = "00" * 31 + "01"  # nobody finds a hash below this
TAKE = ("--backup-accept", "any", "--backup-takeover", "2s",
        "--ping-interval", "1s")


class Backup(MeshTest):
    def three(self):
        """A worker, a backup, a submitter; both know the worker."""
        w = self.worker()
        b = self.start("--no-dht", *TAKE)
        s = self.start("--no-dht")
        for node in (b, s):
            self.ok(node.cli("dial", w.address))
        self.ok(s.cli("dial", b.address))
        return w, b, s

    def submit(self, s, b, n):
        return s.json("submit", "search", "--header", HEADER, "--range",
                      f"0-{n - 1}", "--target", FAR, "--backup", b.id)["job"]

    def show(self, node, job):
        return node.json("job", "show", job, "--by-peer")

    def has(self, node, job):
        return job in [j["job"] for j in node.json("jobs")["jobs"]]

    def check_whole(self, end, n):
        self.assertEqual(end["state"], "done", end)
        self.assertEqual(end["hashes"], n, end)
        self.assertEqual(sum(p["hashes"] for p in end["by_peer"]), n)

    def test_a_dead_submitter_finds_its_result(self):
        w, b, s = self.three()
        n = int(self.rate(w) * 6)
        job = self.submit(s, b, n)
        until(lambda: "has it" in (self.show(s, job)["backup_note"] or "") and
              self.show(s, job)["percent"] > 10, 30, s.tail)
        s.kill()
        until(lambda: self.has(b, job), 30, b.tail)
        until(lambda: self.show(b, job)["state"] == "done", 60, b.tail)
        self.check_whole(self.show(b, job), n)
        self.assertEqual(self.show(b, job)["taken_from"], s.name)
        s = self.start("--no-dht", dir=s.dir)
        until(lambda: self.show(s, job)["state"] == "done", 30,
              lambda: s.tail() + b.tail())
        self.check_whole(self.show(s, job), n)

    def test_two_halves_are_joined(self):
        """The submitter is only cut off, and both go on."""
        w, b, s = self.three()
        n = int(self.rate(w) * 9)
        job = self.submit(s, b, n)
        until(lambda: "has it" in (self.show(s, job)["backup_note"] or ""), 30,
              s.tail)
        os.kill(s.pid, signal.SIGSTOP)
        try:
            until(lambda: self.has(b, job), 60, b.tail)
        finally:
            os.kill(s.pid, signal.SIGCONT)
        until(lambda: self.show(s, job)["state"] == "done", 90,
              lambda: s.tail() + b.tail())
        self.check_whole(self.show(s, job), n)
        until(lambda: self.show(b, job)["state"] != "running", 30, b.tail)

    def test_who_may_be_one(self):
        w, b, s = self.three()
        out = s.cli("submit", "search", "--header", HEADER, "--backup",
                    "nobody-at-all")
        self.assertNotEqual(out.code, 0)
        self.assertIn("nobody-at-all", out.err)
        # The worker is in the open mesh, where nobody is one unasked.
        job = s.json("submit", "search", "--header", HEADER, "--target", FAR,
                     "--range", "0-4000000000", "--backup", w.id)["job"]
        until(lambda: "backup-accept" in (self.show(s, job)["backup_note"] or
                                          ""), 20,
              lambda: str(self.show(s, job)))
        self.ok(s.cli("job", "cancel", job))


if __name__ == "__main__":
    main()
