/* The midpoint rule for 4 / (1 + x²) on the share of a rank. */
double quadrature(long steps, int rank, int ranks);
