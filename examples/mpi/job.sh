#!/bin/sh
#SBATCH --nodes=2 --ntasks-per-node=2 --time=10
# Usage: sbatch job.sh IMAGE PROGRAM [ARGUMENT...]
#
# Run a program with Open MPI of the image; MPI=pmi2 is for MPICH.  The ranks of a node share one
# container, so that they can read each other's memory.
set -eu
image=$1
shift
exec srun --mpi="${MPI:-pmix}" ch-run --join "$image" -- "$@"
