#!/bin/sh
# The health check of a queue of one node. After a write that failed, as on a full disk, a stream stores nothing
# more until the server starts again, even when there is room. So the server is told to end, and Docker starts it
# again. While the disk stays full, the server is started again and again.
set -eu

healthz=http://127.0.0.1:8222/healthz

# Without ?js-enabled-only=true, the server also checks whether each stream can store. A 503 means that one cannot; a
# slow answer does not.
cannot_store() { wget -q -S -T 1 -O /dev/null "$healthz" 2>&1 | grep -q 'HTTP/1.1 503'; }

wget -q -T 1 -O /dev/null "$healthz?js-enabled-only=true"
# A 503 may also mean that a stream is just being created. So the server has to say it twice.
if cannot_store && sleep 0.5 && cannot_store; then
    echo "healthcheck: a stream cannot store, so the server starts again" >&2
    kill -TERM 1
    exit 1
fi
