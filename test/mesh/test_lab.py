# SPDX-License-Identifier: GPL-3.0-or-later
"""hnode lab: a bad network that a job survives, and nothing left of it."""

import glob
import json
import os
import shutil
import signal
import unittest

import support
from support import HEADER, digest, until

TARGET = "0000" + "f" * 60


class Lab(support.MeshTest):
    def setUp(self):
        # Its directory is in ours: what is left in it would be seen.
        self.home = self.new_dir()
        os.chmod(self.home, 0o700)
        self.env = support.clean_env(XDG_RUNTIME_DIR=self.home)
        self.pids = set()

    def lab(self, *args, code=0, **how):
        return self.ok(support.run("lab", *args, env=self.env, **how), code)

    def up(self, *args, **how):
        self.addCleanup(self.sweep)
        r = self.lab("up", "--json", *args, **how)
        lab = json.loads(r.out)
        self.pids |= {lab["pid"]} | {n["pid"] for n in lab["nodes"]}
        return lab

    def sweep(self):
        """Whatever a failed test leaves; silent when all is gone."""
        self.check_logs()
        support.run("lab", "down", env=self.env)

    def down(self):
        self.check_logs()
        self.lab("down")

    def check_logs(self):
        """Nobody else reads what a sanitizer has said there."""
        for path in glob.glob(f"{self.home}/*/log") + \
                glob.glob(f"{self.home}/*/*/log"):
            with open(path, encoding="utf-8", errors="replace") as f:
                text = f.read()
            m = support.FAULT.search(text)
            self.assertFalse(m, text[m.start():][:4000] if m else "")

    def fault(self, *args):
        lab = json.loads(self.lab("fault", "--json", *args).out)
        self.pids |= {n["pid"] for n in lab["nodes"]} - {0}
        return {n["node"]: n for n in lab["nodes"]}

    def run_at(self, node, *args, **how):
        return support.run("lab", "run", str(node), *args, env=self.env,
                           **how)

    def state(self):
        return json.loads(self.lab("watch", "--once", "--json").out)

    def follow(self, node, *args):
        p = support.Process([support.BIN, "lab", "run", str(node), *args],
                            env=self.env)
        self.addCleanup(p.close)
        return p

    def nothing_left(self):
        self.assertEqual(os.listdir(self.home), [])
        until(lambda: not any(map(alive, self.pids)), 5,
              lambda: f"still there: {[p for p in self.pids if alive(p)]}")

    def whole(self, end, n):
        """A job with every hit, over [0, n): exactly right."""
        self.assertEqual(end["hashes"], n)
        hits = [h["nonce"] for h in end["hits"]]
        self.assertEqual(hits, sorted(set(hits)))
        self.assertTrue(n / 65536 * .8 < len(hits) < n / 65536 * 1.2)
        for h in end["hits"][::97]:
            self.assertEqual(digest(h["nonce"], HEADER), h["hash"])


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended, whose parent has not looked yet, is no process.
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0] != "Z"


class Loopback(Lab):
    def test_a_job_on_a_bad_network(self):
        lab = self.up("--nodes", "5", "--loss", "5%", "--delay", "20ms",
                      "--seed", "7", "--", "--ping-interval", "2s")
        self.assertEqual([n["sessions"] for n in lab["nodes"]], [4] * 5)
        self.assertEqual(lab["loss_permille"], 50)
        # Every address is the relay's: they are as far away as we said.
        rows = [p for p in json.loads(
            self.run_at(1, "peers", "--json").out)["peers"]
            if p["path"] != "self"]
        self.assertEqual(len(rows), 4)
        for p in rows:
            self.assertGreater(p["rtt_us"], 35000)
        r = self.lab("up", code=1)
        self.assertIn("a lab is up already", r.err)

        n = 1 << 29
        job = self.follow(1, "submit", "search", "--header", HEADER,
                          "--range", f"0-{n - 1}", "--target", TARGET,
                          "--all", "--watch", "--json")
        job.wait_line(r'"percent": ?[1-9]', 20)
        self.assertEqual(self.fault("kill", "3")[3]["state"], "killed")
        self.assertEqual(self.fault("cut", "2")[2]["faults"], ["cut"])
        self.assertEqual(self.fault("slow", "4", "4")[4]["faults"],
                         ["slow 4"])
        healed = self.fault("heal", "2")
        self.assertEqual(healed[2]["faults"], [])
        self.assertEqual(job.wait(60), 0, job.tail())
        self.whole(json.loads(job.out[-1]), n)

        self.assertEqual(self.fault("start", "3")[3]["answers"], True)
        self.fault("heal", "all")
        until(lambda: all(n["sessions"] == 4 for n in self.state()["nodes"]),
              30, self.state)
        self.assertGreater(self.state()["lost"], 0)
        self.down()
        self.nothing_left()

    def test_a_cut_stands_between_two_halves(self):
        self.up("--nodes", "4", "--", "--ping-interval", "1s")

        def sees():
            return [n["sessions"] for n in self.state()["nodes"]]
        self.fault("cut", "3,4")
        until(lambda: sees() == [1, 1, 1, 1], 50, sees)
        self.fault("heal", "3,4")
        until(lambda: sees() == [3, 3, 3, 3], 30, sees)

    def test_a_clock_that_is_off_is_noticed(self):
        self.up("--nodes", "4")
        row = self.fault("skew", "2", "3600")[2]
        self.assertEqual(row["faults"], ["clock +3600 s"])

        def told():
            r = self.run_at(2, "status", "--json")
            return any("clock" in w for w in json.loads(r.out)["reasons"])
        until(told, 20)
        self.assertEqual(self.fault("heal", "2")[2]["faults"], [])
        self.assertEqual(self.run_at(2, "status").code, 0)

    @unittest.skipUnless(os.path.exists(os.path.join(
        os.path.dirname(support.BIN), "hnode-cheat")),
        "needs hnode-cheat: cmake -DHN_CHEATS=ON")
    def test_a_cheater_is_found_out(self):
        lab = self.up("--nodes", "3", "--cheaters", "1", "--cheat", "invent")
        self.assertEqual([n["cheat"] for n in lab["nodes"]],
                         [None, None, "invent"])
        n = 1 << 27
        r = self.run_at(1, "submit", "search", "--header", HEADER, "--range",
                        f"0-{n - 1}", "--target", TARGET, "--all", "--watch",
                        "--json")
        self.whole(json.loads(r.out.strip().split("\n")[-1]), n)
        rows = json.loads(self.run_at(1, "peers", "--json").out)["peers"]
        self.assertEqual(sorted(p["state"] for p in rows),
                         ["dropped", "ok", "ok"])

    def test_nothing_is_left_whatever_dies(self):
        lab = self.up("--nodes", "3")
        os.kill(lab["nodes"][1]["pid"], signal.SIGKILL)
        until(lambda: self.state()["nodes"][1]["state"] == "ended", 5)
        os.kill(lab["pid"], signal.SIGKILL)
        until(lambda: not any(map(alive, self.pids)), 5,
              "nodes outlive their lab")
        r = self.lab("watch", code=69)
        self.assertIn("hnode lab down", r.err)
        # Another may begin where it lay, or it is removed.
        self.up("--nodes", "2")
        os.kill(max(self.pids - {0}), 0)
        self.down()
        self.nothing_left()
        self.lab("down", code=69)

    def test_the_tutorial_is_true(self):
        with open(os.path.join(support.TOP, "node/lab/README.md"),
                  encoding="utf-8") as f:
            block = f.read().split("```sh\n")[1].split("```")[0]
        self.addCleanup(self.sweep)
        for line in block.strip().split("\n"):
            program, *words = line.split()
            self.assertEqual(program, "hnode")
            r = self.ok(support.run(*words, env=self.env))
            if "search" in words:
                self.assertIn(str(support.NONCE), self.run_at(
                    1, "job", "watch", r.out.split()[0]).out)
        self.nothing_left()

    def test_what_cannot_be_is_said(self):
        self.assertIn("lab up", self.lab("watch", code=69).err)
        self.assertIn("lab up", self.lab("run", "1", "peers", code=69).err)
        self.lab("fault", "kill", "x", code=64)
        self.lab("up", "--nodes", "65", code=64)
        self.lab("up", "--nodes", "2", "--cheaters", "2", code=64)
        self.lab("up", "--name", "a/b", code=64)
        bare = self.new_dir()  # without hnode-cheat beside it
        shutil.copy2(support.BIN, bare)
        r = support.run("lab", "up", "--cheaters", "1", env=self.env,
                        program=os.path.join(bare, "hnode"))
        self.assertEqual(r.code, 78)
        self.assertIn("HN_CHEATS", r.err)
        self.up("--nodes", "2")
        self.assertIn("no node 3", self.lab("fault", "kill", "3",
                                            code=64).err)
        self.assertIn("from 2 to 50", self.lab("fault", "slow", "1",
                                               code=64).err)
        self.assertIn("may be", self.lab("down", "--name", "other",
                                         code=69).err)
        self.assertIn("takes no value", self.lab("fault", "kill", "2", "5",
                                                 code=64).err)
        self.assertIn("there is kill", self.lab("fault", "break", "1",
                                                code=64).err)
        self.assertIn("nodes 1 to 2", self.lab("run", "9", "peers",
                                               code=64).err)
        r = self.run_at(1, "find", "--cap", "hash/sha256d")
        self.assertEqual(r.code, 0, r.err)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("ip")
                     and shutil.which("nft")
                     and os.path.exists("/dev/net/tun"),
                     "needs root, ip, nft and /dev/net/tun")
class Nat(Lab):
    def test_behind_routers(self):
        lab = self.up("--nodes", "4", "--nat", "mixed", "--delay", "5ms",
                      "--loss", "2%", "--", "--ping-interval", "2s")
        self.assertEqual([n["nat"] for n in lab["nodes"]],
                         ["none", "cone", "symmetric", "none"])
        # Nobody dials those behind routers; all work for the first.
        n = 1 << 28
        r = self.run_at(1, "submit", "search", "--header", HEADER, "--range",
                        f"0-{n - 1}", "--target", TARGET, "--all", "--watch",
                        "--json")
        end = json.loads(r.out.strip().split("\n")[-1])
        self.whole(end, n)
        show = json.loads(self.run_at(1, "job", "show", end["job"],
                                      "--by-peer", "--json").out)
        self.assertEqual(sum(p["hashes"] > 0 for p in show["by_peer"]), 4,
                         show["by_peer"])
        self.fault("cut", "2")
        until(lambda: self.state()["nodes"][1]["sessions"] == 0, 50,
              self.state)
        self.down()
        self.nothing_left()


if __name__ == "__main__":
    support.main()
