"""TCP between the processes of a cluster, edge by edge: refused, silent, slow, altered, healed.

Who is called listens behind a front, whose address the others are given; who calls is known by the
process that holds the other end of the connection. So one process may be unable to reach another
while a third reaches both.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading

CHUNK = 1 << 16
ROWS = 1 << 10  # a piece of so many bytes is mostly rows
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection


def _hex(address):
    """As /proc/net/tcp writes host and port, and /proc/net/tcp6 at the end of a longer host."""
    host, port = address
    (word,) = struct.unpack("=I", socket.inet_aton(host))
    return f"{word:08X}:{port:04X}"


def _inode_of(local, remote):
    """Of the socket with these ends on this machine; None where there is none."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):  # who takes both kinds is in the second
        with open(table, encoding="ascii") as lines:
            for line in lines:
                fields = line.split()
                if fields[1].endswith(_hex(local)) and fields[2].endswith(_hex(remote)):
                    return fields[9]
    return None


def _holds(pid, inode):
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for fd in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{fd}") == f"socket:[{inode}]":
                    return True
    return False


class _Edge:
    """From one process to another. Used on the loop's thread alone."""

    def __init__(self):
        self.refused = False
        self.delay_s = 0
        self.flips = 0  # bits to flip yet
        self.speaks = asyncio.Event()  # not set: it is silent
        self.speaks.set()
        self.connections = set()  # transports, both ends of each


class Edges:
    """A front for each process, and what is done to connections through it. A context manager."""

    def __init__(self):
        self._pids = {}     # by the name of a process
        self._targets = {}  # where it listens, likewise
        self._edges = {}    # by (caller, callee)
        self._servers = []
        self._tasks = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def front(self, callee):
        """The address by which others are to call `callee`, from where they are led to it once it
        is known."""
        return self._call(self._listen(callee))

    def know(self, name, pid, address):
        """Which process `name` is now: whose connections are its, and where it listens."""
        self._pids[name] = pid
        host, _, port = address.rpartition(":")
        self._targets[name] = host, int(port)

    def forget(self, name):
        """It is no more."""
        self._targets.pop(name)

    def refuse(self, caller, callee):
        """Resets its connections, and every new one."""
        self._call(self._change(caller, callee, refused=True))

    def silence(self, caller, callee):
        """Nothing comes through, and nobody is told."""
        self._call(self._change(caller, callee, silent=True))

    def slow(self, caller, callee, seconds):
        """Each piece of data waits so long."""
        self._call(self._change(caller, callee, delay_s=seconds))

    def flip(self, caller, callee):
        """One bit of the next rows that the caller sends."""
        self._call(self._flip(caller, callee))

    def heal(self, caller, callee):
        self._call(self._change(caller, callee))

    # --- on the loop's thread ---

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _edge(self, caller, callee):
        return self._edges.setdefault((caller, callee), _Edge())

    async def _change(self, caller, callee, refused=False, silent=False, delay_s=0):
        edge = self._edge(caller, callee)
        edge.refused, edge.delay_s, edge.flips = refused, delay_s, 0
        (edge.speaks.clear if silent else edge.speaks.set)()
        if refused:
            for transport in list(edge.connections):
                transport.abort()

    async def _flip(self, caller, callee):
        self._edge(caller, callee).flips += 1

    def _caller(self, writer):
        local, remote = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        inode = _inode_of(local, remote)
        # (Others are named while this looks.)
        named = list(self._pids.items())
        return next((name for name, pid in named if inode and _holds(pid, inode)), None)

    async def _listen(self, callee):
        async def serve(reader, writer):
            edge = self._edge(self._caller(writer), callee)
            with contextlib.suppress(OSError):
                if callee in self._targets:
                    await self._carry(edge, reader, writer, *self._targets[callee])
            writer.transport.abort()

        def accept(*ends):  # no coroutine: asyncio would report that one was cancelled
            task = self._loop.create_task(serve(*ends))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return "127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    async def _carry(self, edge, reader, writer, host, port):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if edge.refused:
            return
        await edge.speaks.wait()
        there, to_there = await asyncio.open_connection(host, port)
        edge.connections |= {writer.transport, to_there.transport}
        try:
            await asyncio.gather(self._pump(edge, reader, to_there, forth=True),
                                 self._pump(edge, there, writer))
        finally:
            to_there.transport.abort()
            edge.connections -= {writer.transport, to_there.transport}

    @staticmethod
    async def _pump(edge, source, sink, forth=False):
        while data := await source.read(CHUNK):
            if forth and edge.flips and len(data) >= ROWS:
                edge.flips -= 1
                middle = len(data) // 2
                data = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1:]
            await edge.speaks.wait()
            if edge.delay_s:
                later = asyncio.get_running_loop().create_future()
                later.get_loop().call_later(edge.delay_s, later.set_result, None)
                await later
            sink.write(data)
            await sink.drain()
        sink.write_eof()

    async def _close(self):
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        loop = asyncio.get_running_loop()
        closed = loop.create_future()
        loop.call_soon(closed.set_result, None)  # behind what closes connections that were aborted
        await closed
