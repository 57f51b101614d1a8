# For scripts that read this with `.`: takes the flags apart that the build has, too, so that both count.
# Given: GOFLAGS, whose words may be quoted for a shell; GO_LDFLAGS; GO_TAGS.
# Leaves: $ldflags, the flags of the linker; $tags, the build tags, each after a comma; GOFLAGS with all other flags.
# shellcheck shell=sh

tags=${GO_TAGS:+,$GO_TAGS} ldflags=$GO_LDFLAGS others=-modcacherw
eval "set -- $GOFLAGS"
for flag; do
    case $flag in
        -ldflags=* | --ldflags=*) ldflags="$ldflags ${flag#*=}" ;;
        -tags=* | --tags=*) tags="$tags,${flag#*=}" ;;
        *) others="$others $flag" ;;
    esac
done
export GOFLAGS="$others"
