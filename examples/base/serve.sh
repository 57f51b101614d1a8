# Serves www. The first process of a container is not ended by a signal that it does not catch.
trap 'kill "$server"; exit 0' TERM INT
busybox httpd -f -p "${PORT:-8080}" -h www &
server=$!
echo "listening on port ${PORT:-8080}"
wait
