# Installs modules, by the command that the arguments are, which leaves them in local.
# Leaves: local, the same every time: what is compiled would name, for debuggers, the folder of this one run.
# shellcheck shell=sh
set -e

"$@"
find local -name '*.so' -exec strip --strip-debug --remove-section=.note.gnu.build-id {} +
