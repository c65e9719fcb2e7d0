"""Takes jobs from a Redis list, one at a time, and publishes their results."""

import json
import os

import redis


def fibonacci(n: int) -> int:
    """F(n), by n additions."""
    previous, current = 0, 1
    for _ in range(n):
        previous, current = current, previous + current
    return previous


def main() -> None:
    """Works forever."""
    queue = redis.Redis(os.environ["QUEUE_HOST"])
    while True:
        _, body = queue.brpop(["jobs"])
        job = json.loads(body)
        value = str(fibonacci(job["n"]))
        result = {"type": "result", "id": job["id"], "n": job["n"], "digits": len(value), "value": value}
        queue.publish("results", json.dumps(result))


if __name__ == "__main__":
    main()
