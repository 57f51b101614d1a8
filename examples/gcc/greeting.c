#define _POSIX_C_SOURCE 200809L
#include "greeting.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

char *greeting(const char *name, const char *user)
{
    char message[256];
    snprintf(message, sizeof message, "Hello, %s!", name);
    json_object *object = json_object_new_object();
    if (!object)
        return NULL;
    json_object_object_add(object, "message", json_object_new_string(message));
    json_object_object_add(object, "c", json_object_new_int64(__STDC_VERSION__));
    json_object_object_add(object, "user", json_object_new_string(user));
    char *text = strdup(json_object_to_json_string(object));
    json_object_put(object);
    return text;
}
