# SPDX-License-Identifier: GPL-3.0-or-later
"""What README.md says is true: its commands run, its files exist."""

import os
import re
import shlex
import shutil
import subprocess
import unittest

from support import (BIN, HASH, NONCE, TOP, MeshTest, Process, clean_env,
                     main, run, until)


def readme():
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        return f.read()


def section(title):
    m = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", readme(), re.M | re.S)
    assert m, title
    return m.group(1)


def commands(text):
    """Lines of its sh blocks."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.strip().split("\n"):
            yield line.split(" #")[0].strip()


class Readme(MeshTest):
    def test_begins_with_the_two_commands(self):
        lines = readme().split("\n")
        self.assertLess(len(lines), 150)
        self.assertTrue(lines[3].startswith("scripts/demo"), lines[:6])
        self.assertTrue(lines[4].startswith("scripts/test"), lines[:6])

    def test_named_files_exist(self):
        for path in re.findall(r"`((?:\.|\w)[\w./-]*/[\w./-]+|LICENSE)",
                               readme()):
            if path.startswith("build/") or path == "hash/sha256d":
                continue
            self.assertTrue(os.path.exists(os.path.join(TOP, path)), path)

    def test_named_options_exist(self):
        page = run("help", "--man").out.replace("\\-", "-")
        for flag in re.findall(r"`(--[a-z-]+)", readme()):
            self.assertIn(flag, page)
        for verb in re.findall(r"`(?:build/)?hnode ([a-z]+)", readme()):
            self.assertIn(f"hnode {verb}", page)

    def test_scripts_know_their_arguments(self):
        for words in re.findall(r"(scripts/\w+ [\w|]+\b)", readme()):
            script, args = words.split(" ", 1)
            if script not in ("scripts/deps", "scripts/bench",
                              "scripts/test") or "#" in args:
                continue
            with open(os.path.join(TOP, script), encoding="utf-8") as f:
                text = f.read()
            for arg in args.split("|"):
                if script == "scripts/test" and arg not in ("quick",):
                    continue
                self.assertRegex(text, rf"\b{arg}\b", script)

    def test_builds_as_it_says(self):
        cmake, = [c for c in commands(section("Two nodes on one machine"))
                  if c.startswith("cmake -S")]
        d = self.new_dir()
        argv = [d if w == "build" else w for w in shlex.split(cmake)]
        r = subprocess.run(argv, cwd=TOP, capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"),
                         "its ports need a network of their own: root")
    def test_two_nodes_in_five_commands(self):
        """As printed, in a network namespace, with `build` standing for the
        folder of the program under test."""
        five = [c for c in commands(section("Two nodes on one machine"))
                if c.startswith("build/hnode")]
        self.assertEqual(len(five), 5)
        d = self.new_dir()
        os.mkdir(os.path.join(d, "build"))
        os.symlink(BIN, os.path.join(d, "build", "hnode"))
        ns = f"hn-readme-{os.getpid()}"
        r = subprocess.run(["ip", "netns", "add", ns], capture_output=True)
        if r.returncode:
            self.skipTest("no network namespaces here")
        self.addCleanup(subprocess.run, ["ip", "netns", "del", ns])
        inside = ["ip", "netns", "exec", ns]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"],
                       check=True)
        for line in five[:2]:
            p = Process(inside + shlex.split(line), cwd=d)
            self.addCleanup(p.close)
            place = os.path.join(d, re.search(r"--data-dir (\w+)",
                                              line).group(1))
            until(lambda: run("status", dir=place, prefix=inside).code
                  in (0, 2), 20, p.tail)
        out = []
        for line in five[2:]:
            r = subprocess.run(inside + shlex.split(line), cwd=d,
                               capture_output=True, text=True, timeout=120,
                               env=clean_env(), stdin=subprocess.DEVNULL)
            self.assertEqual(r.returncode, 0, (line, r))
            out.append(r.stdout)
        self.assertRegex(out[0], "hash/sha256d")
        self.assertIn(HASH, out[1])
        self.assertTrue(str(NONCE) in out[1] or f"{NONCE:x}" in out[1])
        self.assertIn("done", out[2])
        for name in ("two", "one"):
            r = run("stop", dir=os.path.join(d, name))
            self.assertEqual(r.code, 0, r)

    def test_installs(self):
        build = os.path.dirname(BIN)
        if not os.path.exists(os.path.join(build, "cmake_install.cmake")):
            self.skipTest("the program stands alone")
        d = self.new_dir()
        r = subprocess.run(["cmake", "--install", build, "--prefix", d],
                           capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        r = subprocess.run([os.path.join(d, "bin", "hnode"), "version"],
                           capture_output=True, text=True, env=clean_env())
        self.assertTrue(r.stdout.startswith("hnode "), r)
        self.assertTrue(os.path.exists(
            os.path.join(d, "share", "man", "man1", "hnode.1")))

    @unittest.skipUnless(BIN == os.path.join(TOP, "build", "hnode"),
                         "it builds into build/")
    def test_demo(self):
        r = subprocess.run([os.path.join(TOP, "scripts", "demo")], cwd="/",
                           capture_output=True, text=True, timeout=300,
                           env=clean_env(), stdin=subprocess.DEVNULL)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertIn("confirmed here", r.stdout)
        self.assertEqual(r.stdout.count("stopped"), 3, r.stdout)

    def test_the_answer_it_prints(self):
        self.assertIn(HASH[:32], readme())
        self.assertIn(str(NONCE), readme())


if __name__ == "__main__":
    main()
