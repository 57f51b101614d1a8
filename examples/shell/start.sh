#!/bin/bash
# Greets whoever asks: busybox listens and answers, and asks greet.sh for each request.
# The first process of a container is not ended by a signal that it does not catch.
trap 'kill "$server"; exit 0' TERM INT
busybox nc -ll -p "${PORT:-8080}" -e bash greet.sh &
server=$!
echo "listening on port ${PORT:-8080}"
wait "$server"
