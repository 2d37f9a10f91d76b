#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *greeting = getenv("GREETING");

    printf("%s, %s\n", greeting ? greeting : "Hello", argc > 1 ? argv[1] : "nobody");
    return 0;
}
