# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that survive their node: killed at any moment, started again."""

import json
import os
import random
import signal
import time

from support import HASH, HEADER, NONCE, SLOW, MeshTest, main, run, until

FAR = "00" * 31 + "01"  # nobody finds a hash below this


class Durable(MeshTest):
    def pair(self):
        """A worker, and a submitter that dials it again by itself."""
        w = self.worker()
        s = self.start("--no-dht")
        self.ok(s.cli("dial", w.address))
        return w, s

    def submit(self, s, first, last, *args):
        return s.json("submit", "search", "--header", HEADER, "--range",
                      f"{first}-{last}", *args)["job"]

    def again(self, s):
        """Dies and starts with the same directory."""
        s.kill()
        began = time.monotonic()
        s = self.start("--no-dht", dir=s.dir)
        self.started = time.monotonic() - began
        return s

    def show(self, s, job):
        return s.json("job", "show", job, "--units", "--by-peer")

    def words(self, s, job):
        """But for what is said of its peers' other jobs."""
        end = self.show(s, job)
        for p in end["by_peer"]:
            for key in [k for k in p if k.startswith("all_")]:
                del p[key]
        return end

    def check_sums(self, end, n):
        self.assertEqual(end["hashes"], n, end)
        self.assertEqual(sum(p["hashes"] for p in end["by_peer"]), n)

    def test_killed_again_and_again(self):
        w, s = self.pair()
        rng = random.Random(3)
        # The hit stands near the end of what is left to do.
        n = int(self.rate(w) * 6)
        first = NONCE - n + 1000
        job = self.submit(s, first, first + n - 1, "--all")
        kills, times = 0, []
        deadline = time.monotonic() + 120 * SLOW
        while kills < 6 and time.monotonic() < deadline:
            wait = rng.random() * 1.5
            stop = time.monotonic() + wait
            while time.monotonic() < stop:
                s.wait_news(stop - time.monotonic())
            s = self.again(s)
            kills += 1
            times.append(self.started)
            self.assertIn(job, [j["job"] for j in s.json("jobs")["jobs"]])
        until(lambda: self.show(s, job)["state"] == "done", 60,
              lambda: f"{self.show(s, job)}\n{s.tail()}")
        end = self.show(s, job)
        self.check_sums(end, n)
        self.assertEqual([h["nonce"] for h in end["hits"]], [NONCE])
        self.assertEqual(end["hits"][0]["hash"], HASH)
        self.assertEqual(end["by"], w.id)
        self.assertGreater(end["seconds"], 0)
        # Once ended it stays so, word for word.
        words = self.words(s, job)
        s = self.again(s)
        self.assertEqual(self.words(s, job), words)
        print(f"{kills} kills; ready again after "
              f"{max(times):.2f} s at most", flush=True)

    def test_progress_is_kept(self):
        """At most about a second of work is done twice."""
        w, s = self.pair()
        n = int(self.rate(w) * 6)
        job = self.submit(s, 0, n - 1, "--target", FAR)
        until(lambda: self.show(s, job)["percent"] > 45, 60)
        before = self.show(s, job)
        s = self.again(s)
        after = self.show(s, job)
        self.assertGreater(after["hashes"],
                           before["hashes"] - 2.5 * SLOW * n / 6)
        self.assertGreater(after["seconds"], 0)
        self.assertIn(after["state"], ("running", "done"))
        until(lambda: self.show(s, job)["state"] == "done", 60)
        self.check_sums(self.show(s, job), n)

    def test_killed_right_after_the_answer(self):
        """What job.submit has answered is on disk."""
        s = self.start()
        for _ in range(5):
            job = self.submit(s, 0, 999, "--wait", "10m")
            s = self.again(s)
            self.assertEqual(self.show(s, job)["state"], "queued")
        self.assertEqual(len({j["job"] for j in s.json("jobs")["jobs"]}), 5)

    def test_what_was_found_is_on_disk(self):
        """Killed when the watcher has the result."""
        w, s = self.pair()
        for k in range(3):
            end, _ = self.search(s, "--range", f"{NONCE - 1000 - k}-{NONCE}")
            s = self.again(s)
            again = self.show(s, end["job"])
            self.assertEqual(again["state"], "done")
            self.assertEqual(again["nonce"], NONCE)
            self.assertEqual(again["by"], w.id)
            until(lambda: s.peers().get(w.id, {}).get("state") == "ok", 20)

    def test_canceled_stays_canceled(self):
        w, s = self.pair()
        job = self.submit(s, 0, 2 ** 32 - 1, "--target", FAR)
        until(lambda: self.show(s, job)["hashes"], 20)
        self.ok(s.cli("job", "cancel", job))
        s = self.again(s)
        self.assertEqual(self.show(s, job)["state"], "canceled")
        self.assertEqual(s.status()["jobs_open"], 0)

    def test_stopped_goes_on_and_can_be_watched(self):
        w, s = self.pair()
        n = int(self.rate(w) * 4)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", FAR,
                            "--watch", "--json")
        watch.wait_line('"hashes": *[1-9]')
        job = json.loads(watch.out[0])["job"]
        self.assertEqual(s.stop(), 0)
        self.assertEqual(watch.wait(), 75, watch.tail())
        self.assertIn(job, watch.lines[-1])
        s = self.start("--no-dht", dir=s.dir)
        again = s.json("jobs")["jobs"]
        self.assertEqual([j["job"] for j in again], [job])
        until(lambda: self.show(s, job)["state"] == "done", 60)
        self.check_sums(self.show(s, job), n)

    def test_own_device_goes_on(self):
        """The submitter is its own worker; its other self's units come back."""
        s = self.worker()
        n = int(self.rate(s) * 4)
        job = self.submit(s, 0, n - 1, "--target", FAR)
        until(lambda: self.show(s, job)["hashes"], 20)
        s.kill()
        s = self.worker(dir=s.dir)
        until(lambda: self.show(s, job)["state"] == "done", 60)
        self.check_sums(self.show(s, job), n)

    def test_many_ended_ones_are_remembered(self):
        s = self.worker()
        made = [self.submit(s, 100 * k, 100 * k + 99, "--target", FAR)
                for k in range(40)]
        until(lambda: all(j["state"] == "done"
                          for j in s.json("jobs")["jobs"]), 30)
        before = s.json("jobs")["jobs"]
        s = self.again(s)
        self.assertEqual(s.json("jobs")["jobs"], before)
        self.assertEqual({j["job"] for j in before}, set(made))
        self.assertNotIn(self.submit(s, 0, 9), made)

    def test_watch_of_a_job_that_goes_on(self):
        w, s = self.pair()
        n = int(self.rate(w) * 5)
        job = self.submit(s, 0, n - 1, "--target", FAR)
        until(lambda: self.show(s, job)["hashes"], 20)
        s = self.again(s)
        watch = self.follow(s, "job", "watch", job, "--json")
        watch.wait_line('"hashes": *[1-9]', 30)
        other = self.follow(s, "job", "watch", job[:4])
        other.signal(signal.SIGINT)  # leaves, and cancels nothing
        other.wait()
        self.assertEqual(watch.wait(60), 1, watch.tail())
        end = json.loads(watch.out[-1])
        self.assertEqual((end["job"], end["hashes"]), (job, n))
        self.assertEqual(s.cli("job", "watch", job).code, 1)
        self.assertEqual(s.cli("job", "watch", "ffffffff").code, 1)


class Database(MeshTest):
    def test_check_and_backup(self):
        s = self.start()
        job = s.json("submit", "search", "--header", HEADER, "--wait",
                     "10m")["job"]
        d = s.json("db", "check")  # while it runs
        self.assertEqual((d["whole"], d["open"], d["lost"], d["wrong"]),
                         (True, 1, 0, []))
        copy = os.path.join(self.new_dir(), "copy.db")
        self.assertEqual(s.json("db", "backup", copy)["file"], copy)
        self.assertEqual(os.stat(copy).st_mode & 0o777, 0o600)
        r = s.cli("db", "backup", copy)
        self.assertEqual(r.code, 1)
        self.assertIn("already", r.err)
        self.ok(s.cli("job", "cancel", job))
        self.assertEqual(s.stop(), 0)
        r = self.ok(s.cli("db", "check"))
        self.assertIn("whole", r.out)
        self.assertIn("0 open, 1 ended", r.out)
        # Back to the copy.
        for end in ("", "-wal", "-shm"):
            if os.path.exists(os.path.join(s.dir, "hnode.db" + end)):
                os.unlink(os.path.join(s.dir, "hnode.db" + end))
        os.rename(copy, os.path.join(s.dir, "hnode.db"))
        s = self.start(dir=s.dir)
        self.assertEqual(s.json("job", "show", job)["state"], "queued")

    def test_none_and_empty(self):
        where = self.new_dir()
        r = run("db", "check", dir=where)
        self.assertEqual(r.code, 1)
        self.assertIn("no database", r.err)
        path = os.path.join(where, "hnode.db")
        with open(path, "wb"):
            pass
        r = run("db", "check", dir=where)
        self.assertEqual(r.code, 78)
        self.assertIn("lost", r.err)
        node = self.start(dir=where)  # and the node says so, too
        self.assertTrue(any("lost" in line for line in node.lines))

    def test_damaged(self):
        """What is read of it is true; it says what to do, and doing it
        helps."""
        s = self.worker()
        end, _ = self.search(s, "--range", f"{NONCE - 10}-{NONCE}")
        for k in range(20):
            s.json("submit", "search", "--header", HEADER, "--range",
                   f"{k}-{k + 5}", "--target", FAR)
        self.assertEqual(s.stop(), 0)
        path = os.path.join(s.dir, "hnode.db")
        with open(path, "rb") as f:
            whole = f.read()
        rng = random.Random(5)
        seen = {0: 0, 1: 0, 78: 0}
        for turn in range(40):
            # Anywhere; and near the end, where no table is described.
            at = rng.randrange(len(whole) - 8192 if turn % 2 else 1,
                               len(whole))
            with open(path, "wb") as f:
                f.write(whole[:at])
            r = s.cli("db", "check", "--json")
            self.assertIn(r.code, (1, 78), r)
            seen[r.code] += 1
            if r.out.strip():
                d = json.loads(r.out)
                self.assertFalse(d["whole"])
                self.assertTrue(d["wrong"])
                self.assertLessEqual(d["open"] + d["ended"], 21)
        self.assertTrue(seen[1], seen)
        refused = self.start(ready=False, dir=s.dir)
        self.assertEqual(refused.wait(), 78)
        said = "\n".join(refused.lines)
        self.assertIn("hnode db check", said)
        r = s.cli("db", "backup", os.path.join(self.new_dir(), "x"))
        self.assertEqual(r.code, 78, r)
        os.rename(path, path + ".damaged")
        new = self.start(dir=s.dir)
        self.assertEqual(new.json("jobs")["jobs"], [])
        self.assertEqual(new.id, s.id)
        self.assertTrue(end["found"])


if __name__ == "__main__":
    main()
