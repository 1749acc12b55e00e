"""Record batches with every lie that is wanted, and what is in those that come back.

Compressed data is written by hand and left as it is inside its frame (stored blocks, literals), so that no
compression library is needed to write any codec.
"""

import struct
import zlib

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = {"gzip": GZIP, "snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


CRC_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = n << 1 ^ n >> 63 if n < 0 else n << 1
    n &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def sized(data, size=None):
    """Bytes after their length, or after the length that is claimed."""
    if data is None:
        return varint(-1 if size is None else size)
    return varint(len(data) if size is None else size) + data


def record(value=b"value", key=b"key", headers=(), delta=0, time=0, attributes=0, size=None, key_size=None,
           value_size=None, header_count=None, extra=b""):
    """One record. `size`, `key_size`, `value_size`, `header_count` and `extra` are the lies."""
    body = struct.pack(">b", attributes) + varint(time) + varint(delta)
    body += sized(key, key_size) + sized(value, value_size)
    body += varint(len(headers) if header_count is None else header_count)
    for name, content in headers:
        body += sized(name) + sized(content)
    body += extra
    return varint(len(body) if size is None else size) + body


def batch(records=None, codec=NONE, base_offset=0, size=None, leader_epoch=-1, magic=2, crc=None, attributes=0,
          last_delta=None, first_time=0, max_time=None, producer=-1, epoch=-1, sequence=-1, count=None, body=None,
          tail=b""):
    """A batch of records (dicts for `record`, whose deltas are counted up unless given; or bytes).

    `body` stands in place of the compressed records. Each header field can be claimed to be anything.
    """
    records = [{}] if records is None else records
    encoded = b""
    times = [0]
    for i, one in enumerate(records):
        if isinstance(one, dict):
            times.append(one.get("time", 0))
            one = record(**{"delta": i, **one})
        encoded += one
    body = compress(codec, encoded) if body is None else body
    after_crc = struct.pack(
        ">hiqqqhii", attributes | codec, len(records) - 1 if last_delta is None else last_delta, first_time,
        min(first_time + max(times), 2 ** 63 - 1) if max_time is None else max_time, producer, epoch, sequence,
        len(records) if count is None else count,
    ) + body
    crc = crc32c(after_crc) if crc is None else crc
    rest = struct.pack(">ibI", leader_epoch, magic, crc) + after_crc
    return struct.pack(">qi", base_offset, len(rest) if size is None else size) + rest + tail


def old_message(magic, value=b"value", key=b"key", time=0, attributes=0, offset=0):
    """A message of the formats before batches (magic 0 and 1)."""
    body = struct.pack(">bb", magic, attributes)
    if magic == 1:
        body += struct.pack(">q", time)
    for part in (key, value):
        body += struct.pack(">i", -1 if part is None else len(part)) + (part or b"")
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", offset, len(message)) + message


def compress(codec, data, **how):
    return {NONE: lambda d: d, GZIP: gzip, SNAPPY: snappy, LZ4: lz4, ZSTD: zstd}[codec](data, **how)


def gzip(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def snappy_block(data):
    size, n = bytearray(), len(data)
    while n > 0x7F:
        size.append(n & 0x7F | 0x80)
        n >>= 7
    size.append(n)
    out = bytes(size)
    for at in range(0, len(data), 60):
        part = data[at:at + 60]
        out += bytes([len(part) - 1 << 2]) + part
    return out


def snappy(data, framed=True):
    """Snappy, in the framing of its Java library or bare."""
    block = snappy_block(data)
    if not framed:
        return block
    return b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + struct.pack(">i", len(block)) + block


def rotate(n, by):
    return (n << by | n >> 32 - by) & 0xFFFFFFFF


def xxh32(data):
    """xxHash of 32 bits, for less than 16 bytes."""
    assert len(data) < 16
    h = (0x165667B1 + len(data)) & 0xFFFFFFFF
    while len(data) >= 4:
        h = rotate((h + int.from_bytes(data[:4], "little") * 0xC2B2AE3D) & 0xFFFFFFFF, 17) * 0x27D4EB2F & 0xFFFFFFFF
        data = data[4:]
    for byte in data:
        h = rotate((h + byte * 0x165667B1) & 0xFFFFFFFF, 11) * 0x9E3779B1 & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0x85EBCA77 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE3D & 0xFFFFFFFF
    return h ^ h >> 16


def lz4(data, end=True, check=None, descriptor=b"\x60\x40"):
    check = xxh32(descriptor) >> 8 & 0xFF if check is None else check
    out = b"\x04\x22\x4d\x18" + descriptor + bytes([check])
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += struct.pack("<I", len(part) | 0x80000000) + part
    return out + (b"\0\0\0\0" if end else b"")


def zstd(data, sized=True):
    """Zstandard in raw blocks, with or without the size of the content."""
    out = b"\x28\xb5\x2f\xfd"
    out += b"\xa0" + struct.pack("<I", len(data)) if sized else b"\x00\x58"
    parts = [data[at:at + 65536] for at in range(0, len(data), 65536)] or [b""]
    for i, part in enumerate(parts):
        out += (len(part) << 3 | (i == len(parts) - 1)).to_bytes(3, "little") + part
    return out


class Unreadable(Exception):
    """Contents that this program cannot read."""


def take_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Unreadable("a number that does not end")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value >> 1 ^ -(value & 1), at


def decompress(codec, data):
    if codec == NONE:
        return data
    try:
        return {GZIP: gunzip, SNAPPY: unsnappy, LZ4: unlz4, ZSTD: unzstd}[codec](data)
    except (KeyError, IndexError, struct.error, zlib.error) as cause:
        raise Unreadable(repr(cause)) from cause


def gunzip(data):
    return zlib.decompress(data, 31)


def copy(out, distance, length):
    if not 0 < distance <= len(out):
        raise Unreadable("a copy from before the start")
    for _ in range(length):
        out.append(out[-distance])


def unsnappy(data):
    if not data.startswith(b"\x82SNAPPY\0"):
        return unsnappy_block(data)
    out, at = b"", 16
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0]
        if size < 0:
            raise Unreadable(f"a block of {size} bytes")
        out += unsnappy_block(data[at + 4:at + 4 + size])
        at += 4 + size
    return out


def unsnappy_block(data):
    at = 0
    while data[at] > 0x7F:
        at += 1
    at += 1
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        kind, upper = tag & 3, tag >> 2
        if kind == 0:
            if upper >= 60:
                n = upper - 59
                upper, at = int.from_bytes(data[at:at + n], "little"), at + n
            out += data[at:at + upper + 1]
            at += upper + 1
        elif kind == 1:
            copy(out, (tag >> 5) << 8 | data[at], (upper & 7) + 4)
            at += 1
        else:
            n = 2 if kind == 2 else 4
            copy(out, int.from_bytes(data[at:at + n], "little"), upper + 1)
            at += n
    return bytes(out)


def unlz4(data):
    flags, at = data[4], 7
    if flags & 8:
        at += 8
    out = bytearray()
    while True:
        size = struct.unpack_from("<I", data, at)[0]
        at += 4
        if size == 0:
            return bytes(out)
        part = data[at:at + (size & 0x7FFFFFFF)]
        at += size & 0x7FFFFFFF
        if flags & 16:
            at += 4
        if size & 0x80000000:
            out += part
        else:
            unlz4_block(part, out)


def unlz4_block(data, out):
    at = 0
    while at < len(data):
        token, at = data[at], at + 1
        literals = token >> 4
        if literals == 15:
            literals, at = longer(data, at, literals)
        out += data[at:at + literals]
        at += literals
        if at >= len(data):
            return
        distance, at = data[at] | data[at + 1] << 8, at + 2
        length = token & 15
        if length == 15:
            length, at = longer(data, at, length)
        copy(out, distance, length + 4)


def longer(data, at, n):
    while True:
        n, at = n + data[at], at + 1
        if data[at - 1] != 255:
            return n, at


def unzstd(data):
    """Zstandard, if its blocks are raw or of one repeated byte."""
    out, at = bytearray(), 4
    flags = data[at]
    single = flags & 0x20
    at += 1 + (0 if single else 1) + (0, 1, 2, 4)[flags & 3]
    at += ((1 if single else 0), 2, 4, 8)[flags >> 6]
    while True:
        head, at = int.from_bytes(data[at:at + 3], "little"), at + 3
        size = head >> 3
        if at > len(data):
            raise Unreadable("a stream that does not end")
        if head >> 1 & 3 == 0:
            out += data[at:at + size]
            at += size
        elif head >> 1 & 3 == 1:
            out += data[at:at + 1] * size
            at += 1
        else:
            raise Unreadable("a compressed block of zstd")
        if head & 1:
            return bytes(out)


HEADER = ("leader_epoch", "magic", "crc", "attributes", "last_delta", "first_time", "max_time", "producer", "epoch",
          "sequence", "count")


def read_batches(data):
    """What is in the records of an answer: the header of each batch and its records, as dicts."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < 61:
            found.append({"cut": len(data) - at})
            break
        base, size = struct.unpack_from(">qi", data, at)
        whole = data[at:at + 12 + size]
        if len(whole) < 12 + size:
            found.append({"cut": len(whole), "base_offset": base, "size": size})
            break
        fields = struct.unpack_from(">ibIhiqqqhii", whole, 12)
        one = {"base_offset": base, "size": size, **dict(zip(HEADER, fields))}
        one["crc"] = "right" if crc32c(whole[21:]) == one["crc"] else "wrong"
        try:
            one["records"] = read_records(decompress(one["attributes"] & 7, whole[61:]), one["count"])
        except (Unreadable, IndexError) as cause:
            one["records"] = f"not read: {cause}"
        found.append(one)
        at += 12 + size
    return found


def read_records(data, count):
    records, at = [], 0
    for _ in range(count):
        size, at = take_varint(data, at)
        end = at + size
        attributes, at = data[at], at + 1
        time, at = take_varint(data, at)
        delta, at = take_varint(data, at)
        key, at = take_bytes(data, at)
        value, at = take_bytes(data, at)
        n, at = take_varint(data, at)
        headers = []
        for _ in range(n):
            name, at = take_bytes(data, at)
            content, at = take_bytes(data, at)
            headers.append([name, content])
        if at != end:
            raise Unreadable(f"a record ends at {at}, its size says {end}")
        records.append({"attributes": attributes, "time": time, "delta": delta, "key": key, "value": value,
                        "headers": headers})
    if at != len(data):
        raise Unreadable(f"{len(data) - at} bytes after the last record")
    return records


def take_bytes(data, at):
    size, at = take_varint(data, at)
    if size < 0:
        return None, at
    if at + size > len(data):
        raise Unreadable("bytes that go over the end")
    return data[at:at + size], at + size
