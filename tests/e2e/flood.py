"""A client that opens many calls on a connection, sends what it may of each one's message, and
never the end: HTTP/2 by hand, within the server's flow-control windows, as a well-made client that
means harm."""

import selectors
import socket
import ssl
import struct

import wire

END_OF_CALL, GOAWAY = 3, 7  # RST_STREAM
FRAME = 16 << 10
STALL_S = 1.0  # without any sign of the server: it takes no more
FIRST_WINDOW = 65535


class Flood:
    """`calls` calls of a method on one connection, each of which announces a message of `announced`
    bytes and sends `size` of them as far as it is let; `hello`, where it is given, is a whole
    message before it. `ended`: how many the server has ended."""

    def __init__(self, address, method, calls, size, announced=None, tls=None, hello=None,
                 **metadata):
        self.sent = self.ended = 0
        self.broken = self._waiting = False
        self._in = b""
        self._out = bytearray()
        self._window = FIRST_WINDOW  # of the connection
        self._first_window = FIRST_WINDOW  # of a stream
        self._windows = {}  # of the streams, beyond the first window
        self._left = {}  # bytes of message, by stream
        self._size = size
        whole = b"" if hello is None else b"\0" + struct.pack(">I", len(hello)) + hello
        self._prefix = whole + b"\0" + struct.pack(">I", announced or size + 1)
        self._connection = wire.connect(address, tls)
        self._connection.setblocking(False)
        first = wire.head_of_call(method, **metadata)
        head = first[-self._headers_length(first):]
        self._out += first[:-len(head)]
        for stream in range(1, 2 * calls, 2):
            self._out += head[:5] + struct.pack(">I", stream) + head[9:]
            self._left[stream] = len(self._prefix) + size
            self._windows[stream] = 0

    @staticmethod
    def _headers_length(first):
        """Of the HEADERS frame, which is the last one."""
        at = len(wire.PREFACE)
        while at < len(first):
            length = 9 + int.from_bytes(first[at:at + 3], "big")
            if at + length == len(first):
                return length
            at += length
        raise AssertionError("no frames")

    def fileno(self):
        return self._connection.fileno()

    def close(self):
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def is_done(self):
        """Whether it has sent what it has, or waited for its calls to end."""
        return self.broken or not (self._windows if self._waiting else self._left)

    def wait_for_end(self):
        """From now on it is done once the server has ended its calls."""
        self._waiting = True

    def step(self):
        """Takes what has come, and sends what may go. Whether anything moved."""
        moved = self._receive()
        if self.broken:
            return moved
        if len(self._out) < 4 * FRAME:
            self._fill()
        return self._send() or moved

    def _receive(self):
        try:
            data = self._connection.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            data = b""
        if not data:
            self.broken = True
            return True
        self._in += data
        while len(self._in) >= 9 and len(self._in) >= (end := 9 + int.from_bytes(self._in[:3],
                                                                                "big")):
            kind, flags, stream = struct.unpack(">BBI", self._in[3:9])
            self._take(kind, flags, stream, self._in[9:end])
            self._in = self._in[end:]
        return True

    def _take(self, kind, flags, stream, payload):
        if kind == wire.WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream == 0:
                self._window += more
            elif stream in self._windows:
                self._windows[stream] += more
        elif kind == wire.SETTINGS and not flags & wire.ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at:at + 6])
                if name == 4:
                    self._first_window = value
            self._out += wire.frame(wire.SETTINGS, wire.ACK, 0)
        elif kind == wire.PING and not flags & wire.ACK:
            self._out += wire.frame(wire.PING, wire.ACK, 0, payload)
        elif kind == END_OF_CALL or kind == wire.HEADERS and flags & wire.END_STREAM:
            if self._windows.pop(stream, None) is not None:
                self.ended += 1
            self._left.pop(stream, None)
        elif kind == GOAWAY:
            self.broken = True

    def _fill(self):
        for stream in list(self._left):
            window = self._first_window + self._windows[stream]
            n = min(self._left[stream], window, self._window, FRAME)
            if n <= 0:
                continue
            begin = len(self._prefix) + self._size - self._left[stream]
            data = (self._prefix[begin:] + b"\x12" * n)[:n]
            self._out += wire.frame(wire.DATA, 0, stream, data)
            self._window -= n
            self._windows[stream] -= n
            self._left[stream] -= n
            self.sent += n
            if self._left[stream] == 0:
                del self._left[stream]
            if len(self._out) > 16 * FRAME:
                return

    def _send(self):
        if not self._out:
            return False
        try:
            n = self._connection.send(self._out)
        except (BlockingIOError, ssl.SSLWantWriteError):
            return False
        except OSError:
            self.broken = True
            return True
        del self._out[:n]
        return n > 0


def pour(floods, look=lambda: None):
    """Runs them until all have sent what they have, or the server lets none of them go on. Calls
    `look` again and again meanwhile."""
    with selectors.DefaultSelector() as selector:
        for flood in floods:
            selector.register(flood, selectors.EVENT_READ)
        while not all(flood.is_done() for flood in floods):
            moved = [flood.step() for flood in floods if not flood.broken]
            look()
            if not any(moved) and not selector.select(STALL_S):
                return


def connect_many(address, count):
    """As many connections as the server takes; those that it does not are closed here too."""
    held = []
    for _ in range(count):
        try:
            held.append(wire.connect(address))
        except (ConnectionError, socket.timeout):
            break
    return held
