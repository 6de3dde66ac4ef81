# SPDX-License-Identifier: GPL-3.0-or-later
"""One node and its files: start, stop, keys, permissions, exit codes."""

import json
import os
import shutil
import signal
import socket
import stat
import time
import unittest

from support import (BIN, CAP, HEADER, SLOW, MeshTest, Process, clean_env,
                     free_port, main, run, until)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


class Ground(MeshTest):
    def test_start_says_what_a_person_must_know(self):
        node = self.start()
        text = "\n".join(node.lines)
        self.assertIn(node.name, text)
        self.assertIn(str(node.port), text)
        self.assertIn("public", text)
        self.assertIn(node.dir, text)
        self.assertIn("hnode offer", text)
        self.assertRegex(text, "Ctrl-C")
        # OpenDHT's socket cannot be bound, and hnode says so (decision: Ports).
        self.assertRegex(text, "(?i)dht.*all")

    def test_offers_nothing_and_hashes_nothing_unless_asked(self):
        status = self.start().status()
        self.assertEqual(status["offers"], [])
        self.assertEqual(sum(d["running"] for d in status["devices"]), 0)

    def test_terminate_ends_within_two_seconds(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            node = self.worker()
            began = time.monotonic()
            node.signal(number)
            self.assertEqual(node.wait(), 0, node.tail())
            self.assertLess(time.monotonic() - began, 2 * SLOW)
            self.assertFalse(os.path.exists(os.path.join(node.dir,
                                                         "control")))

    def test_stop_with_a_peer_and_a_running_job(self):
        a = self.worker()
        b = self.start("--bootstrap", a.dht)
        b.cli("dial", a.address)
        job = b.json("submit", "search", "--header", HEADER, "--target",
                     "00" * 31 + "01")["job"]
        until(lambda: b.json("job", "show", job)["hashes"], 20)
        for node in (b, a):
            began = time.monotonic()
            self.assertEqual(node.stop(), 0, node.tail())
            self.assertLess(time.monotonic() - began, 2 * SLOW)

    def test_files_are_for_their_owner_only(self):
        node = self.start()
        self.assertEqual(mode(node.dir), 0o700)
        for name in os.listdir(node.dir):
            path = os.path.join(node.dir, name)
            if not os.path.isdir(path):
                self.assertEqual(mode(path) & 0o077, 0, name)
        self.assertTrue(stat.S_ISSOCK(os.stat(
            os.path.join(node.dir, "control")).st_mode))
        self.assertEqual(mode(os.path.join(node.dir, "node.key")), 0o600)

    def test_data_directory_that_was_open_is_closed(self):
        d = self.new_dir()
        os.chmod(d, 0o755)
        self.start(dir=d)
        self.assertEqual(mode(d), 0o700)

    def test_identity_stays(self):
        node = self.start()
        first = node.json("id")
        self.assertEqual(node.stop(), 0)
        again = self.start(dir=node.dir)
        self.assertEqual(again.json("id"), first)
        self.assertEqual(again.id, node.id)
        # The port is stored and tried first at the next start.
        self.assertEqual(again.port, node.port)

    def test_id_without_a_node(self):
        node = self.start()
        node.stop()
        r = node.cli("id")
        self.assertIn(r.code, (0, 69), r)

    def test_second_node_in_the_same_place(self):
        node = self.start()
        other = self.start(dir=node.dir, ready=False)
        code = other.wait()
        self.assertNotIn(code, (0, 70), other.tail())
        self.assertIn(str(node.pid), "\n".join(other.lines))
        self.assertIn(node.json("status", code=(0, 2))["word"],
                      ("healthy", "degraded"))

    def test_stale_socket_of_a_killed_node(self):
        node = self.start()
        node.kill()
        r = node.cli("status", "--json")
        self.assertEqual(r.code, 69, r)
        again = self.start(dir=node.dir)
        self.assertEqual(again.id, node.id)

    def test_taken_port_is_named(self):
        node = self.start()
        other = self.start(port=node.port, ready=False)
        code = other.wait()
        self.assertNotIn(code, (0, 70), other.tail())
        self.assertIn(str(node.port), "\n".join(other.lines))

    def test_taken_port_of_another_program(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            port = s.getsockname()[1]
            other = self.start(port=port, ready=False)
            self.assertNotIn(other.wait(), (0, 70), other.tail())
            self.assertIn(str(port), "\n".join(other.lines))

    def test_port_given_is_taken(self):
        port = free_port()
        self.assertEqual(self.start(port=port).port, port)

    def test_long_path_of_the_socket(self):
        d = os.path.join(self.new_dir(), "a" * 60, "b" * 60)
        runtime = self.new_dir()
        env = clean_env(XDG_RUNTIME_DIR=runtime)
        node = self.start(dir=d, env=env, ready=False)
        until(lambda: run("status", dir=d, env=env).code in (0, 2), 15,
              node.tail)

    def test_no_node(self):
        d = self.new_dir()
        for verb in (["status"], ["peers"], ["jobs"],
                     ["submit", "search", "--header", HEADER]):
            r = run(*verb, dir=d)
            self.assertEqual(r.code, 69, (verb, r))
            self.assertIn("hnode", r.err)

    def test_broken_key_file_is_kept(self):
        d = self.new_dir()
        os.chmod(d, 0o700)
        path = os.path.join(d, "node.key")
        with open(path, "w") as f:
            f.write("not a key\n")
        os.chmod(path, 0o600)
        node = self.start(dir=d, ready=False)
        self.assertEqual(node.wait(), 78, node.tail())
        with open(path) as f:
            self.assertEqual(f.read(), "not a key\n")

    def test_broken_database_is_kept(self):
        node = self.start()
        node.stop()
        databases = [f for f in os.listdir(node.dir) if ".db" in f]
        self.assertTrue(databases, os.listdir(node.dir))
        path = os.path.join(node.dir, min(databases, key=len))
        with open(path, "wb") as f:
            f.write(b"this is no database, " * 500)
        again = self.start(dir=node.dir, ready=False)
        self.assertNotIn(again.wait(), (0, 70), again.tail())
        with open(path, "rb") as f:
            self.assertTrue(f.read().startswith(b"this is no"))

    def test_unwritable_place(self):
        node = self.start(dir="/proc/hnode", ready=False)
        self.assertNotIn(node.wait(), (0, 70))
        self.assertIn("/proc/hnode", "\n".join(node.lines))

    def test_environment_configures(self):
        d = self.new_dir()
        env = clean_env(HNODE_DATA_DIR=d, HNODE_PORT=0,
                        HNODE_BIND="127.0.0.1", HNODE_NO_LAN=1,
                        HNODE_OFFER=CAP, HNODE_THREADS=1)
        p = Process([BIN], env=env)
        self.addCleanup(p.close)
        until(lambda: run("status", env=env).code in (0, 2), 15, p.tail)
        s = json.loads(run("status", "--json", env=env).out)
        self.assertEqual(s["data_dir"], d)
        p.wait_line(f"offering {CAP}")

    def test_wrong_configuration(self):
        r = run(dir=self.new_dir(), env=clean_env(HNODE_PORT="many"))
        self.assertEqual(r.code, 78, r)
        self.assertIn("HNODE_PORT", r.err)
        # Others may use the prefix: what is unknown is said, and ignored.
        self.start(env=clean_env(HNODE_PROT="1")).wait_line("HNODE_PROT")

    def test_copied_key_is_reported(self):
        a = self.worker()
        b = self.start()
        self.ok(b.cli("dial", a.address))
        d = self.new_dir()
        os.chmod(d, 0o700)
        shutil.copy(os.path.join(a.dir, "node.key"), d)
        copy = self.start(dir=d)
        self.assertEqual(copy.id, a.id)
        copy.cli("dial", b.address)
        until(lambda: any("in use twice" in r for n in (a, b, copy)
                          for r in n.status()["reasons"]), 20,
              lambda: f"{b.status()['reasons']}\n{b.tail()}\n{copy.tail()}")
        # The session with the first one lives.
        self.assertEqual(b.peers()[a.id]["state"], "ok")

    def test_detached(self):
        d = self.new_dir()
        flags = ["--data-dir", d, "--bind", "127.0.0.1", "--port", "0",
                 "--no-lan"]
        r = run("up", "-d", *flags)
        self.ok(r)
        status = json.loads(run("status", "--json", dir=d).out)
        self.addCleanup(lambda: os.path.exists(f"/proc/{status['pid']}") and
                        os.kill(status["pid"], signal.SIGKILL))
        self.assertIn(str(status["pid"]), r.out)
        again = run("up", "-d", *flags)
        self.assertNotIn(again.code, (0, 70), again)
        self.assertIn(str(status["pid"]), again.err)
        with open(os.path.join(d, "log")) as f:
            self.assertIn("public", f.read())
        self.ok(run("stop", dir=d))
        self.assertEqual(run("status", dir=d).code, 69)
        bad = run("up", "-d", "--data-dir", d, "--kernel", "quantum")
        self.assertNotIn(bad.code, (0, 70), bad)
        self.assertIn("quantum", bad.err)

    def test_stop_verb(self):
        node = self.start()
        r = self.ok(node.cli("stop"))
        self.assertLess(r.seconds, 2 * SLOW)
        self.assertEqual(node.wait(1), 0)

    def test_wrong_devices(self):
        for flags in (["--affinity", "9999"], ["--affinity", "x"],
                      ["--kernel", "quantum"]):
            node = self.start(*flags, ready=False)
            self.assertIn(node.wait(), (64, 78), node.tail())

    def test_pinned_threads(self):
        node = self.start("--threads", "1", "--affinity", "0", "--offer", CAP)
        end, _ = self.search(node, "--range", "0-99999", "--target",
                             "00" * 31 + "01", code=1)
        self.assertEqual(end["hashes"], 100000)

    def test_says_more_for_a_while(self):
        node = self.start()
        node.signal(signal.SIGUSR1)
        node.wait_line("SIGUSR1")
        self.assertTrue(node.running())

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"),
                         "mounts a small disk: needs root")
    def test_full_disk(self):
        """A start that cannot write says so; there is no half-made node."""
        d = self.new_dir()
        small = ["unshare", "-m", "sh", "-c",
                 f'mount -t tmpfs -o size=16k,mode=700 none {d} && exec "$@"',
                 "sh"]
        node = self.start(dir=d, prefix=small, ready=False)
        self.assertNotIn(node.wait(), (0, 70), node.tail())
        self.assertRegex("\n".join(node.lines), "(?i)space|full|I/O error")

    def test_alone_it_works(self):
        """With no DHT, no beacons, no port: everything local goes on."""
        node = self.start("--no-dht", "--no-listen", "--offer", CAP,
                          "--threads", "1")
        end, _ = self.search(node, "--range", "0-999999", "--target",
                             "00" * 31 + "01", code=1)
        self.assertEqual(end["hashes"], 1000000)
        self.assertEqual(node.cli("status").code, 0)
        self.assertEqual(node.status()["port"], 0)

    def test_json_log(self):
        node = self.start("--log-format", "json")
        for line in node.err:
            self.assertIn("msg", json.loads(line), line)

    def test_json_of_a_node(self):
        """One object for scripts, once it is there; the log beside it."""
        node = self.start("--json")
        one, = node.out
        one = json.loads(one)
        self.assertEqual((one["id"], one["port"], one["pid"]),
                         (node.id, node.port, node.pid))

    def test_memory_of_an_idle_node(self):
        self.assertLess(self.start().status()["rss_kib"], 20 * 1024 * SLOW)


if __name__ == "__main__":
    main()
