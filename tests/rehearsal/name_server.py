#!/usr/bin/env python3
"""name_server.py ADDRESS FILE: answers as a cluster's DNS does for headless Services.

FILE is {"mode": …, "names": {name: [address, …]}}, read anew for each question, and replaced by
whoever changes it. All addresses of a name come in any order and are good for 5 s; a name without
any does not exist. Mode "right" answers so; "slow" after a second; "failing" with SERVFAIL. It ends
when its stdin does.
"""

import json
import pathlib
import random
import sys
import threading

import dnslib
import dnslib.server

TTL_S = 5
SLOW_S = 1


class Names(dnslib.server.BaseResolver):
    def __init__(self, path):
        self.path = path

    def resolve(self, request, handler):
        told = json.loads(self.path.read_text(encoding="utf-8"))
        reply = request.reply()
        if told["mode"] == "failing":
            reply.header.rcode = dnslib.RCODE.SERVFAIL
            return reply
        if told["mode"] == "slow":
            threading.Event().wait(SLOW_S)
        name = str(request.q.qname).lower()
        addresses = told["names"].get(name, [])
        if not addresses:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        elif request.q.qtype == dnslib.QTYPE.A:
            for address in random.sample(addresses, len(addresses)):
                reply.add_answer(dnslib.RR(request.q.qname, dnslib.QTYPE.A, ttl=TTL_S,
                                           rdata=dnslib.A(address)))
        return reply


def main():
    address, path = sys.argv[1], pathlib.Path(sys.argv[2])
    for is_tcp in (False, True):
        dnslib.server.DNSServer(Names(path), address=address, port=53, tcp=is_tcp,
                                logger=dnslib.server.DNSLogger("-request,-reply")).start_thread()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
