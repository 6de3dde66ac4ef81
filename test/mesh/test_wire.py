# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire against an implementation that is not ours (wire.py)."""

import hashlib
import os
import struct
import unittest

import support
import wire

ERR = {"denied": 12, "unknown-method": 16, "bad-input": 11}


class Vectors(unittest.TestCase):
    """The primitives of wire.py against their RFCs."""

    def test_x25519(self):
        self.assertEqual(wire.x25519(
            bytes.fromhex("a546e36bf0527c9d3b16154b82465edd"
                          "62144c0ac1fc5a18506a2244ba449ac4"),
            bytes.fromhex("e6db6867583030db3594c1a424b15f7c"
                          "726624ec26b3353b10a903a6d0ab1c4c")).hex(),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")

    def test_ed25519(self):
        k = wire.Key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc4"
                                   "4449c5697b326919703bac031cae7f60"))
        self.assertEqual(k.public.hex(), "d75a980182b10ab7d54bfed3c964073a"
                         "0ee172f3daa62325af021a68f707511a")
        sig = k.sign(b"")
        self.assertTrue(sig.hex().startswith("e5564300c360ac729086e2cc806e828a"
                                             "84877f1eb8e5d974d873e06522490155"))
        self.assertTrue(wire.verify(k.public, b"", sig))
        self.assertFalse(wire.verify(k.public, b"x", sig))

    def test_chacha20_poly1305(self):
        c = wire.Cipher(os.urandom(32))
        d = wire.Cipher(c.key)
        self.assertEqual(d.open(c.seal(b"x" * 200, b"ad"), b"ad"), b"x" * 200)
        # RFC 8439, 2.5.2 and 2.8.2 in one: the tag of the AEAD example.
        key = bytes(range(0x80, 0xa0))
        text = (b"Ladies and Gentlemen of the class of '99: If I could offer "
                b"you only one tip for the future, sunscreen would be it.")
        nonce = bytes.fromhex("070000004041424344454647")
        ad = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
        sealed = wire._chacha(key, nonce, text)
        self.assertEqual(wire._tag(key, nonce, ad, sealed).hex(),
                         "1ae10b594f09e26a7e902ecbd0600691")


class Wire(support.MeshTest):
    def setUp(self):
        self.node = self.start("--no-dht")

    def dial(self, **how):
        peer = wire.Peer(self.node.port, bytes.fromhex(self.node.id), **how)
        self.addCleanup(peer.close)
        return peer

    def healthy(self):
        self.assertIn(self.node.cli("status").code, (0, 2))

    def test_ping_and_info(self):
        peer = self.dial()
        self.assertEqual(peer.call("node.ping", [4711, 0])[2][0], 4711)
        error, _, info = peer.call("node.info", [])
        self.assertEqual(error, 0)
        self.assertEqual(info[0].hex(), self.node.id)
        self.assertEqual(info[1], self.node.name)
        seen = self.node.peers()
        self.assertIn(peer.key.public.hex(), seen)

    def test_unknown_method_and_later_versions(self):
        peer = self.dial()
        self.assertEqual(peer.call("node.dance", [])[0],
                         ERR["unknown-method"])
        # A request with fields of a version to come is served.
        error, _, reply = peer.call("node.ping", [7, 0, "new", [1, [2]]],
                                    version=9)
        self.assertEqual((error, reply[0]), (0, 7))

    def test_a_stranger_gets_no_work_and_no_control(self):
        peer = self.dial()
        for method in ("node.status", "node.stop", "job.submit",
                       "mesh.invite", "peer.call"):
            self.assertEqual(peer.call(method, [])[0], ERR["denied"], method)
        request = ["abc", 1, bytes(80), 0, 1000, 8, 10]
        self.assertEqual(peer.call("hash.search", request)[0], ERR["denied"])
        self.healthy()

    def test_another_mesh_is_closed_without_a_word(self):
        for how in ({"mesh_key": os.urandom(32)},
                    {"mesh_id": os.urandom(32)}):
            with self.assertRaises(wire.Closed) as caught:
                self.dial(**how)
            self.assertIn("connection", str(caught.exception).lower())
        self.node.wait_line("warn net refused .*127.0.0.1")
        self.healthy()

    def test_version_and_suite_are_refused_in_words(self):
        with self.assertRaises(wire.Closed) as caught:
            self.dial(first=b"HNOD\0\2\0\0")
        self.assertEqual(caught.exception.args[0][:5], b"HNOD\1")
        with self.assertRaises(wire.Closed) as caught:
            self.dial(first=b"HNOD\0\1\7\0")
        self.assertEqual(caught.exception.args[0][:5], b"HNOD\2")

    def test_a_forged_hello_is_refused(self):
        def signature(hello):
            hello[2] = bytes(64)

        def other_key(hello):
            hello[1] = wire.Key().public

        for spoil in (signature, other_key):
            with self.assertRaises(wire.Closed):
                self.dial(spoil=spoil)
        self.healthy()

    def test_a_replayed_record_ends_the_session(self):
        peer = self.dial()
        stream = peer.open("node.ping", [1, 0])
        self.assertEqual(stream, 1)
        peer.frame()
        peer.tx.n -= 1  # the nonce of the record before
        peer.open("node.ping", [2, 0])
        with self.assertRaises(wire.Closed):
            while True:
                peer.frame()
        self.node.wait_line("warn net refused .*breaks the protocol")
        self.healthy()

    def test_frames_that_break_the_rules_end_the_session(self):
        def cut(p):
            p.send_record(0, b"\1\0\0\0\0\1\0\x20short")

        def stream_zero(p):
            p.send_frame(2, b"x", 0)

        def unknown_kind(p):
            p.send_frame(77, b"x", 5)

        def never_opened(p):
            p.send_frame(2, pack_small(), 9)

        def even_number(p):
            p.stream = 2
            p.open("node.ping", [1, 0])

        def bad_head(p):
            p.send_frame(1, b"\xff\0", 1)

        def pack_small():
            return wire.pack([1])

        for breach in (cut, stream_zero, unknown_kind, never_opened,
                       even_number, bad_head):
            peer = self.dial()
            breach(peer)
            with self.assertRaises(wire.Closed, msg=breach.__name__):
                while True:
                    peer.frame()
        # A kind that may be skipped is skipped.
        peer = self.dial()
        peer.send_frame(77, b"x", 5, flags=0x80)
        self.assertEqual(peer.call("node.ping", [3, 0])[2][0], 3)


    def test_stolen_keys_do_not_open_a_stored_capture(self):
        """SES-03: who taped a session and steals the long-term keys of both
        ends and the mesh key afterwards opens message 1, which is empty, and
        nothing that follows."""
        peer = self.dial()
        self.assertEqual(peer.call("node.ping", [4711, 0])[0], 0)
        peer.close()
        with open(os.path.join(self.node.dir, "node.key"), "rb") as f:
            seed = bytes.fromhex(f.read().decode().split()[3])
        node = wire.Key(seed)
        self.assertEqual(node.public.hex(), self.node.id)

        def messages(tape):
            while tape:
                n = struct.unpack(">H", tape[:2])[0]
                yield tape[2:2 + n]
                tape = tape[2 + n:]

        first, mine, theirs = (peer.sent[:8], messages(peer.sent[8:]),
                               messages(peer.got))
        s = wire.Symmetric(b"Noise_XKpsk0_25519_ChaChaPoly_SHA256")
        s.mix_hash(first + wire.PUBLIC_ID)
        s.mix_hash(node.x_public)
        s.mix_key_and_hash(wire.kdf(wire.PUBLIC_KEY, 1))
        one = next(mine)
        s.mix_hash(one[:32])
        s.mix_key(one[:32])
        s.mix_key(wire.x25519(node.x_secret, one[:32]))  # es
        self.assertEqual(s.open(one[32:]), b"")  # the theft is real
        # Message 2 mixes ee, for which both ephemeral keys are gone. All
        # that the thief can put in its place is what the static keys give.
        two = next(theirs)
        re = two[:32]
        s.mix_hash(re)
        s.mix_key(re)
        known = [wire.x25519(secret, public)
                 for secret in (node.x_secret, peer.key.x_secret)
                 for public in (one[:32], re, node.x_public,
                                peer.key.x_public)]
        later = list(mine) + list(theirs)
        self.assertGreater(len(later), 3)
        for guess in [b""] + known:
            t = wire.Symmetric(b"")
            t.ck, t.h, t.cipher = s.ck, s.h, wire.Cipher(s.cipher.key)
            if guess:
                t.mix_key(guess)
            with self.assertRaises(ValueError):
                t.open(two[32:])
            for key in [t.cipher.key] + wire.hkdf(t.ck, b"", 2):
                for box in later:
                    for n in range(3):
                        c = wire.Cipher(key)
                        c.n = n
                        with self.assertRaises(ValueError):
                            c.open(box)


class Worker(support.MeshTest):
    """A worker serves a submitter of another make; its answer's signature
    covers what PROTOCOL 10.1 says."""

    def test_search_is_answered_and_signed(self):
        node = self.worker("--no-dht")
        peer = wire.Peer(node.port, bytes.fromhex(node.id))
        self.addCleanup(peer.close)
        header = bytes.fromhex(support.HEADER)
        # What no receipt could name is work that nobody would owe.
        for job in ("", "a job"):
            self.assertEqual(peer.call("hash.search", [
                job, 1, header, 0, 1000, 8, 10])[0], ERR["bad-input"])
        lo, hi, k = support.NONCE - 30000, support.NONCE + 10000, 8
        stream = peer.open("hash.search", ["job7", 42, header, lo, hi, k, 10])
        shares, below, end = [], lo, None
        while end is None:
            kind, flags, at, payload = peer.frame()
            if at != stream:
                continue  # the node calls us, too
            self.assertEqual(flags & 1, 0)
            if kind == 2:
                below, packed = wire.unpack(payload)
                shares += self.differences(packed)
            elif kind == 5:
                end = payload
        self.assertEqual(below, hi)
        want = [n for n in range(lo, hi)
                if support.digest(n).startswith("00")]
        self.assertEqual(shares, want)
        self.assertIn(support.NONCE, shares)
        self.assertEqual(struct.unpack(">H", end[1:3])[0], 0)
        hashes, count, sig = wire.unpack(end[1 + end[0]:])
        self.assertEqual((hashes, count), (hi - lo, len(want)))
        listed = hashlib.sha256(b"".join(struct.pack(">I", n)
                                         for n in want)).digest()
        signed = (b"hnode answer 1\0" + b"job7" + header
                  + struct.pack(">QQQB", 42, lo, hi, k) + listed)
        self.assertTrue(wire.verify(bytes.fromhex(node.id), signed, sig))

    def test_digests_that_nobody_reads_have_a_bound(self):
        node = self.worker("--no-dht")
        peer = wire.Peer(node.port, bytes.fromhex(node.id))
        self.addCleanup(peer.close)
        # No credit for its answers, and inputs that are all empty.
        stream = peer.open("hash.batch", [2, bytes(32)], credit=0)
        credit, sent, first = 262144, 0, 0
        while True:
            chunk = wire.pack([first, [[b"", False]] * 1024])
            if len(chunk) <= credit:
                peer.send_frame(2, chunk, stream)
                first += 1024
                credit -= len(chunk)
                sent += len(chunk)
                self.assertLess(sent, 1 << 20, "it wants ever more")
                continue
            # What it grants for all this it has granted before it answers.
            before, ping = credit, peer.open("node.ping", [1, 0])
            while True:
                kind, _, at, payload = peer.frame()
                if kind == 4 and at == stream:
                    credit += struct.unpack(">I", payload[:4])[0]
                if at == ping:
                    break
            if credit == before:
                break

    def differences(self, packed):
        out, value, shift, last = [], 0, 0, 0
        for byte in packed:
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                last += value
                out.append(last)
                value = shift = 0
        return out


if __name__ == "__main__":
    support.main()
