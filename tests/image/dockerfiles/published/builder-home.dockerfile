# The same, and the next stage copies it.
FROM alpine AS builder
RUN adduser -D -u 1000 app
USER app
WORKDIR /home/app
RUN mkdir -p ~/.local/lib && echo library >~/.local/lib/library
FROM alpine
RUN adduser -D -u 1000 app
COPY --from=builder --chown=app:app /home/app/.local /home/app/.local
USER app
CMD ["cat", "/home/app/.local/lib/library"]
