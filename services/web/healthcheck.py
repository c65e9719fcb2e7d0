"""Exits with 0 if the server of this machine serves the page.

It uses a plain socket, because it runs every few seconds, and importing an HTTP client would take
several times as long as the request.
"""

import socket
import sys

ADDRESS = ("127.0.0.1", 8000)
TIMEOUT_S = 2
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def main() -> int:
    """Asks for the page."""
    try:
        with socket.create_connection(ADDRESS, TIMEOUT_S) as connection:
            connection.sendall(REQUEST)
            status_line = connection.makefile("rb").readline()
    except OSError as error:
        print(f"no page: {error}", file=sys.stderr)
        return 1
    return 0 if status_line.split()[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
