# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person meets who has never seen hnode before: the sentences that
lead on when something is missing, mistyped or in the way."""

import os
import socket

from support import (BIN, CAP, HEADER, MeshTest, Process, clean_env, main,
                     run)


class Words(MeshTest):
    """No node needed."""

    def test_a_missing_word_is_named(self):
        r = run("job", "show", dir=self.new_dir())
        self.assertEqual(r.code, 64)
        self.assertIn("`hnode job show` needs ID", r.err)

    def test_half_a_verb_with_an_option(self):
        for args in (["mesh"], ["mesh", "--json"], ["job", "-q"]):
            r = run(*args)
            self.assertEqual(r.code, 64)
            self.assertIn("needs a second word", r.err, args)

    def test_mistyped_verb(self):
        r = run("versoin")
        self.assertEqual(r.code, 64)
        self.assertIn("did you mean `hnode version`? `hnode help`", r.err)


class Alone(MeshTest):
    """A first node, with nobody else."""

    def test_peers_says_how_to_get_one(self):
        r = self.start().cli("peers")
        self.assertEqual(r.code, 0)
        self.assertIn("nobody else yet", r.err)
        for line in (r.out + r.err).split("\n"):
            self.assertLessEqual(len(line), 80, line)

    def test_finding_nobody_is_told_once(self):
        n = self.start()
        n.wait_line("no other node found yet", 30)

    def test_nothing_offered_and_no_job(self):
        n = self.start()
        self.assertIn("nothing is offered", n.cli("offer").err)
        self.assertNotIn("nothing", n.cli("offer", "--json").err)
        self.assertIn("no job yet", n.cli("jobs").err)

    def test_degraded_says_why_once(self):
        n = self.start("--bootstrap", "127.0.0.1:9")
        n.wait_line("no answer from bootstrap", 30)
        r = n.cli("status")
        self.assertEqual(r.code, 2)
        self.assertEqual(r.out.count("no answer from bootstrap"), 1, r.out)
        self.assertRegex(r.out, r"(?m)^process .*, up [0-9]+ s, ")
        self.assertIn("0 sessions, 0 other nodes known", r.out)

    def test_default_port_taken(self):
        """It takes another, and says so: the usual one may be forwarded."""
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", 7450))
                s.listen()
            except OSError:
                pass  # somebody else has it: as good
            n = self.start(port=None)
            n.wait_line("127.0.0.1:7450: the port is taken by .*; taking "
                        "another", 5)
            self.assertNotEqual(n.port, 7450)

    def test_address_of_another_machine(self):
        p = Process([BIN, "--data-dir", self.new_dir(), "--bind",
                     "192.0.2.77", "--port", "0", "--no-lan"])
        self.addCleanup(p.close)
        self.assertEqual(p.wait(), 78)
        self.assertIn("--bind takes an address that this machine has",
                      "\n".join(p.err))

    def test_variables(self):
        """A mistyped one is corrected; one without its section is known."""
        n = self.start(env=clean_env(HNODE_PROT=1, HNODE_LAN="no"))
        n.wait_line("HNODE_PROT is no setting of hnode: ignored; did you "
                    "mean HNODE_PORT", 5)
        self.assertFalse([l for l in n.lines if "HNODE_LAN" in l])

    def test_rate_of_more_threads_than_cores(self):
        """Measured, not multiplied."""
        n = self.start("--offer", CAP, "--threads", "500")
        n.wait_line("--threads 500: more than one a core gains nothing", 5)
        devices = n.status()["devices"]
        self.assertLessEqual(devices[0]["threads"], os.cpu_count())

    def test_nobody_does_it(self):
        n = self.start()
        r = n.cli("submit", "search", "--header", HEADER, "--watch",
                  "--wait", "1s")
        self.assertEqual(r.code, 75)
        self.assertNotIn("0 hashes", r.out)
        self.assertIn("nobody offered " + CAP, r.err)
        n.wait_line("job ended: nobody offered", 5)


class Two(MeshTest):
    """A worker and one that asks."""

    def setUp(self):
        super().setUp()
        self.helper = self.worker()
        self.asker = self.start("--bootstrap", self.helper.dht)
        self.asker.until_peer(self.helper, topic=CAP)

    def test_a_name_may_be_cut(self):
        first = self.helper.name.split("-")[0]
        if self.asker.name.startswith(first):
            self.skipTest("both have one first name")
        for name in (first, self.helper.name[:-2], self.helper.id[:8]):
            r = self.asker.cli("ping", name, "-c", "1")
            self.assertEqual(r.code, 0, r.err)
            self.assertIn("1 round trip:", r.out)
        self.assertEqual(self.asker.cli("ping", "zz").code, 1)

    def test_find_by_rate_alone(self):
        for rate, code in (("1kH", 0), ("1TH", 1)):
            r = self.asker.cli("find", "--min-rate", rate)
            self.assertEqual(r.code, code, r.out)
            self.assertEqual(self.helper.name in r.out, not code)

    def test_topic_of_nobody(self):
        r = self.asker.cli("peers", "--topic", "nix", "--wait", "100ms")
        self.assertIn("nobody else is seen under nix", r.err)

    def test_result_of_a_job_in_the_list(self):
        flags = ("submit", "search", "--header", HEADER, "--watch", "--range")
        self.assertEqual(self.asker.cli(*flags, "0-99999").code, 1)
        self.assertEqual(
            self.asker.cli(*flags, "2504400000-2504500000").code, 0)
        lines = self.asker.cli("jobs").out.strip().split("\n")
        self.assertTrue(lines[1].endswith("  nothing"), lines)
        self.assertTrue(lines[2].endswith("  0x9546a142"), lines)
        self.asker.wait_line("job ended: nothing found", 5)
        self.asker.wait_line("job ended: found nonce 0x9546a142", 5)

    def test_unchecked_work_is_called_so(self):
        """And work that was all done again is no matter of chance."""
        flags = ("submit", "search", "--header", HEADER, "--range", "0-5000",
                 "--watch")
        r = self.asker.cli(*flags, "--check", "0%", "--replicas", "1")
        self.assertEqual(r.code, 1)
        self.assertIn("0.0 % checked", r.out)
        self.assertIn("nothing was scanned again", r.err.replace("\n", " "))
        r = self.asker.cli(*flags)
        self.assertEqual(r.code, 1)
        self.assertIn("100.0 % checked", r.out)
        self.assertIn("this node's own", r.err.replace("\n", " "))

    def test_how_to_follow(self):
        r = self.asker.cli("submit", "search", "--header", HEADER, "--range",
                           "0-9")
        self.assertRegex(r.err, "hnode job show [0-9a-f]+ --data-dir " +
                         self.asker.dir)


class LeftOut(MeshTest):

    def test_the_one_left_out_is_told(self):
        owner = self.start()
        invite = owner.json("invite", "--yes")["invite"]
        member = self.start("--join", invite)
        owner.until_peer(member)
        owner.json("mesh", "rekey", "--without", member.id)
        member.wait_line("warn .*this node was left out of mesh", 10)
        r = member.cli("status")
        self.assertEqual(r.code, 2)
        self.assertIn("left out of mesh", r.out.replace("\n ", ""))


if __name__ == "__main__":
    main()
