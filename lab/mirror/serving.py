"""A web server of one folder: serving.py ADDRESS PORT FOLDER. Needs nothing but Python."""

import socketserver
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    """Answers many requests by one connection, and lists no folders."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    """Seconds for a request; a client that is gone keeps no thread."""

    def list_directory(self, path: object) -> None:
        del path
        self.send_error(404)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing: errors are logged by themselves."""


class Server(ThreadingHTTPServer):
    """One thread for each connection, so that one that stalls stalls nobody else."""

    def server_bind(self) -> None:
        # HTTPServer's own asks a name server for the name of the address, which is nobody's business.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), partial(Handler, directory=sys.argv[3])).serve_forever()
