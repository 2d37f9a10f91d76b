#!/bin/sh
# Write the configuration for this run, then do what CMD says with it.
set -eu
: "${RUN_DIR:=/run}"
export RUN_DIR
envsubst '$RUN_DIR' </etc/nginx/templates/nginx.conf.template >"$RUN_DIR/nginx.conf"
exec "$@" -c "$RUN_DIR/nginx.conf"
