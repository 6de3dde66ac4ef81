# SPDX-License-Identifier: GPL-3.0-or-later
"""scripts/bench mesh|idle|beside|flood: figures of real processes."""

import json
import multiprocessing
import os
import re
import resource
import statistics
import struct
import subprocess
import sys
import time

from support import BIN, CAP, HEADER, MeshTest, run, until

FAR = "00" * 31 + "01"  # nobody finds it: the whole range is scanned
SCAN = os.path.join(os.path.dirname(BIN), "test", "bench_scan")


def cpu_seconds(node):
    with open(f"/proc/{node.pid}/stat") as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def flooder(port, node_id, seconds, told):
    """A member that asks as fast as it can, hundreds of calls a record."""
    from wire import Closed, Peer, pack

    peer = Peer(port, node_id)
    name = b"node.ping"
    head = struct.pack(">HIIB", 1, 0, 262144, len(name)) + name
    open_ = bytes([len(head)]) + head + pack([7, 0])
    stop, calls = time.monotonic() + seconds, 0
    peer.sock.settimeout(1)
    told.put(None)
    try:
        while time.monotonic() < stop:
            record = b""
            while len(record) < 16000:
                record += struct.pack(">BBIH", 1, 0, peer.stream,
                                      len(open_)) + open_
                peer.stream += 2
                calls += 1
            peer.send_record(0, record)
    except (Closed, OSError):
        pass  # it reads us slowly, or has had enough
    told.put((calls, time.monotonic() - stop + seconds))


class Bench(MeshTest):
    """Borrows the tests' nodes and their cleaning up."""

    def runTest(self):
        pass

    def flood(self, seconds):
        """A peer's ping while another one floods the same node."""
        victim, peer = self.start("--no-dht"), self.start("--no-dht")
        self.ok(peer.cli("dial", victim.address))

        def pings(seconds):
            """Round trips; a node answers a peer 20 questions a second."""
            each, until_ = [], time.monotonic() + seconds
            while time.monotonic() < until_:
                began = time.monotonic()
                each += peer.json("ping", victim.id, "-c", "15")["rtt_us"]
                time.sleep(max(0, 1 - time.monotonic() + began))
            each.sort()
            return each[len(each) // 2], each[int(len(each) * .95)]

        pings(1)
        quiet = pings(seconds)
        told = multiprocessing.Queue()
        p = multiprocessing.Process(target=flooder, args=(
            victim.port, bytes.fromhex(victim.id), seconds, told))
        p.start()
        told.get()
        before, began = cpu_seconds(victim), time.monotonic()
        loud = pings(seconds - 1)
        spent = cpu_seconds(victim) - before
        lasted = time.monotonic() - began
        calls, took = told.get(timeout=30)
        p.join()
        print(f"ping alone: p50 {quiet[0]} us, p95 {quiet[1]} us")
        print(f"beside a flood of {calls / took:,.0f} calls/s: p50 {loud[0]} "
              f"us ({loud[0] / quiet[0]:.2f}x), p95 {loud[1]} us "
              f"({loud[1] / quiet[1]:.2f}x)")
        print(f"the flooded node: {100 * spent / lasted:.0f} % of a core, "
              f"{victim.status()['rss_kib'] // 1024} MiB, rested "
              f"{victim.counter('session.rests')} times, said busy "
              f"{victim.counter('rpc.busy') + victim.counter('rpc.denied')} "
              "times")

    def mesh(self, seconds):
        workers = [self.worker() for _ in range(2)]
        submitter = self.start("--bootstrap", workers[0].dht)
        for w in workers:
            submitter.cli("dial", w.address)
        until(lambda: all(self.rate(w) for w in workers), 20)
        # Both at work: two threads on two cores are slower than one alone.
        first, _ = self.search(submitter, "--range", "0-399999999",
                               "--target", FAR, code=1)
        rate = first["hashes"] / first["seconds"]
        n = min(int(rate * seconds), 1 << 32)
        if n == 1 << 32:
            print(f"the whole range takes only {n / rate:.0f} s here")
        unit = max(int(rate / 2), 1 << 20)
        bits = str(max(0, (unit // 1000).bit_length() - 1))
        print(f"{rate / 1e6:.1f} MH/s by two threads; {n} nonces each time",
              flush=True)
        ratios, work = [], []
        for turn in range(3):
            times, spent = {}, {}
            for way in ("alone", "mesh") if turn % 2 else ("mesh", "alone"):
                if way == "mesh":
                    before = [cpu_seconds(x) for x in workers + [submitter]]
                    end, _ = self.search(
                        submitter, "--range", f"0-{n - 1}", "--target", FAR,
                        code=1, timeout=seconds * 4 + 60)
                    assert end["hashes"] == n, end
                    times[way] = end["seconds"]
                    after = [cpu_seconds(x) for x in workers + [submitter]]
                    spent[way] = sum(after[:2]) - sum(before[:2])
                    own = (after[2] - before[2]) / end["seconds"]
                    checked = end["checked"]
                else:
                    times[way], spent[way] = self.alone(n, bits, unit)
            ratio = times["alone"] / times["mesh"]
            ratios.append(ratio)
            # The same per second of processor time, which neighbours on the
            # machine do not change.
            work.append(spent["alone"] / spent["mesh"])
            print(f"without the mesh {times['alone']:7.2f} s   with it "
                  f"{times['mesh']:7.2f} s   ratio {ratio:.4f}   of CPU time "
                  f"{work[-1]:.4f}   (checked {checked * 100:.2f} %, which "
                  f"took {own * 100:.1f} % of a core)", flush=True)
        print(f"median ratio {statistics.median(ratios):.4f}, of the workers' "
              f"CPU time {statistics.median(work):.4f}")

    def alone(self, n, bits, unit):
        """The same two devices, each with one half, no mesh."""
        began = time.monotonic()
        was = resource.getrusage(resource.RUSAGE_CHILDREN)
        halves = [subprocess.Popen(
            [SCAN, str(a), str(b), bits, str(unit)],
            stdout=subprocess.DEVNULL)
            for a, b in ((0, n // 2), (n // 2, n))]
        for p in halves:
            assert p.wait() == 0
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (time.monotonic() - began, now.ru_utime - was.ru_utime
                + now.ru_stime - was.ru_stime)

    def idle(self, seconds):
        first = self.worker()
        nodes = [first] + [self.worker("--bootstrap", first.dht)
                           for _ in range(9)]
        until(lambda: all(n.status()["sessions"] >= 9 for n in nodes), 60,
              lambda: str([n.status()["sessions"] for n in nodes]))
        # What a start costs is not idling.
        time.sleep(10)
        before, began = [cpu_seconds(n) for n in nodes], time.monotonic()
        time.sleep(seconds)
        spent = time.monotonic() - began
        rows = []
        for node, was in zip(nodes, before):
            with open(f"/proc/{node.pid}/status") as f:
                rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
            rows.append(((cpu_seconds(node) - was) / spent * 100, rss / 1024))
        print("NODE                 CPU of a core      RSS")
        for node, (share, rss) in zip(nodes, rows):
            print(f"{node.name:20} {share:9.2f} % {rss:10.1f} MiB")
        print(f"most {max(r[0] for r in rows):.2f} %, "
              f"{max(r[1] for r in rows):.1f} MiB; each has 9 sessions")

    def beside(self, seconds):
        r = run("bench", "rpc", "--json", "--seconds", f"{seconds:g}s",
                timeout=600)
        self.ok(r)
        b = json.loads(r.out.strip().split("\n")[-1])
        print(f"ping alone        p50 {b['p50_us']:8.1f}   p99 "
              f"{b['p99_us']:8.1f} us")
        c = b["beside_stream"]
        print(f"beside the stream p50 {c['p50_us']:8.1f}   p99 "
              f"{c['p99_us']:8.1f} us   ({c['stream_mb_s']:.0f} MB/s)")
        print(f"adds at p99       {c['p99_us'] - b['p99_us']:.1f} us")


def main(argv):
    what = argv[0]
    seconds = float(argv[1]) if len(argv) > 1 else {
        "mesh": 60, "idle": 30, "beside": 3, "flood": 8}[what]
    bench = Bench()
    Bench.setUpClass()
    try:
        getattr(bench, what)(seconds)
    finally:
        bench.doCleanups()


if __name__ == "__main__":
    main(sys.argv[1:])
