# For a user that is known only at run time, of group 0.
FROM alpine
RUN adduser -D -u 1001 -G root app && mkdir -p /opt/app/data && \
    chown -R 1001:0 /opt/app && chmod -R g=u /opt/app
USER 1001
RUN touch /opt/app/data/x && test -w /opt/app/data
CMD ["ls", "/opt/app/data"]
