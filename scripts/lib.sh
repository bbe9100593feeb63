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

# What it takes to build everything, besides what scripts/vm-setup sees to.
need_build_tools() {
    command -v cargo >/dev/null || die "there is no cargo: install Rust 1.85 or later (https://rustup.rs)"
    cargo fmt --version >/dev/null 2>&1 || die "there is no rustfmt: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || die "there is no clippy: rustup component add clippy"
    need_packages clang gcc libc6-dev pkg-config libbpf-dev libelf-dev zlib1g-dev libsqlite3-dev
}

# A tool out of crates.io, at exactly this version, kept in target/tools. Its building takes minutes.
need_cargo_tool() {
    local name=$1 tool_version=$2 tools=$PWD/target/tools
    export PATH=$tools/bin:$PATH
    if [[ ! -x $tools/bin/$name ]] || ! cargo install --list --root "$tools" | grep "^$name v$tool_version:" >/dev/null; then
        say "building $name $tool_version"
        cargo install --quiet --locked --root "$tools" --target-dir target/tools-build "$name@$tool_version"
        rm -rf target/tools-build
    fi
}
