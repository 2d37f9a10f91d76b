#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "quadrature.h"

int main(int argc, char **argv)
{
    int rank, ranks;
    double share, pi = 0;
    const char *steps = getenv("PI_STEPS");

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc > 1)
        steps = argv[1];
    share = quadrature(steps ? atol(steps) : 1000, rank, ranks);
    MPI_Reduce(&share, &pi, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0)
        printf("%d ranks: %.6f\n", ranks, pi);
    return MPI_Finalize();
}
