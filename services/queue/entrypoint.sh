#!/bin/sh
# Starts the queue, having made each service's password on the first start: there is no default
# one. A password lies in a volume of its own, which its service mounts too, read-only, and reads
# at every connection. To change one, remove its file (or the volume) and restart the queue.
set -eu
umask 077

timer_slack_ns=1000000

# password SERVICE: prints SERVICE's password.
password() {
    file=/credentials/$1/password
    if [ ! -s "$file" ]; then
        head -c 32 /dev/urandom | sha256sum | cut -c 1-64 | tr -d '\n' > "$file.new"
        # Under its name only when whole, since the service may be reading already.
        mv "$file.new" "$file"
    fi
    cat "$file"
}

# The server parses the variables as it parses its file: in quotation marks they are strings.
quoted() { printf '"%s"' "$1"; }

WEB_PASSWORD=$(quoted "$(password web)")
CALCULATOR_PASSWORD=$(quoted "$(password calculator)")
WEBSOCKET_PASSWORD=$(quoted "$(password websocket)")
SYNC_INTERVAL=$(quoted "$SYNC_INTERVAL")
export WEB_PASSWORD CALCULATOR_PASSWORD WEBSOCKET_PASSWORD SYNC_INTERVAL

# The server's two streams are in fsync most of the time (docs/adr/0015): each has a processor of Go's
# to itself, and nobody looks every 20 us whether it could be taken away. Where the kernel has no
# such file, the looks stay.
export GOMAXPROCS="${GOMAXPROCS:-$(($(nproc) + 2))}"
{ echo "$timer_slack_ns" > /proc/self/timerslack_ns; } 2>/dev/null || true

exec nats-server --config /etc/nats/nats-server.conf --store_dir /data "$@"
