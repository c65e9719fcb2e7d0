#!/bin/sh
# Starts the queue, or one of its nodes. On the first start it generates a password for each service, so
# there is no default password. Each password is kept in a volume of its own, which its service mounts
# read-only and reads for every connection. To change one, remove its file (or the volume) and restart the
# queue.
#
# Where QUEUE_NODES lists the hosts of several nodes, separated by commas, QUEUE_NODE is the name of this one.
# The nodes share the volumes with the passwords, one of which is for the routes between the nodes.
set -eu
umask 077

timer_slack_ns=1000000

# password NAME: prints the password of a service or of the routes.
password() {
    file=/credentials/$1/password
    if [ ! -e "$file" ]; then
        new=$(mktemp "$file.XXXXXX")
        head -c 32 /dev/urandom | sha256sum | cut -c 1-64 | tr -d '\n' > "$new"
        # The file gets its name when it is complete, since its service may be reading already. Of several
        # nodes that start at once, only one succeeds: a link never replaces a file. All use its password.
        ln "$new" "$file" 2>/dev/null || [ -e "$file" ]
        rm "$new"
    fi
    [ -s "$file" ] || { echo "entrypoint: $file is empty. Remove it to have a password generated." >&2; exit 1; }
    cat "$file"
}

# The server parses the variables like its configuration file: quotation marks make them strings.
quoted() { printf '"%s"' "$1"; }

# routes PASSWORD: the addresses of all nodes, as a list in the server's syntax.
routes() {
    list=
    for host in $(echo "$QUEUE_NODES" | tr ',' ' '); do
        list="$list$(quoted "nats-route://routes:$1@$host:6222"),"
    done
    echo "[${list%,}]"
}

web=$(password web)
calculator=$(password calculator)
websocket=$(password websocket)
WEB_PASSWORD=$(quoted "$web")
CALCULATOR_PASSWORD=$(quoted "$calculator")
WEBSOCKET_PASSWORD=$(quoted "$websocket")
SYNC_INTERVAL=$(quoted "$SYNC_INTERVAL")
export WEB_PASSWORD CALCULATOR_PASSWORD WEBSOCKET_PASSWORD SYNC_INTERVAL

if [ -n "${QUEUE_NODES:-}" ]; then
    # The cluster knows nothing of the streams of a server that ran alone, and would delete them.
    if [ -d /data/jetstream/JOBS ] && [ ! -d "/data/jetstream/\$SYS" ]; then
        echo "entrypoint: /data holds the jobs of a queue of one node. Give each node of a cluster an empty volume." >&2
        exit 1
    fi
    routes=$(password routes)
    ROUTES_PASSWORD=$(quoted "$routes")
    ROUTES=$(routes "$routes")
    export ROUTES_PASSWORD ROUTES
    name=${QUEUE_NODE:?is the name of this node}
    config=cluster.conf
    copies=3
else
    name=fibwire
    config=nats-server.conf
    copies=1
fi
JOBS_MAX_FILE=$((512 * copies))MB
RESULTS_MAX_FILE=$((1000 * copies))MB
export JOBS_MAX_FILE RESULTS_MAX_FILE

# The server's two streams spend most of their time in fsync (docs/adr/0015). So each gets one of Go's
# processors to itself, and a longer timer slack keeps Go's monitor from checking every 20 us whether
# it should take them away. Some kernels do not have this file; then the checks go on.
export GOMAXPROCS="${GOMAXPROCS:-$(($(nproc) + 2))}"
{ echo "$timer_slack_ns" > /proc/self/timerslack_ns; } 2>/dev/null || true

exec nats-server --config "/etc/nats/$config" --name "$name" --store_dir /data "$@"
