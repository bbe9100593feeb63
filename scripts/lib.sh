# Shared by the scripts: progress with elapsed times, and what apt must bring.
# shellcheck shell=bash

say() {
    printf '[%4ds] %s\n' "$SECONDS" "$*"
}

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

installed() {
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs those of the named packages that are missing, and says which.
need_packages() {
    local package
    local -a missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    ((EUID == 0)) || die "these packages are missing; install them as root: ${missing[*]}"
    say "installing through apt: ${missing[*]}"
    need_package_lists
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# A fresh container image comes without apt's package lists.
need_package_lists() {
    compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null && return 0
    say "fetching apt's package lists"
    apt-get update -qq
}
