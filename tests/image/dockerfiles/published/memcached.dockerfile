# A server that changes its user itself.
FROM debian
RUN groupadd --system --gid 11211 memcache 2>/dev/null || true; \
    apt-get update && apt-get install -y --no-install-recommends passwd memcached procps && rm -rf /var/lib/apt/lists/*
RUN memcached -u memcache -d -s /tmp/memcached.sock -P /tmp/memcached.pid && \
    for i in 1 2 3 4 5 6 7 8 9 10; do test -s /tmp/memcached.pid && break; sleep 0.2; done && \
    test "$(ps -o user= -p "$(cat /tmp/memcached.pid)")" = memcache && kill "$(cat /tmp/memcached.pid)"
USER memcache
EXPOSE 11211
CMD ["memcached"]
