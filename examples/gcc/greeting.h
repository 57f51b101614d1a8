#ifndef GREETING_H
#define GREETING_H

/* A greeting for `name` from `user`, as JSON that is to be freed; NULL without memory. */
char *greeting(const char *name, const char *user);

#endif
