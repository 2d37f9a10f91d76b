# An installer that puts a tool into the home directory of USER.
FROM alpine
RUN adduser -D -u 1000 app
USER app
ENV PATH=/home/app/.local/bin:$PATH
RUN mkdir -p ~/.local/bin && printf '#!/bin/sh\necho installed\n' >~/.local/bin/tool && chmod +x ~/.local/bin/tool
RUN tool
