# One build stage and one named target for each image of compose.yaml. It is valid for BuildKit
# and for the legacy builder, hence without --mount and heredocs; and since the latter builds all
# stages before the one it is asked for, those that need no build come first.

FROM nats:2.14-alpine AS queue
RUN mkdir -p /data /credentials/web /credentials/calculator /credentials/websocket \
    && chown -R 65532:65532 /data /credentials \
    && chmod -R 0700 /data /credentials
COPY services/queue/entrypoint.sh /usr/local/bin/entrypoint.sh
COPY services/queue/nats-server.conf /etc/nats/nats-server.conf
USER 65532:65532
ENTRYPOINT ["entrypoint.sh"]
CMD []

FROM nginx:1.28 AS nginx
COPY services/nginx/ /etc/nginx/
# What the entrypoint makes of the templates goes where nginx.conf includes it.
ENV NGINX_ENVSUBST_OUTPUT_DIR=/run/nginx \
    NGINX_ENVSUBST_FILTER=^(POST_RATE|POST_BURST|SOCKETS_PER_ADDRESS)$ \
    NGINX_ENTRYPOINT_QUIET_LOGS=1
# Where this nginx is too old for upstreams.conf, before-1.27.3/ takes its place and needs a module of
# the distribution; and the whole configuration has to be valid.
RUN install --directory --owner 101 --group 101 --mode 0700 /run/nginx \
    && cd /etc/nginx \
    && if ! nginx -t -q; then \
        mkdir -p modules-enabled \
        && apt-get update \
        && apt-get install -y --no-install-recommends libnginx-mod-stream \
        && rm -rf /var/lib/apt/lists/* \
        && mv before-1.27.3/* .; fi \
    && POST_RATE=1 POST_BURST=1 SOCKETS_PER_ADDRESS=1 /docker-entrypoint.sh nginx -t \
    && rm -rf /run/nginx/*
USER 101:101
EXPOSE 8080

FROM rust:1.95-slim-trixie AS tools
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install --locked cargo-chef@0.1.78 && rm -rf /usr/local/cargo/registry
RUN python3 -m venv /opt/maturin \
    && /opt/maturin/bin/pip install --no-cache-dir maturin==1.16.0 \
    && ln -s /opt/maturin/bin/maturin /usr/local/bin/maturin
WORKDIR /src

# The manifests of all crates, found and not listed, and nothing else: the next stage's cache
# stays good until one of them changes.
FROM tools AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

FROM tools AS dependencies
COPY --from=plan /recipe.json /recipe.json
# Cargo joins the features of the packages that it is asked for: below it is asked for the same two,
# or nothing of this could be used. Maturin asks for web alone, hence its own turn.
RUN cargo chef cook --release --locked --recipe-path /recipe.json --package calculator --package websocket
COPY services/web/pyproject.toml services/web/pyproject.toml
RUN mkdir -p services/web/python/web \
    && maturin build --release --locked --manifest-path services/web/Cargo.toml --out /tmp/skeleton

# The other services stay skeletons, so that a change of one builds only that one.
FROM dependencies AS sources
COPY Cargo.toml Cargo.lock ./
COPY crates crates

FROM sources AS calculator-build
COPY services/calculator services/calculator
RUN cargo build --release --locked --package calculator --package websocket --bin calculator

FROM sources AS websocket-build
COPY services/websocket services/websocket
RUN cargo build --release --locked --package calculator --package websocket --bin websocket

FROM sources AS web-build
COPY services/web services/web
RUN maturin build --release --locked --manifest-path services/web/Cargo.toml --out /wheels

# What calculator and websocket share. 65532 is every service's user but nginx's. A volume that is
# mounted for the first time takes the owner of its mount point, whichever image comes first.
FROM debian:trixie-slim AS service
RUN install --directory --owner 65532 --group 65532 --mode 0700 /run/credentials
USER 65532:65532

FROM service AS calculator
COPY --from=calculator-build /src/target/release/calculator /usr/local/bin/calculator
ENTRYPOINT ["calculator"]

FROM service AS websocket
COPY --from=websocket-build /src/target/release/websocket /usr/local/bin/websocket
EXPOSE 8000
ENTRYPOINT ["websocket"]

FROM python:3.13-slim-trixie AS web
RUN install --directory --owner 65532 --group 65532 --mode 0700 /run/credentials
COPY services/web/requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt
COPY --from=web-build /wheels /tmp/wheels
RUN pip install --no-cache-dir --no-deps /tmp/wheels/*.whl
COPY services/web/healthcheck.py /usr/local/bin/healthcheck.py
USER 65532:65532
EXPOSE 8000
# A request holds its thread until the queue has the job on disk, so the threads are many more than
# the cores.
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--no-ws", \
    "--blocking-threads", "32", "--factory", "web:create_app"]
