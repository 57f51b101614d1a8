#!/bin/busybox sh
# What busybox's httpd answers with where there is no index.html.
busybox printf 'Content-Type: application/json\r\n\r\n'
busybox printf '{"message": "Hello, %s!", "user": "%s"}\n' "${NAME:-world}" "$(busybox id -un)"
