# A build that refuses to run as root, as those of some package managers.
FROM alpine
COPY --chmod=755 <<'BUILD' /usr/local/bin/make-package
#!/bin/sh
if [ "$(id -u)" = 0 ]; then
    echo '==> ERROR: Running make-package as root is not allowed as it can cause damage to your system.'
    exit 10
fi
echo built >"$1"
BUILD
RUN adduser -D builder && mkdir /build && chown builder /build
RUN su builder -c 'make-package /build/package'
RUN test -s /build/package && stat -c %U /build/package | grep -qx builder
