# SPDX-License-Identifier: GPL-3.0-or-later
"""Lenders decide: what others get of a machine, and when.

The machine's sensors are a made-up tree (--sensors), whose counters a thread
moves on, as a kernel would.
"""

import os
import threading

from support import CAP, HEADER, MeshTest, main, objects, until

FAR = "0" * 63 + "1"


class Machine:
    """/proc, /sys as a node's --sensors reads them."""

    def __init__(self, test):
        self.dir = test.new_dir()
        self.busy = 0  # percent, by others
        self._ticks = [0, 0]
        self._end = threading.Event()
        self.put("proc/self/stat", "1 (x) R" + " 0" * 20 + "\n")
        self._tick()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        test.addCleanup(self._thread.join)
        test.addCleanup(self._end.set)

    def put(self, path, text):
        full = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + "~", "w", encoding="ascii") as f:
            f.write(text)
        os.rename(full + "~", full)

    def _tick(self):
        self._ticks[0] += self.busy
        self._ticks[1] += 100 - self.busy
        self.put("proc/stat", "cpu  {} 0 0 {} 0 0 0 0 0 0\n".format(
            *self._ticks))

    def _run(self):
        while not self._end.wait(0.05):
            self._tick()

    def heat(self, degrees):
        self.put("sys/class/hwmon/hwmon0/temp1_input", f"{degrees * 1000}\n")
        self.put("sys/class/hwmon/hwmon0/name", "fake\n")

    def mains(self, on):
        self.put("sys/class/power_supply/AC/type", "Mains\n")
        self.put("sys/class/power_supply/AC/online", f"{int(on)}\n")
        self.put("sys/class/power_supply/BAT0/type", "Battery\n")
        self.put("sys/class/power_supply/BAT0/capacity", "54\n")
        self.put("sys/class/power_supply/BAT0/status",
                 "Charging\n" if on else "Discharging\n")


class Lend(MeshTest):
    def lending(self, node):
        return node.json("offer")["lending"]

    def running(self, node):
        return sum(d["running"] + d["queued"]
                   for d in node.status()["devices"])

    def test_units_are_handed_back_when_somebody_sits_down(self):
        pc = Machine(self)
        a = self.worker("--sensors", pc.dir, "--when", "idle",
                        "--idle-after", "1s")
        a.wait_line(r"paused: this machine was not seen idle for 1 s yet")
        b = self.worker()
        s = self.start()
        for w in (a, b):
            self.ok(s.cli("dial", w.address))
        a.wait_line("lending again", 20)
        until(lambda: not s.peers()[a.id]["offers"][0]["paused"], 10)
        n = int(self.rate(b) * 5)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", FAR,
                            "--watch", "--json")
        until(lambda: self.running(a), 20)
        pc.busy = 38
        a.wait_line(r"paused: this machine is in use \(\d+ % by others\); "
                    r"again when it was idle for 1 s", 10)
        until(lambda: self.running(a) == 0, 5)
        row = until(lambda: (lambda o: o["paused"] and o)(
            s.peers()[a.id]["offers"][0]), 10)
        self.assertIn("in use", row["paused"])
        self.assertEqual(row["free"], 0)
        self.assertIn("paused: this machine is in use",
                      s.cli("peers").err + s.cli("peers").out)
        self.assertIn("paused: this machine is in use", a.cli("offer").out)
        self.assertIn("paused: this machine is in use", a.cli("status").out)
        self.assertEqual(watch.wait(60), 1, watch.tail())
        end = objects("\n".join(watch.out))[-1]
        self.assertEqual(end["hashes"], n)
        did = {p["id"]: p["hashes"] for p in s.json(
            "job", "show", end["job"], "--by-peer")["by_peer"]}
        self.assertGreater(did[a.id], 0)  # what it had done counts
        self.assertGreater(did[b.id], did[a.id])
        pc.busy = 0
        a.wait_line("lending again", 20, start=len(a.lines))
        end, _ = self.search(s, "--range", f"0-{int(n / 4)}", "--target", FAR,
                             code=1)

    def test_battery_heat_and_share(self):
        pc = Machine(self)
        pc.mains(True)
        pc.heat(50)
        w = self.worker("--sensors", pc.dir, "--on-battery", "never",
                        "--max-temp", "80C", "--share", "50%",
                        "--price", "7", "--region", "garage")
        full = self.rate(w)
        offer = w.json("offer")["offers"][0]
        self.assertEqual((offer["price"], offer["region"]), (7, "garage"))
        self.assertAlmostEqual(offer["rate"] / full, 0.5, delta=0.05)
        pc.heat(82)
        w.wait_line(r"hot \(82 C, at most 80 C\), so its share is 25.0 %", 10)
        pc.heat(95)
        w.wait_line(r"paused: too hot \(95 C", 10)
        pc.mains(False)
        w.wait_line(r"paused: this machine runs on battery \(54 %\)", 10)
        self.assertEqual(self.lending(w)["on_battery"], "yes")
        # A limit that is taken back holds no more.
        r = w.cli("offer", CAP, "--on-battery", "always", "--max-temp", "none")
        self.ok(r)
        self.assertTrue(self.lending(w)["allowed"])
        self.assertEqual(self.lending(w)["share"], 500)

    def test_missing_sensors_are_said(self):
        w = self.worker("--sensors", self.new_dir(), "--max-temp", "60C",
                        "--on-battery", "never")
        until(lambda: self.lending(w)["blind"], 10)
        self.assertEqual(self.lending(w)["blind"], "on-battery, max-temp")
        self.assertTrue(self.lending(w)["allowed"])
        self.assertIsNone(self.lending(w)["heat"])
        self.assertIn("no sensor here speaks for", w.cli("offer").out)
        self.ok(w.cli("offer", CAP, "--need-sensors", "yes"))
        w.wait_line("paused: no sensor tells", 10)

    def test_jobs_and_units_are_bounded(self):
        w = self.worker("--max-jobs", "1", "--max-units", "1")
        first, second = self.start(), self.start()
        for s in (first, second):
            self.ok(s.cli("dial", w.address))
        s = first.json("submit", "search", "--header", HEADER, "--target", FAR)
        until(lambda: self.lending(w)["jobs"] == 1, 10)
        self.assertEqual(w.json("offer")["offers"][0]["slots"], 1)
        t = second.json("submit", "search", "--header", HEADER,
                        "--target", FAR)["job"]
        for _ in range(10):
            now = self.lending(w)
            self.assertLessEqual((now["units"], now["jobs"]), (1, 1))
        self.assertEqual(second.json("job", "show", t)["hashes"], 0)
        self.ok(first.cli("job", "cancel", s["job"]))
        until(lambda: second.json("job", "show", t)["hashes"], 20)

    def test_wrong_limits_are_explained(self):
        w = self.start("--threads", "1")
        for args, says in ((("--share", "0%"), "1% to 100%"),
                           (("--hours", "25-3"), "23-07"),
                           (("--when", "never"), "idle or always"),
                           (("--max-temp", "hot"), "Celsius")):
            r = w.cli("offer", CAP, *args)
            self.assertEqual(r.code, 64, r)
            self.assertIn(says, r.err)
        self.assertEqual(w.cli("offer", "--share", "50%").code, 64)
        self.assertEqual(w.cli("offer", CAP, "--stop", "--share",
                               "50%").code, 64)
        self.assertEqual(w.json("offer")["offers"], [])


if __name__ == "__main__":
    main()
