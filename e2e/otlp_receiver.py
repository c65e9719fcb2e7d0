"""Receives traces over OTLP: `python e2e/otlp_receiver.py HOST:PORT`. Prints its address, and then the body of each
request in Base64, one a line.

It needs the standard library only, so that it runs in any image with Python. `traces.py` reads what it prints.
"""

import base64
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_traces = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        if is_traces:
            print(base64.b64encode(body).decode(), flush=True)
        self.send_response(200 if is_traces else 400)
        # An empty message says that all was received.
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing."""


def main() -> None:
    host, _, port = sys.argv[1].rpartition(":")
    with ThreadingHTTPServer((host, int(port)), _Handler) as server:
        print(f"http://{host}:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
