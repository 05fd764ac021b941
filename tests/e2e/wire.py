"""gRPC by hand, as little HTTP/2 as one call on a connection of its own takes: for what a client
library would not send, and for the code that ends a call."""

import re
import socket
import struct

TIMEOUT_S = 20  # a guard against a hang

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 4, 6, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MOST = (1 << 31) - 1  # of a flow-control window
INITIAL_WINDOW_SIZE = struct.pack(">HI", 4, MOST)

# Servers of gRPC write these headers in plain ASCII.
STATUS = re.compile(rb"grpc-status[\x01\x02](\d+)")

# HealthCheckResponse.
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED = 0, 3, 4
PERMISSION_DENIED, FAILED_PRECONDITION, UNAVAILABLE, UNAUTHENTICATED = 7, 9, 14, 16


def connect(address, tls=None):
    """A socket to host:port or unix:/path; `tls`: an ssl.SSLContext."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        # It waits while the listener's backlog is full; one with a timeout would not.
        connection.connect(address.removeprefix("unix:"))
        connection.settimeout(TIMEOUT_S)
    else:
        host, _, port = address.rpartition(":")
        connection = socket.create_connection((host, int(port)), TIMEOUT_S)
    return tls.wrap_socket(connection) if tls else connection


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name, value):
    """Neither indexed nor compressed. REQUIRES: both are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def head_of_call(method, **metadata):
    """What comes before a call's messages: "/package.Service/Method" and what goes with it."""
    headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "catena",
               "content-type": "application/grpc", "te": "trailers", **metadata}
    block = b"".join(header(name, value) for name, value in headers.items())
    return (PREFACE + frame(SETTINGS, 0, 0, INITIAL_WINDOW_SIZE)
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", MOST - (1 << 16)))
            + frame(HEADERS, END_HEADERS, 1, block))


def message(payload):
    return frame(DATA, 0, 1, b"\0" + struct.pack(">I", len(payload)) + payload)


def varint(value):
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def proto(**fields):
    """A protobuf message; `_3=x` is its field 3: an int, a str, or bytes, also of a message."""
    out = b""
    for name, value in fields.items():
        number = int(name.removeprefix("_")) << 3
        if isinstance(value, int):
            out += varint(number) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number | 2) + varint(len(value)) + value
    return out


def fields_of(message_bytes):
    """The fields of a protobuf message by number; of a repeated one the last."""
    fields, at = {}, 0

    def read_varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message_bytes[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message_bytes):
        number, kind = divmod(read_varint(), 8)
        if kind == 0:
            fields[number] = read_varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or read_varint()
        fields[number] = message_bytes[at:at + size]
        at += size
    return fields


class Call:
    """A call with one message, or more by `say` where it is not `last`. To iterate over it gives
    the answers; then `code` is how it ended, None where the connection ended without a word."""

    def __init__(self, connection, method, request=b"", last=True, **metadata):
        self.code = None
        self._connection = connection
        end = frame(DATA, END_STREAM, 1) if last else b""
        connection.sendall(head_of_call(method, **metadata) + message(request) + end)

    def say(self, request):
        self._connection.sendall(message(request))

    def __iter__(self):
        data = b""
        for kind, flags, payload in self._frames():
            if kind == DATA:
                data += payload
            while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
                yield data[5:end]
                data = data[end:]
            if kind == HEADERS and (status := STATUS.search(payload)):
                self.code = int(status[1])
                return
            if kind == PING and not flags & ACK:
                self._connection.sendall(frame(PING, ACK, 0, payload))

    def _frames(self):
        with self._connection.makefile("rb") as stream:
            while start := stream.read(9):
                kind, flags = start[3:5]
                yield kind, flags, stream.read(int.from_bytes(start[:3], "big"))

    def end(self):
        """How it ended."""
        for _ in self:
            pass
        return self.code


def is_serving(address, tls=None):
    """What grpc.health.v1 says of the whole process; None where no call can be made."""
    try:
        with connect(address, tls) as connection:
            answers = list(Call(connection, "/grpc.health.v1.Health/Check"))
    except OSError:  # that of TLS is one
        return None
    return answers == [SERVING] if answers else None


def await_not_serving(address, seconds):
    """Until grpc.health.v1 says so of the whole process."""
    with connect(address) as connection:
        watch = Call(connection, "/grpc.health.v1.Health/Watch",
                     **{"grpc-timeout": f"{seconds}S"})
        if not any(answer == NOT_SERVING for answer in watch):
            raise AssertionError(f"{address} serves, after {seconds} s (status {watch.code})")
