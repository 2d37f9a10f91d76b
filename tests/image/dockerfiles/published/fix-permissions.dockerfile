# A script that mends groups, and checks that nothing is left to mend.
FROM alpine
ENV NB_USER=jovyan NB_UID=1000 NB_GID=100
COPY --chmod=755 <<'FIX' /usr/local/bin/fix-permissions
#!/bin/sh
set -e
for d in "$@"; do
    find "$d" ! -group "$NB_GID" -exec chgrp "$NB_GID" -- {} +
    find "$d" -type d ! -perm -6000 -exec chmod g+rwX,ug+s -- {} +
    test -z "$(find "$d" ! -group "$NB_GID")"
done
FIX
RUN adduser -D -u $NB_UID -G users $NB_USER && mkdir -p /opt/conda/lib && touch /opt/conda/lib/x && \
    chown -R $NB_USER:$NB_GID /opt/conda
RUN fix-permissions /home/$NB_USER /opt/conda
USER $NB_UID
RUN touch /opt/conda/lib/y
WORKDIR /home/$NB_USER
