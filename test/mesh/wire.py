# SPDX-License-Identifier: GPL-3.0-or-later
"""A peer of hnode that shares no line with it.

Written from rpc/PROTOCOL.md, the Noise specification (revision 34), RFC 7748
(X25519), RFC 8032 (Ed25519), RFC 8439 (ChaCha20-Poly1305) and the msgpack
specification, in plain Python: slow, and for tests only.
"""

import hashlib
import hmac
import os
import socket
import struct
import threading
import time

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


# --- RFC 7748 ---

def x25519(k, u):
    k = bytearray(k)
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


BASE_U = (9).to_bytes(32, "little")


# --- RFC 8032 ---

def _add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _mul(s, p):
    q = (0, 1, 1, 0)
    while s:
        if s & 1:
            q = _add(q, p)
        p, s = _add(p, p), s >> 1
    return q


def _recover_x(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - x2) % P == 0
    return P - x if x & 1 != sign else x


_GY = 4 * pow(5, P - 2, P) % P
_GX = _recover_x(_GY, 0)
_G = (_GX, _GY, 1, _GX * _GY % P)


def _pack(p):
    z = pow(p[2], P - 2, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _unpack(b):
    y = int.from_bytes(b, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = _recover_x(y, sign)
    return x, y, 1, x * y % P


class Key:
    """An Ed25519 key and its X25519 form."""

    def __init__(self, seed=None):
        h = hashlib.sha512(seed or os.urandom(32)).digest()
        a = int.from_bytes(h[:32], "little")
        self.a = a & ((1 << 254) - 8) | 1 << 254
        self.prefix = h[32:]
        self.public = _pack(_mul(self.a, _G))
        self.x_secret = h[:32]
        self.x_public = x25519(self.x_secret, BASE_U)

    def sign(self, m):
        r = _hash_int(self.prefix + m)
        big_r = _pack(_mul(r, _G))
        s = (r + _hash_int(big_r + self.public + m) * self.a) % L
        return big_r + s.to_bytes(32, "little")


def _hash_int(m):
    return int.from_bytes(hashlib.sha512(m).digest(), "little") % L


def verify(public, m, sig):
    s = int.from_bytes(sig[32:], "little")
    left = _mul(s, _G)
    right = _add(_unpack(sig[:32]),
                 _mul(_hash_int(sig[:32] + public + m), _unpack(public)))
    return _pack(left) == _pack(right)


def x_form(public):
    """The X25519 form of an Ed25519 public key."""
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return ((1 + y) * pow(1 - y, P - 2, P) % P).to_bytes(32, "little")


# --- RFC 8439 ---

def _chacha_block(key, counter, nonce):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key
                           + struct.pack("<I", counter) + nonce))
    w = s[:]

    def quarter(a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8),
                           (c, d, b, 7)):
            w[x] = (w[x] + w[y]) & 0xffffffff
            v = w[z] ^ w[x]
            w[z] = (v << r | v >> 32 - r) & 0xffffffff

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xffffffff
                                 for a, b in zip(w, s)))


def _chacha(key, nonce, data):
    out = bytearray()
    for i in range(0, len(data), 64):
        block = _chacha_block(key, 1 + i // 64, nonce)
        out += bytes(a ^ b for a, b in zip(data[i:i + 64], block))
    return bytes(out)


def _tag(key, nonce, ad, sealed):
    one = _chacha_block(key, 0, nonce)
    r = int.from_bytes(one[:16], "little") & \
        0x0ffffffc0ffffffc0ffffffc0fffffff
    s = int.from_bytes(one[16:32], "little")

    def padded(x):
        return x + bytes(-len(x) % 16)

    m = padded(ad) + padded(sealed) + struct.pack("<QQ", len(ad), len(sealed))
    acc = 0
    for i in range(0, len(m), 16):
        n = int.from_bytes(m[i:i + 16] + b"\1", "little")
        acc = (acc + n) * r % (2**130 - 5)
    return ((acc + s) & (2**128 - 1)).to_bytes(16, "little")


class Cipher:
    def __init__(self, key):
        self.key, self.n = key, 0

    def _nonce(self):
        return bytes(4) + struct.pack("<Q", self.n)

    def seal(self, plain, ad=b""):
        sealed = _chacha(self.key, self._nonce(), plain)
        tag = _tag(self.key, self._nonce(), ad, sealed)
        self.n += 1
        return sealed + tag

    def open(self, box, ad=b""):
        sealed, tag = box[:-16], box[-16:]
        if _tag(self.key, self._nonce(), ad, sealed) != tag:
            raise ValueError("does not open")
        plain = _chacha(self.key, self._nonce(), sealed)
        self.n += 1
        return plain

    def rekey(self):
        c = Cipher(self.key)
        c.n = 2**64 - 1
        self.key = _chacha(c.key, c._nonce(), bytes(32))


# --- Noise, XKpsk0 ---

def hkdf(ck, data, n):
    temp = hmac.digest(ck, data, "sha256")
    out, last = [], b""
    for i in range(n):
        last = hmac.digest(temp, last + bytes([i + 1]), "sha256")
        out.append(last)
    return out


class Symmetric:
    def __init__(self, name):
        self.h = self.ck = hashlib.sha256(name).digest() \
            if len(name) > 32 else name.ljust(32, b"\0")
        self.cipher = None

    def mix_hash(self, data):
        self.h = hashlib.sha256(self.h + data).digest()

    def mix_key(self, data):
        self.ck, k = hkdf(self.ck, data, 2)
        self.cipher = Cipher(k)

    def mix_key_and_hash(self, data):
        self.ck, h, k = hkdf(self.ck, data, 3)
        self.mix_hash(h)
        self.cipher = Cipher(k)

    def seal(self, plain):
        box = self.cipher.seal(plain, self.h)
        self.mix_hash(box)
        return box

    def open(self, box):
        plain = self.cipher.open(box, self.h)
        self.mix_hash(box)
        return plain


# --- msgpack, as far as hnode uses it ---

def pack(v):
    if v is None:
        return b"\xc0"
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return bytes([v]) if v < 128 else b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, bytes):
        return b"\xc5" + struct.pack(">H", len(v)) + v
    if isinstance(v, str):
        v = v.encode()
        return b"\xda" + struct.pack(">H", len(v)) + v
    return b"\xdc" + struct.pack(">H", len(v)) + b"".join(map(pack, v))


def unpack(b):
    v, at = _unpack_at(b, 0)
    assert at == len(b)
    return v


def _unpack_at(b, at):
    t = b[at]
    at += 1
    if t < 0x80:
        return t, at
    if t >= 0xe0:
        return t - 256, at
    if 0xa0 <= t < 0xc0:
        return b[at:at + t - 0xa0].decode(), at + t - 0xa0
    if t in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[t], at
    if 0xcc <= t <= 0xd3:
        f = ">" + "BHIQbhiq"[t - 0xcc]
        n = struct.calcsize(f)
        return struct.unpack(f, b[at:at + n])[0], at + n
    if t == 0xcb:
        return struct.unpack(">d", b[at:at + 8])[0], at + 8
    if t in (0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb):
        size = (1, 2, 4)[(t - 0xc4) % 3 if t < 0xd0 else (t - 0xd9)]
        n = int.from_bytes(b[at:at + size], "big")
        at += size
        raw = b[at:at + n]
        return (raw if t < 0xd0 else raw.decode()), at + n
    if 0x90 <= t < 0xa0:
        n = t - 0x90
    else:
        assert t in (0xdc, 0xdd), hex(t)
        size = 2 if t == 0xdc else 4
        n = int.from_bytes(b[at:at + size], "big")
        at += size
    out = []
    for _ in range(n):
        v, at = _unpack_at(b, at)
        out.append(v)
    return out, at


# --- the mesh `public` (decisions D1, D3) ---

def blake(data):
    return hashlib.blake2b(data, digest_size=32).digest()


def kdf(master, i):
    return hashlib.blake2b(b"", digest_size=32, key=master,
                           salt=struct.pack("<QQ", i, 0),
                           person=b"hnodekdf" + bytes(8)).digest()


PUBLIC_KEY = blake(b"hnode public mesh")
PUBLIC_ID = blake(b"hnode mesh" + bytes(32) + b"public")


def pack_least(v):
    """The one form that is signed: every head as short as can be."""
    def head(n, forms):
        for least, t, size in forms:
            if n < least:
                return bytes([t | n]) if not size else \
                    bytes([t]) + n.to_bytes(size, "big")
        raise ValueError(n)

    if isinstance(v, int):
        return head(v, ((128, 0, 0), (2**8, 0xcc, 1), (2**16, 0xcd, 2),
                        (2**32, 0xce, 4), (2**64, 0xcf, 8)))
    if isinstance(v, bytes):
        return head(len(v), ((2**8, 0xc4, 1), (2**16, 0xc5, 2))) + v
    if isinstance(v, str):
        v = v.encode()
        return head(len(v), ((32, 0xa0, 0), (2**8, 0xd9, 1))) + v
    return head(len(v), ((16, 0x90, 0), (2**16, 0xdc, 2))) \
        + b"".join(map(pack_least, v))


class Receipt:
    """PROTOCOL 10.2, from the worker's answer to a search."""

    def __init__(self, me, worker, job, lease, header, start, end, bits,
                 shares, sig, seq=1, prev=bytes(32), total=0):
        def sha(data):
            return hashlib.sha256(data).digest()

        listed = sha(b"".join(struct.pack(">I", n) for n in shares))
        text = job.encode() + header + struct.pack(
            ">QQQB", lease, start, end, bits) + listed
        amount = end - start
        credit = -(-amount // 4096)
        self.me = me
        self.fields = [
            1, PUBLIC_ID, worker, worker, me.public, me.public, "search",
            "hash", job, lease,
            sha(header + struct.pack(">QQB", start, end, bits)), listed,
            amount, int(time.time() * 1000), text, sig, seq, prev, credit,
            total + credit]

    def signed(self, **change):
        """All fields, signed, with those changed that have these places."""
        fields = list(self.fields)
        for place, value in change.items():
            fields[int(place[1:])] = value
        return fields + [self.me.sign(b"hnode receipt 1\0"
                                      + pack_least(fields))]

    @staticmethod
    def hash(signed):
        return blake(pack_least(signed))



class Closed(Exception):
    """The node closed the connection."""


class Peer:
    """A session that we dialled: PROTOCOL 1 to 7."""

    def __init__(self, port, node_id, key=None, mesh_key=PUBLIC_KEY,
                 mesh_id=PUBLIC_ID, first=b"HNOD\0\1\0\0", timeout=20,
                 spoil=None):
        self.key = key or Key()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.stream = 1
        self.frames = []
        self.sent, self.got = b"", b""  # all bytes, as a wiretap has them
        try:
            self._shake(node_id, mesh_key, mesh_id, first, spoil)
        except BaseException:
            self.sock.close()
            raise

    def _shake(self, node_id, mesh_key, mesh_id, first, spoil):
        rs = x_form(node_id)
        s = Symmetric(b"Noise_XKpsk0_25519_ChaChaPoly_SHA256")
        s.mix_hash(first + mesh_id)
        s.mix_hash(rs)
        e = os.urandom(32)
        e_public = x25519(e, BASE_U)
        s.mix_key_and_hash(kdf(mesh_key, 1))
        s.mix_hash(e_public)
        s.mix_key(e_public)
        s.mix_key(x25519(e, rs))
        self._write(first)
        self._send(e_public + s.seal(b""))
        m = self._recv()
        h = s.h
        re = m[:32]
        s.mix_hash(re)
        s.mix_key(re)
        s.mix_key(x25519(e, re))
        self.hello = unpack(s.open(m[32:]))
        assert self.hello[1] == node_id
        assert verify(node_id, b"hnode session 1\0" + h, self.hello[2])
        h = s.h
        box = s.seal(self.key.x_public)
        s.mix_key(x25519(self.key.x_secret, re))
        mine = [1, self.key.public,
                self.key.sign(b"hnode session 1\0" + h),
                b"", 0, os.urandom(8), int(time.time() * 1000), 1]
        if spoil:
            spoil(mine)
        self._send(box + s.seal(pack(mine)))
        k1, k2 = hkdf(s.ck, b"", 2)
        self.tx, self.rx = Cipher(k1), Cipher(k2)
        kind, body = self.record()
        if kind == 4:
            raise Closed(body)
        assert kind == 1, kind  # the welcome
        self.send_record(2, body)

    def _exactly(self, n):
        out = b""
        while len(out) < n:
            try:
                part = self.sock.recv(n - len(out))
            except ConnectionError as e:
                raise Closed(str(e)) from None
            if not part:
                raise Closed("end of the connection")
            out += part
        self.got += out
        return out

    def _write(self, m):
        self.sent += m
        self.sock.sendall(m)

    def _send(self, m):
        self._write(struct.pack(">H", len(m)) + m)

    def _recv(self):
        n = struct.unpack(">H", self._exactly(2))[0]
        if n == 0xffff:
            raise Closed(self._exactly(8))
        return self._exactly(n)

    def send_record(self, kind, body):
        self._send(self.tx.seal(bytes([kind]) + body))

    def record(self):
        plain = self.rx.open(self._recv())
        return plain[0], plain[1:]

    def frame(self):
        """The next frame; pings are answered on the way."""
        while not self.frames:
            kind, body = self.record()
            if kind == 1:
                self.send_record(2, body)
            elif kind == 3:
                self.rx.rekey()
            elif kind == 4:
                raise Closed(body)
            while kind == 0 and body:
                k, flags, stream, n = struct.unpack(">BBIH", body[:8])
                self.frames.append((k, flags, stream, body[8:8 + n]))
                body = body[8 + n:]
        return self.frames.pop(0)

    def send_frame(self, kind, payload, stream, flags=0):
        self.send_record(0, struct.pack(">BBIH", kind, flags, stream,
                                        len(payload)) + payload)

    def open(self, method, request, version=1, credit=262144):
        name = method.encode()
        head = struct.pack(">HIIB", version, 0, credit, len(name)) + name
        stream = self.stream
        self.stream += 2
        self.send_frame(1, bytes([len(head)]) + head + pack(request), stream)
        return stream

    def call(self, method, request, version=1, chunks=None):
        """(error, text, reply) of a call; chunks that come are appended."""
        stream = self.open(method, request, version)
        reply = b""
        while True:
            kind, flags, at, payload = self.frame()
            if at == stream and kind == 2 and chunks is not None:
                chunks.append(unpack(payload))
            if at != stream or kind != 5:
                continue
            reply += payload
            if not flags & 1:
                break
        head = reply[1:1 + reply[0]]
        error, n = struct.unpack(">HB", head[:3])
        body = reply[1 + reply[0]:]
        return error, head[3:3 + n].decode(), unpack(body) if body else None

    def close(self):
        self.sock.close()


def differences(values):
    """Ascending numbers as packed_u32s has them: LEB128 of each step."""
    out, last = bytearray(), 0
    for v in values:
        step, last = v - last, v
        while step > 127:
            out.append(step & 127 | 128)
            step >>= 7
        out.append(step)
    return bytes(out)


def values(packed):
    """The numbers that differences() made this of."""
    out, last, step, shift = [], 0, 0, 0
    for b in packed:
        step |= (b & 127) << shift
        shift += 7
        if b < 128:
            last += step
            out.append(last)
            step = shift = 0
    return out


class Worker(Peer):
    """A peer that announces a capability over its session and serves
    hash.search in a thread of its own. `cheat` gets a unit and a function
    that finds its shares, and says what is told; None: nothing."""

    def __init__(self, port, node_id, cap, rate, cheat, **how):
        super().__init__(port, node_id, **how)
        self.offer = [cap, rate, 100, 1, 2]
        self.cheat = cheat
        self.units = []  # [start, end) of each that was asked for
        self.leases = {}  # of hash.digest, by stream
        self.opened = []  # places that were drawn
        self.ended = None  # why the session is over
        self.sock.settimeout(None)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while True:
                kind, flags, stream, payload = self.frame()
                if kind == 1:
                    self._serve(stream, payload)
                elif stream in self.leases:
                    self._digest_frame(stream, kind, flags, payload)
        except (Closed, OSError) as e:
            self.ended = str(e)

    def _serve(self, stream, payload):
        head = payload[1:1 + payload[0]]
        name = head[11:11 + head[10]].decode()
        request = unpack(payload[1 + payload[0]:])
        if name == "node.info":
            self._end(stream, [
                self.key.public, "cheat", "wire.py", 1, "public", PUBLIC_ID,
                "serve", 0, int(time.time() * 1000), [], 1, 0, "", [], [], 1,
                0, []])
            self.open("node.changed", [1, [self.offer], [self.offer[0]]])
        elif name == "hash.search":
            self._search(stream, *request[:6])
        elif name == "hash.digest":
            self.leases[stream] = Lease(*request[:5])
            self.send_frame(4, struct.pack(">I", 1 << 18), stream)
        else:
            self._end(stream, [])

    def _end(self, stream, reply):
        self.send_frame(5, bytes([3]) + bytes(3) + pack(reply), stream)

    def _search(self, stream, job, lease, header, start, end, bits):
        self.units.append((start, end))
        told = self.cheat(start, end, bits,
                          lambda: shares_of(header, start, end, bits))
        if told is None:
            return
        self.send_frame(2, pack([end, differences(told)]), stream)
        listed = hashlib.sha256(b"".join(struct.pack(">I", n)
                                         for n in told)).digest()
        self._end(stream, [end - start, len(told), self.key.sign(
            b"hnode answer 1\0" + job.encode() + header
            + struct.pack(">QQQB", lease, start, end, bits) + listed)])

    def _digest_frame(self, stream, kind, flags, payload):
        lease = self.leases[stream]
        if kind == 6:
            del self.leases[stream]
            return
        if kind != 2:
            return
        lease.chunk += payload
        if flags & 1:
            return
        first, items, places = unpack(lease.chunk)
        # Room for the next ones.
        self.send_frame(4, struct.pack(">I", len(lease.chunk)), stream)
        lease.chunk = b""
        for data, more in items:
            lease.part += data
            if not more:
                lease.inputs.append(lease.part)
                lease.part = b""
        if places:
            self.opened.append(list(sums(places)))
            tree = tree_of([leaf(x) for x in lease.inputs])
            self._end(stream, [len(lease.inputs), [
                [at, b"".join(path_of(tree, at))] for at in sums(places)]])
            return
        if len(lease.inputs) < lease.end - lease.start:
            return
        self.units.append((lease.start, lease.end))
        true = [digest_of(x, lease.rounds) for x in lease.inputs]
        told = self.cheat(lease, true)
        if told is None:
            return
        for at in range(0, len(told), 512):
            self._chunk(stream, [lease.start + at,
                                 b"".join(told[at:at + 512])])
        root = tree_of([leaf(x) for x in lease.inputs])[-1][0]
        out = lease.signed_root or tree_of([leaf(x) for x in told])[-1][0]
        sig = self.key.sign(
            b"hnode answer 1\0" + lease.job.encode() + root
            + struct.pack(">QQQB", lease.id, lease.start, lease.end,
                          lease.rounds) + out)
        self._chunk(stream, [lease.end, b"", root, out, sig])

    def _chunk(self, stream, message):
        # In frames of at most 16,000 bytes; flag 1: more follow.
        data = pack(message)
        for at in range(0, len(data), 16000):
            self.send_frame(2, data[at:at + 16000], stream,
                            1 if at + 16000 < len(data) else 0)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(10)
        super().close()


class Lease:
    """One of hash.digest. A cheat may set signed_root."""

    def __init__(self, job, number, start, end, rounds):
        self.job, self.id = job, number
        self.start, self.end, self.rounds = start, end, rounds
        self.inputs, self.part, self.chunk = [], b"", b""
        self.signed_root = None


def digest_of(data, rounds):
    d = hashlib.sha256(data).digest()
    return hashlib.sha256(d).digest() if rounds == 2 else d


def sums(data):
    """The numbers that differences() packs."""
    out, last, step, shift = [], 0, 0, 0
    for b in data:
        step |= (b & 127) << shift
        shift += 7
        if b < 128:
            last += step
            out.append(last)
            step = shift = 0
    return out


# --- RFC 6962 (Merkle trees) ---

def leaf(data):
    return hashlib.sha256(b"\0" + data).digest()


def tree_of(level):
    """All levels, the leaves first."""
    levels = [level]
    while len(level) > 1:
        level = [hashlib.sha256(b"\1" + b"".join(level[i:i + 2])).digest()
                 if i + 1 < len(level) else level[i]
                 for i in range(0, len(level), 2)]
        levels.append(level)
    return levels


def path_of(levels, at):
    for level in levels[:-1]:
        if at ^ 1 < len(level):
            yield level[at ^ 1]
        at //= 2


def shares_of(header, start, end, bits):
    """Nonces whose hash has at least so many leading zero bits."""
    first = hashlib.sha256(header[:64])
    tail, most, out = header[64:76], (1 << 256 - bits) - 1, []
    for nonce in range(start, end):
        h = first.copy()
        h.update(tail + struct.pack("<I", nonce))
        digest = hashlib.sha256(h.digest()).digest()
        if int.from_bytes(digest, "little") <= most:
            out.append(nonce)
    return out
