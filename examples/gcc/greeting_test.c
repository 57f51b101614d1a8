#include "greeting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = greeting("Ada \"Countess\"", "me");
    int greets = text && strstr(text, "\"Hello, Ada \\\"Countess\\\"!\"");
    if (!greets)
        fprintf(stderr, "expected a greeting, found %s\n", text ? text : "nothing");
    free(text);
    return greets ? EXIT_SUCCESS : EXIT_FAILURE;
}
