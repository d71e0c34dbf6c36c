# The programs, each alone in an image: `docker build --target helloserve .`, and the same for hellogrpc, hellohttp,
# kubetester and ticketing. `client` and `server` are the client and the server of ticketing. One cargo build makes the
# three services of the demo; the tool and ticketing are built after them, when they are asked for. Every image is one
# static file: nothing in it to patch, and no shell for anybody to run. No BuildKit syntax here, so that the classic
# builder works too.

FROM rust:1.95-slim-bookworm AS toolchain
WORKDIR /src

# === skeleton ===
# The workspace's manifests, with sources that are there but empty. Its files change only when a manifest does, and
# so the layer that is built from them, all the dependencies, stays cached through every change of a source file.
FROM toolchain AS skeleton
COPY . .
RUN find . -type f \
        ! -name Cargo.toml ! -name Cargo.lock ! -name lib.rs ! -name main.rs ! -name build.rs \
        ! -path '*/src/bin/*.rs' ! -path '*/benches/*.rs' ! -path '*/examples/*.rs' ! -path '*/tests/*.rs' -delete \
 && find . -name '*.rs' | while read -r file; do echo '#![allow(warnings)] fn main() {}' > "$file"; done

# === build ===
FROM toolchain AS build
# Static glibc. A target that is named, though it is the machine's own, keeps this from the build scripts and
# procedural macros, which the compiler has to load. The addresses that a start fills in are packed: of each there
# would be 24 bytes in the file else, half a megabyte that every start reads into memory.
ENV RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs"
# `--build-arg PROFILE=dev` takes less time, for images that need be neither small nor fast.
ARG PROFILE=dist
COPY --from=skeleton /src .
RUN cargo build --locked --profile "$PROFILE" --bins --target "$(rustc -vV | sed -n 's/^host: //p')" \
        -p helloserve -p hellogrpc -p hellohttp
COPY . .
# Cargo goes by the time of a file, and a checkout may be older than the layer above: it would keep the empty programs.
RUN find . -name '*.rs' ! -path './target/*' -exec touch {} + \
 && cargo build --locked --profile "$PROFILE" --bins --target "$(rustc -vV | sed -n 's/^host: //p')" \
        -p helloserve -p hellogrpc -p hellohttp \
 && mkdir /out \
 && cp target/*/*/helloserve target/*/*/hellogrpc target/*/*/hellohttp /out

# === images ===
# 65532 is the user that other minimal images call `nonroot`. A number, because Kubernetes cannot see from a name
# that it is not root.

FROM scratch AS base
# mimalloc returns the memory of a burst of calls to the system after a millisecond, not after a second.
ENV MIMALLOC_PURGE_DELAY=1
USER 65532:65532

FROM base AS hellogrpc
LABEL org.opencontainers.image.title="hellogrpc" \
      org.opencontainers.image.description="The gRPC backend: says hello, and who it is" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="v1"
COPY --from=build /out/hellogrpc /hellogrpc
EXPOSE 8000 8080
ENTRYPOINT ["/hellogrpc"]

FROM base AS hellohttp
LABEL org.opencontainers.image.title="hellohttp" \
      org.opencontainers.image.description="The HTTP backend: says hello, and who it is" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="v1"
COPY --from=build /out/hellohttp /hellohttp
EXPOSE 8100 8080
ENTRYPOINT ["/hellohttp"]

FROM base AS helloserve
LABEL org.opencontainers.image.title="helloserve" \
      org.opencontainers.image.description="The gateway: hands HTTP requests on to the gRPC and the HTTP backends" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="v1"
COPY --from=build /out/helloserve /helloserve
EXPOSE 8200 8080
ENTRYPOINT ["/helloserve"]

# === kubetester ===
# After the services, so that `docker compose up` does not wait for the tool.

FROM build AS build-kubetester
ARG PROFILE=dist
RUN cargo build --locked --profile "$PROFILE" --bins --target "$(rustc -vV | sed -n 's/^host: //p')" -p kubetester \
 && cp target/*/*/kubetester /out

FROM scratch AS kubetester
LABEL org.opencontainers.image.title="kubetester" \
      org.opencontainers.image.description="The tool that shows where the calls land, and proves it" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="v1"
COPY --from=build-kubetester /out/kubetester /kubetester
USER 65532:65532
ENTRYPOINT ["/kubetester"]

# kubetester as ticketing's client: a call every 3 s, to localhost:12345 if nothing else is given.
FROM kubetester AS client
ENV SERVER_DOMAIN=localhost SERVER_PORT=12345
CMD ["call", "--method=ticketing.CustomerController/GetCustomer", "--every=3s"]

# === ticketing ===
# After all others, so that they do not wait for a database library.

FROM build AS build-ticketing
ARG PROFILE=dist
RUN cargo build --locked --profile "$PROFILE" --bins --target "$(rustc -vV | sed -n 's/^host: //p')" -p ticketing \
 && cp target/*/*/ticketing /out

FROM base AS ticketing
LABEL org.opencontainers.image.title="ticketing" \
      org.opencontainers.image.description="Customers over gRPC, in SQLite or PostgreSQL" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="v1"
COPY --from=build-ticketing /out/ticketing /ticketing
EXPOSE 12345 8080
ENTRYPOINT ["/ticketing"]

FROM ticketing AS server
