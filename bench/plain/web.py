"""Queues jobs, as most would write it first."""

import os

import redis
from flask import Flask, request

app = Flask(__name__)
queue = redis.Redis(os.environ["QUEUE_HOST"])


@app.post("/fib")
def fib() -> tuple[dict[str, object], int]:
    """Queues the job as it came: nothing of it is checked."""
    queue.lpush("jobs", request.get_data())
    job = request.get_json()
    return {"id": job["id"], "n": job["n"]}, 202
