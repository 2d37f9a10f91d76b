/* A program of MPI for the tests: `hello` checks an allreduce and a ring, `pingpong BYTES TIMES`
 * measures. Each rank prints one line; in `pingpong` only rank 0 prints. */

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int hello(int rank, int size)
{
    int sum, token = rank, next = (rank + 1) % size, before = (rank + size - 1) % size;
    char node[256] = "", line[512];
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (int step = 0; step < size; step++)
        MPI_Sendrecv_replace(&token, 1, MPI_INT, next, 0, before, 0, MPI_COMM_WORLD,
                             MPI_STATUS_IGNORE);
    int right = sum == size * (size - 1) / 2 && token == rank;
    gethostname(node, sizeof node - 1);
    int length = snprintf(line, sizeof line, "rank %d of %d on %s as %d: %s\n", rank, size, node,
                          (int)getuid(), right ? "right" : "WRONG");
    return write(1, line, (size_t)length) != length || !right; /* whole lines also from 16 ranks */
}

static void pingpong(int rank, int bytes, int times)
{
    char *buffer = calloc(1, (size_t)bytes);
    double start = 0;
    for (int i = -10; i < times && rank < 2; i++) {
        if (!i) start = MPI_Wtime();
        if (!rank) MPI_Send(buffer, bytes, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
        MPI_Recv(buffer, bytes, MPI_CHAR, !rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (rank) MPI_Send(buffer, bytes, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
    }
    if (!rank) printf("%.3f\n", (MPI_Wtime() - start) / times / 2 * 1e6); /* microseconds */
    free(buffer);
}

int main(int count, char **words)
{
    int rank, size, wrong = 0;
    MPI_Init(&count, &words);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (count == 4 && !strcmp(words[1], "pingpong"))
        pingpong(rank, atoi(words[2]), atoi(words[3]));
    else
        wrong = hello(rank, size);
    MPI_Finalize();
    return wrong;
}
