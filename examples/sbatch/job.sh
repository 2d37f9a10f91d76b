#!/bin/sh
#SBATCH --nodes=2 --ntasks-per-node=2 --time=10
# Usage: sbatch job.sh IMAGE COMMAND [ARGUMENT...]
#
# Make one file of an image in storage, on the file system that all nodes share, and run the command
# once in each task.  Jobs that start later with the same image take the same file.
set -eu
image=$1
shift
files=${IMAGE_FILES:-$PWD}
# The ID names the file: an image that has changed gets a file of its own.
id=$(ch-image inspect "$image" | sed -n 's/^    "id": "\(.*\)",$/\1/p')
file=$files/job-${id:?no image $image}.sqfs
if [ ! -e "$file" ]; then
    ch-convert "$image" "$file.$SLURM_JOB_ID.sqfs"
    mv "$file.$SLURM_JOB_ID.sqfs" "$file"
fi
exec srun ch-run --join "$file" -- "$@"
