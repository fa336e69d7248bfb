"""A small metadata server in Python: the standard library's WSGI server, and the same look-up as tpl's for each request: the
neighbour table for the caller's card, the bridge's table for the card's port, and the domain that has both. One line of log each.

    metadata_peer.py BRIDGE DOMAINS.json
"""

import json
import socket
import socketserver
import sys
import time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

BRIDGE, DOMAINS = sys.argv[1], {(d["mac"], d["port"]): d for d in json.load(open(sys.argv[2]))}


def neighbour(address):
    with open("/proc/net/arp") as table:
        for line in table:
            fields = line.split()
            if fields[0] == address and fields[5] == BRIDGE and fields[2] != "0x0":
                return fields[3]
    return None


def port(mac):
    wanted = bytes.fromhex(mac.replace(":", ""))
    with open(f"/sys/class/net/{BRIDGE}/brforward", "rb") as table:
        entries = table.read()
    for at in range(0, len(entries), 16):
        if entries[at : at + 6] == wanted and not entries[at + 7]:
            number = entries[at + 6] | entries[at + 12] << 8
            return PORTS.get(number)
    return None


def ports():
    import os

    folder = f"/sys/class/net/{BRIDGE}/brif"
    return {int(open(f"{folder}/{name}/port_no").read(), 16): name for name in os.listdir(folder)}


PORTS = ports()


def application(environ, start_response):
    began = time.monotonic()
    address, path = environ["REMOTE_ADDR"], environ["PATH_INFO"]
    mac = neighbour(address)
    domain = DOMAINS.get((mac, port(mac))) if mac else None
    parts = path.strip("/").split("/")
    if domain is None or parts[0] != "latest":
        status, body = "404 Not Found", b"there is nothing here\n"
    else:
        leaf = domain["leaves"].get("/".join(parts[1:]))
        status, body = ("200 OK", leaf.encode()) if leaf is not None else ("404 Not Found", b"there is nothing here\n")
    line = {"domain": domain and domain["name"], "address": address, "path": path, "status": status[:3], "micros": int((time.monotonic() - began) * 1e6)}
    sys.stderr.write(json.dumps(line) + "\n")
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, BRIDGE.encode())
        super().server_bind()


make_server("169.254.169.254", 80, application, Server, Quiet).serve_forever()
