#!/bin/sh
# Usage: HYDRA_LAUNCHER=rsh HYDRA_LAUNCHER_EXEC=PATH/remote.sh mpiexec ...
#
# Start a process of MPICH or Intel MPI on another node of the job, without ssh.  Like ssh, this
# gives the words to a shell; pbs_tmrsh does not, and mpiexec has quoted them.
set -eu
host=$1
shift
exec pbs_tmrsh "$host" /bin/sh -c "$*"
