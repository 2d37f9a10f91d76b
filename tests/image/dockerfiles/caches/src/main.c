#include <stdio.h>
#include <stdlib.h>

int add(int, int);

int main(int argc, char **argv)
{
    int sum = 0;
    while (--argc)
        sum = add(sum, atoi(*++argv));
    return printf("%d\n", sum) < 0;
}
