"""A small metadata server in Python: the standard library's WSGI server, and the same look-up as tpl's for each request: the mark that
the kernel has given the connection, by the wire that it came in by, and the domain of that wire. One line of log each.

    metadata_peer.py BRIDGE DOMAINS.json
"""

import json
import socket
import socketserver
import sys
import time
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

BRIDGE, DOMAINS = sys.argv[1], {d["mark"]: d for d in json.load(open(sys.argv[2]))}


def application(environ, start_response):
    began = time.monotonic()
    address, path = environ["REMOTE_ADDR"], environ["PATH_INFO"]
    domain = DOMAINS.get(environ["SO_MARK"])
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


class Handler(WSGIRequestHandler):
    def get_environ(self):
        return super().get_environ() | {"SO_MARK": self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)}

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 512

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, BRIDGE.encode())
        super().server_bind()


make_server("169.254.169.254", 80, application, Server, Handler).serve_forever()
