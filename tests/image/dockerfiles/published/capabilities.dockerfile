# A program that may use ports of root.
FROM debian
RUN apt-get update && apt-get install -y --no-install-recommends libcap2-bin passwd && rm -rf /var/lib/apt/lists/* && \
    useradd -r -M server
RUN cp /usr/bin/sleep /usr/local/bin/server && setcap cap_net_bind_service=+ep /usr/local/bin/server && \
    getcap /usr/local/bin/server | grep cap_net_bind_service
USER server
RUN ["/usr/local/bin/server", "0"]
