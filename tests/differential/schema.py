"""Encodes requests and decodes answers of Kafka's protocol, in any version, from Kafka's own message definitions.

The definitions are the JSON files inside Kafka's client jar. Nothing here knows a single API, and nothing is
shared with the server under test: what the two disagree about shows.
"""

import json
import re
import struct
import uuid
import zipfile

FIXED = {
    "bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q",
    "float64": ">d",
}
ZERO_ID = uuid.UUID(int=0)


class Raw(bytes):
    """Bytes that are written in place of a field, whatever its type: the way to lie about a length."""


class Malformed(Exception):
    """An answer that does not follow its definition."""


def in_range(versions, version):
    """Whether a range as definitions have it ("none", "3", "3+", "3-5") holds a version."""
    if versions == "none":
        return False
    low, plus, high = re.fullmatch(r"(\d+)(\+|-(\d+))?", versions).groups()
    if version < int(low):
        return False
    return plus == "+" or version <= int(high or low)


def unsigned(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


class Reader:
    """Takes fields off the front of an answer."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise Malformed(f"{n} bytes wanted at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def fixed(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def unsigned(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 35:
                raise Malformed("a number of more than five bytes")

    def rest(self):
        return self.data[self.at:]


class Message:
    """One request or response, by its definition."""

    def __init__(self, definition):
        self.name = definition["name"]
        self.key = definition["apiKey"]
        self.valid = definition["validVersions"]
        self.flexible = definition.get("flexibleVersions", "none")
        self.fields = definition.get("fields", [])
        self.structs = {s["name"]: s["fields"] for s in definition.get("commonStructs", [])}

    def is_flexible(self, version):
        return in_range(self.flexible, version)

    def encode(self, version, body):
        out = bytearray()
        self._write_fields(out, self.fields, version, body, self.name)
        return bytes(out)

    def decode(self, version, reader):
        return self._read_fields(reader, self.fields, version)

    def _write_fields(self, out, fields, version, values, where):
        names = {f["name"] for f in fields} | {"_tags"}
        if set(values) - names:
            raise KeyError(f"{where} has no {sorted(set(values) - names)}, but {sorted(names)}")
        tags = {}
        for f in fields:
            if not in_range(f["versions"], version):
                continue
            given = f["name"] in values
            value = values[f["name"]] if given else default_of(f, version)
            if "tag" in f and in_range(f["taggedVersions"], version):
                if given:
                    tagged = bytearray()
                    self._write(tagged, f, f["type"], version, value, where)
                    tags[f["tag"]] = bytes(tagged)
            else:
                self._write(out, f, f["type"], version, value, f"{where}.{f['name']}")
        if self.is_flexible(version):
            tags.update(values.get("_tags", {}))
            out += unsigned(len(tags))
            for tag, data in sorted(tags.items()):
                out += unsigned(tag) + unsigned(len(data)) + data

    def _write(self, out, f, kind, version, value, where):
        flexible = self.is_flexible(version) and f.get("flexibleVersions") != "none"
        if isinstance(value, Raw):
            out += value
        elif kind in FIXED:
            out += struct.pack(FIXED[kind], value)
        elif kind == "uuid":
            out += value.bytes
        elif kind.startswith("[]"):
            write_length(out, None if value is None else len(value), flexible, ">i")
            for item in value or []:
                self._write(out, f, kind[2:], version, item, where)
        elif kind in ("string", "bytes", "records"):
            data = value.encode() if isinstance(value, str) else value
            write_length(out, None if data is None else len(data), flexible, ">h" if kind == "string" else ">i")
            out += data or b""
        else:
            if "nullableVersions" in f and not f["type"].startswith("[]"):
                out += b"\xff" if value is None else b"\x01"
            if value is not None:
                self._write_fields(out, self._struct(f, kind), version, value, where)

    def _struct(self, f, kind):
        return f.get("fields") or self.structs[kind]

    def _read_fields(self, reader, fields, version):
        value = {}
        by_tag = {}
        for f in fields:
            if not in_range(f["versions"], version):
                continue
            if "tag" in f and in_range(f["taggedVersions"], version):
                by_tag[f["tag"]] = f
                value[f["name"]] = default_of(f, version)
            else:
                value[f["name"]] = self._read(reader, f, f["type"], version)
        if self.is_flexible(version):
            last = -1
            for _ in range(reader.unsigned()):
                tag, size = reader.unsigned(), reader.unsigned()
                inner = Reader(reader.take(size))
                if tag <= last:
                    raise Malformed(f"tag {tag} after tag {last}")
                last = tag
                if tag in by_tag:
                    f = by_tag[tag]
                    value[f["name"]] = self._read(inner, f, f["type"], version)
                    if inner.rest():
                        raise Malformed(f"bytes after tag {tag}")
                else:
                    value.setdefault("_tags", {})[tag] = inner.rest().hex()
        return value

    def _read(self, reader, f, kind, version):
        flexible = self.is_flexible(version) and f.get("flexibleVersions") != "none"
        if kind in FIXED:
            return reader.fixed(FIXED[kind])
        if kind == "uuid":
            return uuid.UUID(bytes=bytes(reader.take(16)))
        if kind.startswith("[]"):
            n = read_length(reader, flexible, ">i")
            return None if n is None else [self._read(reader, f, kind[2:], version) for _ in range(n)]
        if kind in ("string", "bytes", "records"):
            n = read_length(reader, flexible, ">h" if kind == "string" else ">i")
            if n is None:
                return None
            data = bytes(reader.take(n))
            return data.decode() if kind == "string" else data
        if "nullableVersions" in f and not f["type"].startswith("[]") and reader.fixed(">b") < 0:
            return None
        return self._read_fields(reader, self._struct(f, kind), version)


def write_length(out, n, flexible, form):
    if flexible:
        out += unsigned(0 if n is None else n + 1)
    else:
        out += struct.pack(form, -1 if n is None else n)


def read_length(reader, flexible, form):
    n = reader.unsigned() - 1 if flexible else reader.fixed(form)
    if n < -1:
        raise Malformed(f"length {n}")
    return None if n == -1 else n


def default_of(f, version):
    kind = f["type"]
    given = f.get("default")
    if given == "null":
        return None
    if kind.startswith("[]"):
        return []
    if kind == "bool":
        return given in (True, "true")
    if kind == "float64":
        return float(given or 0)
    if kind in FIXED:
        return int(str(given or 0), 0)
    if kind == "uuid":
        return ZERO_ID
    if kind == "string":
        return given or ""
    if kind in ("bytes", "records"):
        return b""
    return {}


class Protocol:
    """All requests and responses of the client jar in a folder."""

    def __init__(self, jars):
        jar = next(path for path in jars.glob("kafka-clients-*.jar"))
        self.requests, self.responses = {}, {}
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                if not re.fullmatch(r"common/message/\w+\.json", name):
                    continue
                text = archive.read(name).decode()
                definition = json.loads("\n".join(l for l in text.splitlines() if not l.lstrip().startswith("//")))
                side = {"request": self.requests, "response": self.responses}.get(definition["type"])
                if side is not None:
                    message = Message(definition)
                    side[re.sub("(Request|Response)$", "", message.name)] = message

    def request(self, api, version, correlation, client, body, header=None):
        """A whole frame. `body` may be bytes; `header` gives other values for key or version."""
        message = self.requests[api]
        payload = body if isinstance(body, bytes) else message.encode(version, body)
        sent = {"key": message.key, "version": version, **(header or {})}
        name = client.encode() if isinstance(client, str) else client
        head = struct.pack(">hhi", sent["key"], sent["version"], correlation)
        head += struct.pack(">h", -1) if name is None else struct.pack(">h", len(name)) + name
        if message.is_flexible(version):
            head += b"\0"
        return struct.pack(">i", len(head) + len(payload)) + head + payload

    def response(self, api, version, frame):
        """Correlation id and body of an answer; bytes that are left over are an error."""
        message = self.responses[api]
        reader = Reader(frame)
        correlation = reader.fixed(">i")
        # The answer to ApiVersions has the oldest header in every version, so that any client can read it.
        if message.is_flexible(version) and api != "ApiVersions" and reader.unsigned():
            raise Malformed("tags in the header")
        body = message.decode(version, reader)
        if reader.rest():
            raise Malformed(f"{len(reader.rest())} bytes after the answer")
        return correlation, body
