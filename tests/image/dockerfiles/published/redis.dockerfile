# A server that gives up root by gosu, as its entrypoint will.
FROM debian
RUN set -eux; \
    apt-get update; \
    apt-get install -y --no-install-recommends passwd gosu redis-server; \
    rm -rf /var/lib/apt/lists/*; \
    gosu --version; \
    gosu nobody true
RUN mkdir /data && chown redis:redis /data
VOLUME /data
WORKDIR /data
RUN test "$(gosu redis id -un)" = redis && gosu redis sh -c 'echo ok >/data/probe'
USER redis
CMD ["redis-server"]
