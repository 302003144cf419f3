#!/bin/sh
# Installs the servers and tools that the tests start themselves, where it can: on Debian and Ubuntu,
# as root. Elsewhere it says what is missing; with CI=true that is a failure. It leaves no service
# running: the tests start every server themselves, on ports of their own.
set -eu

# program       package         service (-: none)
SERVERS='
redis-server    redis-server    redis-server
initdb          postgresql      postgresql
mariadbd        mariadb-server  mariadb
memcached       memcached       memcached
etcd            etcd-server     etcd
nginx           nginx           nginx
cc              build-essential -
chromium        chromium        -
curl            curl            -
'
POLICY=/usr/sbin/policy-rc.d # asked by a package before it starts its service; 101 forbids it
PATH=$PATH:/usr/sbin:/sbin

missing() {
    for directory in /usr/lib/postgresql/*/bin; do # where Debian has PostgreSQL's programs
        PATH=$PATH:$directory
    done
    echo "$SERVERS" | while read -r program package service; do
        [ -z "$program" ] || command -v "$program" >/dev/null || echo "$program $package $service"
    done
}

restore_policy() {
    rm -f "$POLICY"
    [ ! -e "$saved/policy-rc.d" ] || mv "$saved/policy-rc.d" "$POLICY"
    rm -rf "$saved"
}

forbid_services() {
    saved=$(mktemp -d)
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    [ ! -e "$POLICY" ] || mv "$POLICY" "$saved"
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod +x "$POLICY"
}

# What apt-get says only matters when it fails.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" \
        </dev/null >"$saved/log" 2>&1 || { cat "$saved/log" >&2 && return 1; }
}

install_missing() {
    forbid_services
    apt update || :
    missing | while read -r program package service; do
        echo "Installing $package"
        apt install --no-install-recommends "$package" || continue
        [ "$service" = - ] || update-rc.d "$service" disable >/dev/null 2>&1 || :
    done
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    install_missing
fi

if [ -n "$(missing)" ]; then
    missing | while read -r program package service; do
        echo "$program is missing, so its tests cannot run; Debian's package is $package" >&2
    done
    [ "${CI:-}" != true ]
fi
