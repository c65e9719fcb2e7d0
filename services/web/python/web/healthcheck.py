"""Exits with 0 if the server of this machine serves the page."""

import sys
from http.client import HTTPConnection, HTTPException

PORT = 8000
TIMEOUT_S = 2


def main() -> int:
    """Asks for the page."""
    connection = HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"no page: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
