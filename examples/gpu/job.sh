#!/bin/sh
#SBATCH --gpus=1 --time=10
# Usage: sbatch job.sh IMAGE COMMAND [ARGUMENT...]
#
# Run a command with the GPUs that the job may use.  DEVICE=amd.com/gpu=all is for AMD.  On a node
# without a CDI specification of the device, the job ends before the command starts.
set -eu
image=$1
shift
exec ch-run --device="${DEVICE:-nvidia.com/gpu=all}" "$image" -- "$@"
