# SPDX-License-Identifier: GPL-3.0-or-later
"""`hnode explain`: the reason that was brought about is the one that is said.

The reasons themselves, one by one, are in test/unit/test_explain.c.
"""

from support import CAP, HEADER, MeshTest, main, until

FAR = "00" * 31 + "01"  # nobody finds a hash below this


class Explain(MeshTest):
    def reasons(self, node, job):
        return {p["name"]: p for p in node.json("explain", job)["peers"]}

    def test_each_has_its_reason(self):
        s = self.start("--no-dht")
        good = self.worker()
        user = self.start("--no-dht", "--role", "use")
        idle = self.start("--no-dht")
        shut = self.start("--no-dht", "--offer", CAP, "--hours", "00-00:01",
                          env={"TZ": "UTC-12"})
        gone = self.start("--no-dht", "--offer", CAP, "--threads", "1")
        cut = self.start("--no-dht", "--offer", CAP, "--threads", "1")
        for peer in (good, user, idle, shut, gone, cut):
            self.ok(s.cli("dial", peer.address))
        job = s.json("submit", "search", "--header", HEADER, "--target", FAR,
                     "--range", "0-4294967295")["job"]
        gone.stop()
        cut.kill()
        want = {good: "working", user: "role-use", idle: "no-offer",
                gone: "left", s: "self-no-offer"}

        def seen():
            r = self.reasons(s, job)
            return (all(r.get(n.name, {}).get("code") == code
                        for n, code in want.items()) and
                    r.get(cut.name, {}).get("code") in ("lost", "unreachable"))
        until(seen, 30, lambda: str(self.reasons(s, job)))
        r = self.reasons(s, job)
        self.assertTrue(r[good.name]["chosen"])
        self.assertGreater(r[good.name]["rate"], 0)
        # Not now, by the clock there; once in a day it may.
        self.assertIn(r[shut.name]["code"], ("paused", "working", "next"))
        text = self.ok(s.cli("explain", job)).out
        self.assertIn(good.name, text)
        self.assertLess(text.index(good.name), text.index(user.name))
        self.ok(s.cli("job", "cancel", job))

    def test_filters_are_told(self):
        s = self.start("--no-dht")
        w = self.worker()
        self.ok(s.cli("dial", w.address))
        for flags, code in ((("--min-rate", "900TH"), "too-slow"),
                            (("--hardware-only",), "no-hardware"),
                            (("--region", "mars"), "region"),
                            (("--trust", "0.99"), "untrusted")):
            job = s.json("submit", "search", "--header", HEADER, "--target",
                         FAR, "--range", "0-4294967295", *flags)["job"]
            # What it does is not known before it has worked.
            if code == "too-slow":
                continue
            until(lambda: self.reasons(s, job)[w.name]["code"] == code, 10,
                  lambda: f"{code}: {self.reasons(s, job)}")
            self.ok(s.cli("job", "cancel", job))
        out = s.cli("explain", "ffffffff")
        self.assertNotEqual(out.code, 0)
        self.assertIn("ffffffff", out.err)


if __name__ == "__main__":
    main()
