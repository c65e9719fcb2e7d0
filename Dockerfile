# One named target for each image of compose.yaml. Valid for BuildKit and for the legacy builder, so
# there is no --mount and no heredoc. The legacy builder builds every stage that comes before the
# one it is asked for, so the images that compile nothing come first.

# The base images, each at one exact version. scripts/pin-images adds their digests.
ARG NATS_IMAGE=nats:2.14.6-alpine
ARG NGINX_IMAGE=nginx:1.30.6
ARG RUST_IMAGE=rust:1.95.0-slim-trixie
ARG DEBIAN_IMAGE=debian:trixie-20260202-slim
ARG PYTHON_IMAGE=python:3.13.9-slim-trixie

FROM ${NATS_IMAGE} AS queue
RUN mkdir -p /data /credentials/web /credentials/calculator /credentials/websocket /credentials/routes \
    && chown -R 65532:65532 /data /credentials \
    && chmod -R 0700 /data /credentials
COPY services/queue/entrypoint.sh services/queue/healthcheck.sh /usr/local/bin/
COPY services/queue/nats-server.conf services/queue/cluster.conf /etc/nats/
USER 65532:65532
ENTRYPOINT ["entrypoint.sh"]
CMD []

FROM ${NGINX_IMAGE} AS nginx
COPY services/nginx/ /etc/nginx/
# The image's entrypoint fills in the templates and writes them to where nginx.conf includes them.
ENV NGINX_ENVSUBST_OUTPUT_DIR=/run/nginx \
    NGINX_ENVSUBST_FILTER=^(RESOLVER|DOMAIN|ALLOWED_HOSTS|LISTEN|POST_RATE|POST_BURST|REQUESTS_PER_ADDRESS|SOCKETS_PER_ADDRESS)$ \
    NGINX_ENTRYPOINT_QUIET_LOGS=1 \
    # Docker's own name server. Where another one is used, DOMAIN completes the names of the services.
    RESOLVER=127.0.0.11 \
    DOMAIN= \
    ALLOWED_HOSTS=localhost,127.0.0.1,[::1] \
    LISTEN=127.0.0.1:8080 \
    POST_RATE=50 \
    POST_BURST=100 \
    REQUESTS_PER_ADDRESS=100 \
    SOCKETS_PER_ADDRESS=50
# An invalid configuration fails the build, and so does an nginx older than 1.27.3, which cannot resolve the
# name of an upstream server again.
RUN install --directory --owner 101 --group 101 --mode 0700 /run/nginx \
    && /docker-entrypoint.sh nginx -t \
    && rm -rf /run/nginx/*
USER 101:101
EXPOSE 8080

# The gateway that compose.observe.yaml adds.
FROM ${PYTHON_IMAGE} AS gateway
COPY deploy/observe/gateway.py /usr/local/bin/gateway.py
USER 65532:65532
CMD ["python", "-IS", "/usr/local/bin/gateway.py"]

# The workspace without its code: every manifest, and an empty program or library in place of each
# file that Cargo takes for the root of a target. The result changes only when a manifest changes or
# a target is added, and so does the layer of compiled dependencies that is built from it.
FROM ${RUST_IMAGE} AS skeleton
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -path '*/src/lib.rs' ! -path '*/src/main.rs' \
        ! -path '*/src/bin/*.rs' ! -path '*/benches/*.rs' ! -path '*/examples/*.rs' ! -name build.rs -delete \
    && find . -type d -empty -delete \
    && printf '//! Empty.\n#![allow(unused)]\nfn main() {}\n' > /empty.rs \
    && find . -name '*.rs' -exec cp /empty.rs {} \;

# Cargo unifies the features of all packages that it builds in one call, so every call below asks for
# the same three packages: otherwise it would compile their dependencies again.
FROM ${RUST_IMAGE} AS dependencies
WORKDIR /src
# The Python extension is built for any Python from 3.11, so no interpreter is needed here.
ENV PYO3_BUILD_EXTENSION_MODULE=1 PYO3_NO_PYTHON=1
COPY --from=skeleton /src ./
# Without the clean, Cargo would take the empty crates for up to date, since the real sources are older.
RUN cargo build --release --locked --package calculator --package websocket --package web \
    && cargo clean --release --workspace

# The libraries are compiled here, and the services, still empty, are removed again, so a change to a
# service compiles no library.
FROM dependencies AS libraries
COPY crates crates
RUN cargo build --release --locked --package calculator --package websocket --package web \
    && cargo clean --release --package calculator --package websocket --package web

# The code of the services in one place, so that one COPY takes it: the legacy builder fails at a COPY
# after one that changed nothing.
FROM scratch AS services-code
COPY services/calculator services/calculator
COPY services/websocket services/websocket
COPY services/web/Cargo.toml services/web/Cargo.toml
COPY services/web/src services/web/src

# One call compiles all three, since it keeps every core busy.
FROM libraries AS services
COPY --from=services-code services services
RUN cargo build --release --locked --package calculator --package websocket --package web

# The base of calculator and websocket. 65532 is the user of every service but nginx. A new volume
# takes the owner of its mount point from the image that mounts it first, whichever that is.
FROM ${DEBIAN_IMAGE} AS service
RUN install --directory --owner 65532 --group 65532 --mode 0700 /run/credentials
USER 65532:65532

FROM service AS calculator
COPY --from=services /src/target/release/calculator /usr/local/bin/calculator
ENTRYPOINT ["calculator"]

FROM service AS websocket
COPY --from=services /src/target/release/websocket /usr/local/bin/websocket
EXPOSE 8000
ENTRYPOINT ["websocket"]

FROM ${PYTHON_IMAGE} AS web
RUN install --directory --owner 65532 --group 65532 --mode 0700 /run/credentials
COPY services/web/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt
COPY services/web/healthcheck.py /usr/local/bin/healthcheck.py
COPY services/web/python /opt/web
COPY --from=services /src/target/release/lib_web.so /opt/web/web/_web.abi3.so
# The file system is read-only when the service runs, so Python could not keep what it compiles.
RUN python -m compileall -q /opt/web
ENV PYTHONPATH=/opt/web
USER 65532:65532
EXPOSE 8000
# A request holds its thread until the queue has the job on disk, so there are many more threads
# than cores.
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--no-ws", \
    "--blocking-threads", "32", "--factory", "web:create_app"]

# The standalone binary, linked statically, so that its image has nothing else in it. It comes last, because
# the legacy builder builds every stage before the one that it is asked for.
FROM ${RUST_IMAGE} AS fibwire-build
WORKDIR /src
COPY . .
RUN host=$(rustc -vV | sed -n 's/^host: //p') \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --package fibwire --target "$host" \
    && mv "target/$host/release/fibwire" /fibwire \
    && install --directory --owner 65532 --group 65532 --mode 0700 /data

FROM scratch AS fibwire
COPY --from=fibwire-build /fibwire /fibwire
COPY --from=fibwire-build --chown=65532:65532 /data /data
USER 65532:65532
ENV LISTEN=0.0.0.0:8080 DATA=/data
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/fibwire"]
