# What needs no owners at all.
FROM debian
RUN set -eux; \
    apt-get update; \
    apt-get install -y --no-install-recommends ca-certificates less; \
    rm -rf /var/lib/apt/lists/*; \
    less --version | head -1
CMD ["less", "--version"]
