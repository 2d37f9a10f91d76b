#!/bin/sh
#flux: --nodes=2 --nslots=4 --time-limit=10m
# Usage: flux batch job.sh IMAGE COMMAND [ARGUMENT...]
#
# Make one file of an image in storage, on the file system that all nodes share, and run the command
# once on each core.  Jobs that start later with the same image take the same file.
set -eu
image=$1
shift
files=${IMAGE_FILES:-$PWD}
# The ID names the file: an image that has changed gets a file of its own.
id=$(ch-image inspect "$image" | sed -n 's/^    "id": "\(.*\)",$/\1/p')
file=$files/job-${id:?no image $image}.sqfs
if [ ! -e "$file" ]; then
    made=$file.$(hostname).$$.sqfs # two jobs may make it at once
    ch-convert "$image" "$made"
    mv "$made" "$file"
fi
tasks=$(flux resource list --states=all --no-header --format='{ncores}')
exec flux run --ntasks="$tasks" ch-run --join "$file" -- "$@"
