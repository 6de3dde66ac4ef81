# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: one node speaks for several, and outside sees one worker."""

from support import CAP, HEADER, MeshTest, digest, main, objects, until

TARGET = "000000" + "f" * 58


class Site(MeshTest):
    def insider(self, head, **how):
        return self.start("--behind", head.address, "--threads", "1", **how)

    def behind(self, head):
        return {n["id"]: n for n in head.status()["site"]["behind"]
                if n["here"]}

    def site(self, n):
        """A head with n nodes behind it, whom it was told of by id."""
        first = self.start()
        first.stop()
        inside = [self.start("--behind", first.address, "--threads", "1")
                  for _ in range(n)]
        head = self.start(
            "--site", "garage", "--offer", CAP, "--threads", "1",
            *(f for i in inside for f in ("--site-node", i.id)),
            dir=first.dir, port=first.port)
        until(lambda: len(self.behind(head)) == n, 20,
              lambda: head.tail() + inside[0].tail())
        return head, inside

    def test_outside_sees_one_worker(self):
        head, inside = self.site(2)
        s = self.start()
        self.ok(s.cli("dial", head.address))
        own = self.rate(head)

        def told():
            offer = s.peers()[head.id]["offers"]
            return offer and offer[0]["devices"] == 3 and offer[0]
        offer = until(told, 10)
        self.assertGreater(offer["rate"], 1.5 * own)
        self.assertEqual(offer["slots"], 6)
        self.assertEqual(set(s.peers()), {head.id})
        self.assertEqual({p["path"] for p in head.peers().values()
                          if p["id"] != s.id}, {"behind"})
        text = head.cli("status").out
        self.assertIn("garage, 2 nodes behind this one", text)
        self.assertIn("site      garage, behind " + head.name,
                      inside[0].cli("status").out)
        n = int(own * 6)
        watch = self.follow(s, "submit", "search", "--header", HEADER,
                            "--range", f"0-{n - 1}", "--target", TARGET,
                            "--all", "--watch", "--json")
        until(lambda: all(self.behind(head)[i.id]["parts"] > 1
                          for i in inside), 20)
        inside[0].kill()
        head.wait_line(f"{inside[0].name} is not behind us any more", 10)
        watch.wait(90)
        end = objects("\n".join(watch.out))[-1]
        self.assertEqual(end["hashes"], n, end)
        rows = s.json("job", "show", end["job"], "--by-peer")["by_peer"]
        self.assertEqual([r["id"] for r in rows], [head.id])
        self.assertNotEqual(rows[0]["state"], "dropped")
        hits = [h["nonce"] for h in end["hits"]]
        for h in end["hits"]:
            self.assertEqual(digest(h["nonce"]), h["hash"])
        # The same on the device of the other one alone.
        whole, _ = self.search(inside[1], "--range", f"0-{n - 1}", "--target",
                               TARGET, "--all", code=0 if hits else 1,
                               timeout=120)
        self.assertEqual([h["nonce"] for h in whole["hits"]], hits)
        self.assertEqual(inside[1].stop(), 0)  # before its head

    def test_who_may_be_behind(self):
        plain = self.start()
        node = self.insider(plain)
        node.wait_line("is not our head now: .*heads no site", 10)
        head = self.start("--site", "garage", "--offer", CAP, "--threads",
                          "1")
        node = self.insider(head)
        node.wait_line("did not name .*--site-node " + node.id, 10)
        self.assertEqual(self.behind(head), {})
        self.assertIn("--site-node", "".join(node.status()["reasons"]))
        self.assertEqual(node.cli("status").code, 2)
        head.wait_line(node.name + " may not be behind this node", 10)
        # It listens nowhere and publishes nothing.
        self.assertEqual(node.status()["port"], 0)
        self.assertEqual(node.status()["dht"], "off")
        r = self.start("--behind", "nonsense", ready=False)
        self.assertEqual(r.wait(10), 78)
        self.assertIn("--behind", r.tail())


if __name__ == "__main__":
    main()
