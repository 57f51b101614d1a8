#!/bin/bash
# Answers one request on standard output.
read -r method path _
while read -r line && [ "$line" != $'\r' ]; do :; done
user=$(id -un)
if [ "$method $path" = "GET /" ]; then
    body=$(printf '{"message":"Hello, %s!","user":"%s"}' "${NAME:-world}" "$user")
    printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "${#body}" "$body"
else
    printf 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
fi
