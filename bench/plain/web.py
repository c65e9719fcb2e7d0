"""Queues jobs, as most people would write it first."""

import os

import redis
from flask import Flask, request

app = Flask(__name__)
queue = redis.Redis(os.environ["QUEUE_HOST"])


@app.post("/fib")
def fib() -> tuple[dict[str, object], int]:
    """Queues the request body as it is, without checking anything."""
    queue.lpush("jobs", request.get_data())
    job = request.get_json()
    return {"id": job["id"], "n": job["n"]}, 202
