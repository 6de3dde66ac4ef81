# SPDX-License-Identifier: GPL-3.0-or-later
"""Discovery on a switch without internet, in network namespaces of our own:
no beacon ever leaves them."""

import os
import random
import shutil
import subprocess
import time
import unittest

from support import CAP, NONCE, SLOW, MeshTest, main, until


def ip(*args, check=True):
    return subprocess.run(["ip", *args], check=check, capture_output=True,
                          text=True)


def can():
    if os.geteuid() or not shutil.which("ip"):
        return False
    name = f"hn-probe-{os.getpid()}"
    if ip("netns", "add", name, check=False).returncode:
        return False
    ok = not ip("-n", name, "link", "add", "p0", "type", "veth", "peer",
                "name", "p1", check=False).returncode
    ip("netns", "del", name, check=False)
    return ok


def inside(ns, *argv, **how):
    return subprocess.run(["ip", "netns", "exec", ns, *argv],
                          capture_output=True, text=True, **how)


BEACONS = (7451).to_bytes(2, "big")
LISTENER = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.settimeout(30)
print("listening", flush=True)
left = int(sys.argv[1])
while left:
    data, where = s.recvfrom(65536)
    if where[2] == socket.PACKET_OUTGOING:
        continue
    at = 34 if data[12:14] == b"\\x08\\x00" else 54
    left -= data[at + 2:at + 4] == (7451).to_bytes(2, "big")
    print(data.hex(), flush=True)
"""


def is_beacon(frame):
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    return frame[at + 2:at + 4] == BEACONS


@unittest.skipUnless(can(), "needs root and network namespaces")
class Lan(MeshTest):
    def switch(self, n, v4=True, v6=True, ports=1):
        """n machines on a switch: namespaces with eth0 (eth1, ...)."""
        mark = f"{os.getpid() % 100000}{random.randrange(1000)}"
        hub = f"hn{mark}-sw"
        hosts = [f"hn{mark}-{i}" for i in range(n)]
        for ns in [hub] + hosts:
            ip("netns", "add", ns)
            self.addCleanup(ip, "netns", "del", ns, check=False)
            ip("-n", ns, "link", "set", "lo", "up")
            self.set(ns, "accept_dad", 0)
            self.set(ns, "dad_transmits", 0)
            if not v6:
                self.set(ns, "disable_ipv6", 1)
        for p in range(ports):
            ip("-n", hub, "link", "add", f"br{p}", "type", "bridge",
               "mcast_snooping", "0", "forward_delay", "0")
            ip("-n", hub, "link", "set", f"br{p}", "up")
            for i, ns in enumerate(hosts):
                ip("-n", hub, "link", "add", f"v{p}-{i}", "type", "veth",
                   "peer", "name", f"eth{p}", "netns", ns)
                ip("-n", hub, "link", "set", f"v{p}-{i}", "master",
                   f"br{p}", "up")
                if v4:
                    ip("-n", ns, "addr", "add", f"10.77.{p}.{i + 1}/24",
                       "brd", "+", "dev", f"eth{p}")
                ip("-n", ns, "link", "set", f"eth{p}", "up")
        for ns in hosts:
            self.addCleanup(self.empty, ns)
            if v6:  # the link-local address may be used now
                until(lambda: "fe80" in (out := ip("-n", ns, "-6", "addr")
                                         .stdout) and
                      "tentative" not in out, 10)
        return hosts

    def set(self, ns, key, value):
        for of in ("all", "default"):
            inside(ns, "sh", "-c", f"echo {value} >/proc/sys/net/ipv6/conf/"
                   f"{of}/{key}", check=True)

    def empty(self, ns):
        """Only processes of this test are in there."""
        self.assertEqual(ip("netns", "pids", ns).stdout.strip(), "")

    def on(self, ns, *flags, **how):
        return self.start(*flags, lan=True, bind=None, prefix=(
            "ip", "netns", "exec", ns), **how)

    def meet(self, *nodes):
        """Seconds until each has a session with every other."""
        began = time.monotonic()
        for a in nodes:
            for b in nodes:
                if a is not b:
                    a.until_peer(b, timeout=10)
        return time.monotonic() - began

    def check(self, seconds):
        self.assertLess(seconds, 5 * SLOW)

    def test_two_machines_and_a_switch(self):
        x, y = self.switch(2)
        a = self.on(x, "--offer", CAP, "--threads", "1")
        b = self.on(y)
        self.check(self.meet(a, b))
        self.assertEqual(a.peers()[b.id]["path"], "lan")
        end, _ = self.search(b, "--range", f"{NONCE - 1000}-{NONCE}")
        self.assertEqual(end["by"], a.id)

    def test_broadcast_alone(self):
        x, y = self.switch(2, v6=False)
        self.check(self.meet(self.on(x), self.on(y)))

    def test_multicast_alone(self):
        x, y = self.switch(2, v4=False)
        self.check(self.meet(self.on(x), self.on(y)))

    def test_without_the_dht(self):
        x, y = self.switch(2)
        self.check(self.meet(self.on(x, "--no-dht"), self.on(y, "--no-dht")))

    def test_every_interface(self):
        """Two switches; the third machine hangs on the second one only."""
        x, y, z = self.switch(3, ports=2)
        ip("-n", z, "link", "del", "eth0")
        ip("-n", y, "link", "del", "eth1")
        a, b, c = self.on(x), self.on(y), self.on(z)
        self.check(self.meet(a, b))
        self.check(self.meet(a, c))

    def test_turned_off(self):
        x, y = self.switch(2)
        a = self.on(x)
        b = self.start(bind=None, prefix=("ip", "netns", "exec", y))
        # b would have been found by now, as in the other tests.
        c = self.on(y, port=0)
        self.check(self.meet(a, c))
        self.assertNotIn(b.id, a.peers())
        self.assertNotIn(a.id, b.peers())

    def test_another_mesh_is_not_seen(self):
        x, y = self.switch(2)
        a = self.on(x)
        word = a.json("invite", "--yes")["invite"]
        b = self.on(y)  # in public
        c = self.on(y, "--join", word)
        self.check(self.meet(a, c))
        self.assertNotIn(b.id, a.peers())

    def test_restarted_within_the_minute(self):
        """A beacon comes at once in answer to an unknown one."""
        x, y = self.switch(2)
        a = self.on(x)
        b = self.on(y)
        self.check(self.meet(a, b))
        b.stop()
        again = self.on(y, dir=b.dir)
        self.check(self.meet(a, again))

    def test_wrong_advertised_address_comes_back(self):
        """b says it is where nobody listens; who dials in vain tells it."""
        x, y = self.switch(2, v6=False)
        a = self.start(bind=None, prefix=("ip", "netns", "exec", x))
        b = self.start("--offer", CAP, "--threads", "1", "--advertise",
                       "10.77.0.2:9", "--bootstrap", f"10.77.0.1:{a.port}",
                       bind="127.0.0.1", prefix=("ip", "netns", "exec", y))
        a.until_peer(b, ("retry",), topic=CAP)
        # It comes by itself, and hears of it.
        self.ok(b.cli("dial", f"{a.id}@10.77.0.1:{a.port}"))
        until(lambda: any("10.77.0.2:9" in r
                          for r in b.status()["reasons"]), 10,
              lambda: f"{a.peers()}\n{b.peers()}\n{a.tail()}\n{b.tail()}")
        self.assertEqual(b.cli("status").code, 2)

    def test_strange_beacons(self):
        x, y = self.switch(2)
        a = self.on(x)
        code = """
import random, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
r = random.Random(5)
for i in range(2000):
    s.sendto(r.randbytes(r.randrange(1400)), ("10.77.0.255", 7451))
"""
        self.assertEqual(inside(y, "python3", "-c", code).returncode, 0)
        b = self.on(y)
        self.check(self.meet(a, b))
        counted = {c["name"]: c["value"] for c in a.status()["counters"]
                   if "beacon" in c["name"]}
        self.assertTrue(any(counted.values()), counted)
        self.assertLess(len(a.lines), 100)

    def listen(self, ns, beacons):
        """Hears what comes to this namespace until so many beacons came."""
        capture = subprocess.Popen(
            ["ip", "netns", "exec", ns, "python3", "-c", LISTENER,
             str(beacons)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(capture.wait)
        self.addCleanup(capture.kill)
        self.addCleanup(capture.stdout.close)
        capture.stdout.readline()
        return capture

    def heard(self, capture):
        return [bytes.fromhex(line) for line in capture.stdout]

    def test_calls_no_stranger(self):
        """With a way out and no address given, nothing but beacons leaves."""
        x, y = self.switch(2)
        ip("-n", x, "route", "add", "default", "via", "10.77.0.2")
        ip("-n", x, "route", "add", "default", "via", "fe80::1", "dev",
           "eth0")
        capture = self.listen(y, 8)
        self.on(x, "--offer", CAP, "--threads", "1")
        for frame in self.heard(capture):
            if not is_beacon(frame):
                # Only what the network itself needs: ARP, ICMPv6, IGMP.
                kind = frame[12:14]
                proto = frame[23] if kind == b"\x08\x00" else \
                    frame[20] if kind == b"\x86\xdd" else None
                self.assertIn((kind, proto), (
                    (b"\x08\x06", None), (b"\x86\xdd", 58),
                    (b"\x86\xdd", 0), (b"\x08\x00", 2)), frame.hex())

    def test_nothing_to_read_in_a_beacon(self):
        """What stands on the cable does not name the mesh or the node."""
        x, y = self.switch(2)
        capture = self.listen(y, 3)
        a = self.on(x)
        frames = [f for f in self.heard(capture) if is_beacon(f)]
        self.assertGreaterEqual(len(frames), 3)
        for frame in frames:
            for word in (bytes.fromhex(a.id), a.name.encode(), b"hnode",
                         b"public"):
                self.assertNotIn(word, frame)


if __name__ == "__main__":
    main()
