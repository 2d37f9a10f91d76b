#!/bin/bash
# Make a cluster on first use, run the scripts in /docker-entrypoint-initdb.d, then the server.
set -euo pipefail
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --no-sync -D "$PGDATA" --auth=trust --username=postgres >/dev/null
    for script in /docker-entrypoint-initdb.d/*.sql; do
        postgres --single -j -D "$PGDATA" postgres <"$script" >/dev/null
    done
fi
exec "$@" -D "$PGDATA"
