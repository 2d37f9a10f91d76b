# A service whose secret must be its own.
FROM alpine
RUN addgroup -S rabbit && adduser -S -D -G rabbit -h /var/lib/rabbit rabbit && \
    echo secret >/var/lib/rabbit/.cookie && chown rabbit:rabbit /var/lib/rabbit/.cookie && chmod 400 /var/lib/rabbit/.cookie
RUN su -s /bin/sh rabbit -c 'test "$(stat -c %u:%a ~/.cookie)" = "$(id -u):400" && cat ~/.cookie >/dev/null'
VOLUME /var/lib/rabbit
