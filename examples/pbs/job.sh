#!/bin/sh
#PBS -l select=2:ncpus=2:mpiprocs=2 -l walltime=00:10:00 -j oe
# Usage: qsub -v IMAGE=NAME,PROGRAM=PATH job.sh
#
# Make one file of an image in storage, on the file system that all nodes share, and run the program
# in each rank.  Jobs that start later with the same image take the same file.
set -eu
cd "$PBS_O_WORKDIR"
PATH=$PBS_O_PATH # that of the shell in which qsub ran
files=${IMAGE_FILES:-$PWD}
# The ID names the file: an image that has changed gets a file of its own.
id=$(ch-image inspect "${IMAGE:?}" | sed -n 's/^    "id": "\(.*\)",$/\1/p')
file=$files/job-${id:?no image $IMAGE}.sqfs
if [ ! -e "$file" ]; then
    made=$file.$(hostname).$$.sqfs # two jobs may make it at once
    ch-convert "$IMAGE" "$made"
    mv "$made" "$file"
fi
ranks=$(grep -c . "$PBS_NODEFILE")
exec mpiexec -n "$ranks" ch-run --join "$file" -- "${PROGRAM:?}"
