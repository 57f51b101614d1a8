# For scripts that read this with `.`: begins the building of an app for the JVM.
# Given: the app as the work folder.
# Leaves: $OUT/classes and $OUT/lib, empty; /tmp/manifests, empty, for what tells the main class; and in /root/.m2/trusted the
# certificates that everything else here trusts, in Java's own format.
# shellcheck shell=sh

java /run/recipe/Trust.java "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" /root/.m2/trusted
touch /tmp/manifests
mkdir "$OUT/classes" "$OUT/lib"
