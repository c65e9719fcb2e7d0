#!/bin/sh
# Starts the queue. On the first start it generates a password for each service, so there is no default
# password. Each password is kept in a volume of its own, which its service mounts read-only and reads
# for every connection. To change one, remove its file (or the volume) and restart the queue.
set -eu
umask 077

timer_slack_ns=1000000

# password SERVICE: prints SERVICE's password.
password() {
    file=/credentials/$1/password
    if [ ! -s "$file" ]; then
        head -c 32 /dev/urandom | sha256sum | cut -c 1-64 | tr -d '\n' > "$file.new"
        # The file gets its name when it is complete, since the service may be reading already.
        mv "$file.new" "$file"
    fi
    cat "$file"
}

# The server parses the variables like its configuration file: quotation marks make them strings.
quoted() { printf '"%s"' "$1"; }

WEB_PASSWORD=$(quoted "$(password web)")
CALCULATOR_PASSWORD=$(quoted "$(password calculator)")
WEBSOCKET_PASSWORD=$(quoted "$(password websocket)")
SYNC_INTERVAL=$(quoted "$SYNC_INTERVAL")
export WEB_PASSWORD CALCULATOR_PASSWORD WEBSOCKET_PASSWORD SYNC_INTERVAL

# The server's two streams spend most of their time in fsync (docs/adr/0015). So each gets one of Go's
# processors to itself, and a longer timer slack keeps Go's monitor from checking every 20 us whether
# it should take them away. Some kernels do not have this file; then the checks go on.
export GOMAXPROCS="${GOMAXPROCS:-$(($(nproc) + 2))}"
{ echo "$timer_slack_ns" > /proc/self/timerslack_ns; } 2>/dev/null || true

exec nats-server --config /etc/nats/nats-server.conf --store_dir /data "$@"
