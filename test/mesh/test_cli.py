# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line itself: help, JSON, exit codes, output habits."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import unittest

from support import (BIN, CAP, HEADER, NONCE, TOP, MeshTest, clean_env, main,
                     run)

# Every verb the issue names must be there; there may be more.
WANTED = """status id offer join leave|topic id|invite|mesh rekey|owner show
owner export|owner import|peers find dial ping info call|submit search|jobs
job show|job watch|job cancel|db check|db backup|hash|bench hash|bench rpc|version"""
PAIRS = ("topic", "mesh", "owner", "submit", "job", "db", "bench", "receipt",
         "evidence", "lab")


def wanted():
    words = WANTED.replace("|", " ").split()
    i = 0
    while i < len(words):
        n = 2 if words[i] in PAIRS else 1
        yield " ".join(words[i:i + n])
        i += n


def verbs():
    """Of the help text: the first words of each line that is indented."""
    found = []
    for line in run("--help").out.split("\n"):
        m = re.match(r"  hnode ([a-z]+)( [a-z]+)?", line)
        if m:
            found.append(m.group(1) + (m.group(2) or "")
                         if m.group(1) in PAIRS else m.group(1))
    return found


class Help(MeshTest):
    def test_all_verbs_are_listed(self):
        listed = verbs()
        for verb in wanted():
            self.assertIn(verb, listed)

    def test_every_verb_helps_with_an_example(self):
        for verb in verbs():
            for flag in ("--help", "-h"):
                r = run(*verb.split(), flag)
                self.ok(r)
                text = r.out[r.out.find("Example"):]
                self.assertTrue(r.out.startswith(f"hnode {verb}"), r.out)
                self.assertIn("hnode ", text[8:], verb)
            for line in r.out.split("\n"):
                self.assertLessEqual(len(line), 80, (verb, line))

    def test_examples_use_known_flags_only(self):
        for verb in verbs() + [""]:
            out = run(*verb.split(), "--help").out
            example = out[out.find("Example"):].split("\n\n")[0]
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", example):
                used = [v for v in verbs() if f"hnode {v}" in example]
                texts = [run(*v.split(), "--help").out for v in used]
                texts.append(self.man())
                self.assertTrue(any(re.search(re.escape(flag) + r"\b",
                                              t[:t.find("Example")])
                                    for t in texts), (verb, flag))

    def test_groups_help(self):
        for group in PAIRS:
            self.assertIn(f"hnode {group} ",
                          self.ok(run(group, "--help")).out)
            self.ok(run(group), 64)

    def test_version(self):
        for args in (["version"], ["--version"]):
            r = self.ok(run(*args))
            self.assertRegex(r.out, r"^hnode \d+\.\d+\.\d+")
            self.assertIn("scalar", r.out)
        json.loads(run("version", "--json").out)

    def test_flags_of_the_node(self):
        page = self.man()
        for flag in ("data-dir", "bind", "port", "bootstrap", "advertise",
                     "no-listen", "no-lan", "threads", "offer", "role",
                     "join", "affinity", "json"):
            self.assertIn(f"--{flag}", page)

    def man(self):
        with open(os.path.join(TOP, "node", "hnode.1"),
                  encoding="utf-8") as f:
            return f.read().replace("\\-", "-")

    def test_man_page_lists_every_verb_and_flag(self):
        page = self.man()
        for verb in verbs():
            self.assertIn(f"hnode {verb}", page)
            out = run(*verb.split(), "--help").out
            for flag in re.findall(r"^  (?:-\w, )?(--[a-z][a-z-]*)", out,
                                   re.M):
                self.assertIn(flag, page, verb)

    def test_man_page_is_what_the_program_says(self):
        with open(os.path.join(TOP, "node", "hnode.1"),
                  encoding="utf-8") as f:
            self.assertEqual(self.ok(run("help", "--man")).out, f.read())

    @unittest.skipUnless(shutil.which("man"), "man is not installed")
    def test_man_page_renders(self):
        r = subprocess.run(
            ["man", "--warnings", "-l", os.path.join(TOP, "node", "hnode.1")],
            capture_output=True, text=True,
            env=dict(os.environ, MANPAGER="cat", LC_ALL="C.UTF-8",
                     MANWIDTH="80"))
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("HNODE(1)", r.stdout)


class Use(MeshTest):
    def test_wrong_use(self):
        for args in (["nonsense"], ["job"], ["job", "nonsense", "x"],
                     ["job", "show"], ["status", "extra"], ["dial"],
                     ["status", "--no-such-flag"], ["--port"],
                     ["--port", "x"], ["--port", "65536"], ["--role", "king"],
                     ["--bootstrap", "nowhere"], ["--bind", "x"],
                     ["--threads", "-1"], ["--port=0", "status"],
                     ["submit", "search"], ["submit", "dance"],
                     ["ping"], ["call", "x"], ["topic", "id"]):
            r = run(*args, dir=self.new_dir())
            self.assertEqual(r.code, 64, (args, r))
            self.assertTrue(r.err.strip(), args)
            self.assertEqual(r.out, "", args)

    def test_arguments_of_any_length_and_kind(self):
        node = self.start()
        for text in ("x" * 300, "x" * 100000, b"\xff\xfe", "\u202e", "%s%n"):
            for args in (["ping", text], ["info", text], ["dial", text],
                         ["call", text, "node.ping"], ["join", text],
                         ["call", node.name, text], ["leave", text],
                         ["find", "--cap", text], ["offer", text],
                         ["peers", "--topic", text], ["job", "show", text],
                         ["job", "cancel", text], ["topic", "id", text],
                         ["invite", "--yes", "--mesh", text],
                         ["mesh", "rekey", "--without", text],
                         ["hash", "sha256", "x", "--peer", text],
                         ["hash", "sha256", text],
                         ["submit", "search", "--header", text],
                         [text], ["--advertise", text],
                         ["--bootstrap", text]):
                r = node.cli(*args)
                self.assertIn(r.code, (0, 1, 64, 75, 77, 78), (args[:2], r))
        self.assertIn(node.cli("status").code, (0, 2))

    def test_says_what_was_meant(self):
        self.assertIn("peers", run("pears").err)
        self.assertIn("--port", run("--prot", "1").err)
        self.assertIn("submit search", run("submit", "serach").err)

    def test_errors_are_json_too(self):
        d = self.new_dir()
        for args, code in ((["status", "--json"], 69),
                           (["status", "--json", "--what"], 64),
                           (["nonsense", "--json"], 64)):
            r = run(*args, dir=d)
            self.assertEqual(r.code, code)
            e = json.loads(r.err.strip().split("\n")[-1])
            self.assertIn("error", json.dumps(e))
            self.assertEqual(r.out, "")

    def test_equals_and_double_dash(self):
        node = self.start()
        self.ok(run("status", f"--data-dir={node.dir}"))
        r = self.ok(run("hash", "sha256", f"--data-dir={node.dir}", "--",
                        "--json"))
        self.assertIn(hashlib.sha256(b"--json").hexdigest(), r.out)

    def test_json_of_every_verb(self):
        a = self.worker()
        b = self.start()
        self.ok(b.cli("dial", a.address))
        job = b.json("submit", "search", "--header", HEADER, "--range",
                     f"{NONCE}-{NONCE}")["job"]
        pathless = {
            "status": [], "id": [], "offer": [], "join": ["t"],
            "leave": ["t"], "topic id": ["t"], "peers": ["--wide"],
            "find": ["--cap", CAP], "dial": [a.address], "ping": [a.name],
            "info": [a.name], "call": [a.name, "node.health"],
            "submit search": ["--header", HEADER, "--range",
                              f"{NONCE}-{NONCE}", "--watch"],
            "jobs": [], "job show": [job], "job watch": [job],
            "job cancel": [job], "db check": [],
            "db backup": [os.path.join(self.new_dir(), "copy")],
            "hash": ["sha256", "abc"], "version": [],
            "invite": ["--yes"], "owner show": [], "mesh rekey": [],
        }
        for verb, args in pathless.items():
            r = b.cli(*verb.split(), *args, "--json")
            self.assertIn(r.code, (0, 1) if verb == "job cancel" else (0, 2),
                          (verb, r))
            for line in (r.out or r.err).strip().split("\n"):
                self.assertIsInstance(json.loads(line), (dict, list), verb)
            if r.code == 0:
                self.assertTrue(r.out.strip(), verb)
        left = set(wanted()) - set(pathless) - {
            "owner export", "owner import", "bench hash", "bench rpc"}
        self.assertEqual(left, set())

    def test_tables_fit_a_terminal(self):
        a = self.worker()
        b = self.start()
        self.ok(b.cli("dial", a.address))
        b.json("submit", "search", "--header", HEADER, "--range",
               f"{NONCE}-{NONCE}")
        for args in (["peers"], ["jobs"], ["status"], ["offer"],
                     ["find", "--cap", CAP]):
            r = b.cli(*args)
            for line in r.out.split("\n"):
                self.assertLessEqual(len(line), 80, (args, line))
            self.assertNotIn("\033", r.out)
            self.assertNotIn("\t", r.out)

    def test_quiet(self):
        node = self.start()
        self.assertEqual(self.ok(node.cli("join", "t", "-q")).err, "")

    def test_full_disk_is_told(self):
        node = self.start()
        with open("/dev/full", "w") as full:
            p = subprocess.run([*self.command(node, "status")], stdout=full,
                               stderr=subprocess.PIPE, env=clean_env())
        self.assertNotIn(p.returncode, (0, 70))
        self.assertTrue(p.stderr)

    def test_closed_pipe(self):
        node = self.start()
        p = subprocess.run(["sh", "-c", '"$@" | true', "sh",
                            *self.command(node, "peers")],
                           capture_output=True, env=clean_env())
        self.assertNotIn(b"Assert", p.stderr)

    def command(self, node, *args):
        return [BIN, *args, "--data-dir", node.dir]


class Bench(MeshTest):
    def test_hash(self):
        r = self.ok(run("bench", "hash", "--json", "--seconds", "50ms",
                        timeout=120))
        b = json.loads(r.out.strip().split("\n")[-1])
        for k in b["kernels"]:
            self.assertGreater(k["mhs"], 0)
            self.assertIn("compiler", k)
        self.assertIn(b["best"], [k["name"] for k in b["kernels"]])
        self.assertIn("scalar", [k["name"] for k in b["kernels"]])

    def test_rpc(self):
        r = self.ok(run("bench", "rpc", "--json", "--seconds", "100ms",
                        timeout=180))
        b = json.loads(r.out.strip().split("\n")[-1])
        for key in ("p50_us", "p99_us", "calls_per_s", "stream_mb_s"):
            self.assertGreater(b[key], 0, key)
        for key in ("suite", "tcp", "nng_reqrep"):
            self.assertIn(key, b)


if __name__ == "__main__":
    main()
