# weir in a container: DNS on :53, the HTTP proxy on :3128, as a user without rights. Container engines let any user bind low ports
# inside a container (net.ipv4.ip_unprivileged_port_start=0); where yours doesn't, add that sysctl.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends npm && rm -rf /var/lib/apt/lists/*
WORKDIR /weir
COPY package.json package-lock.json .npmrc ./
COPY scripts/weir scripts/link-node.mjs ./scripts/
# The Node that weir runs on comes with its packages; only the binary is kept of it.
RUN npm ci --omit=dev \
  && find node_modules -path '*/node-linux-*/*' -name include -type d -prune -exec rm -rf {} +
COPY LICENSE ./
COPY config ./config
COPY src ./src

FROM debian:bookworm-slim
# The one library that Node needs and this image lacks.
RUN apt-get update && apt-get install -y --no-install-recommends libatomic1 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 65053 --no-create-home --home-dir /weir --shell /usr/sbin/nologin weir && install -d -o weir -g weir -m 0700 /var/lib/weir
COPY --from=build /weir /weir
WORKDIR /weir
USER weir
ENV WEIR_DNS_LISTEN=0.0.0.0:53 WEIR_HTTP_LISTEN=0.0.0.0:3128 WEIR_ADMIN_LISTEN=127.0.0.1:9053 WEIR_DATA=/var/lib/weir
# Listeners that are not on loopback refuse strangers: name your sandboxes under `vms`, or say WEIR_IDENTITY_UNKNOWN=by-address.
VOLUME /var/lib/weir
EXPOSE 53/udp 53/tcp 3128/tcp
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["scripts/weir", "health"]
ENTRYPOINT ["scripts/weir"]
CMD ["run"]
