# A Debian 13 in which the package is built with that release's own toolchain, and one into which it is installed. For
# scripts/package, after package-lib.sh.
# shellcheck shell=bash disable=SC2016,SC2154

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
debian_13=$package_cache/debian-13

# $1 the root directory, then unshare's options, --, and the command. Neither the host's /sys nor its modules are in
# there, so nothing can be read of its kernel.
in_chroot() {
    local root=$1
    local -a options=()
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    unshare --mount "${options[@]}" sh -ec '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --bind /dev "$root/dev"
        exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' sh "$root" "$@"
}

# The bare release; then that with what the package needs to be built. Both are kept; remove target/package/debian-13
# for newer ones.
make_debian_13() {
    local key
    need_packages debootstrap
    mkdir -p "$debian_13"
    if [[ ! -d $debian_13/base ]]; then
        say 'Debian 13: fetching'
        rm -rf "$debian_13/base.new"
        debootstrap --variant=minbase trixie "$debian_13/base.new" "$mirror" >"$debian_13/log" 2>&1 ||
            { tail -n 20 "$debian_13/log" >&2; die "the whole log: $debian_13/log"; }
        mv "$debian_13/base.new" "$debian_13/base"
    fi
    key=$(git show HEAD:debian/control | sed -n '/^Build-Depends:/,/^[^ ]*:/p' | sha256sum)
    if [[ $(cat "$debian_13/build.key" 2>/dev/null) != "$key" ]]; then
        say 'Debian 13: installing what the package is built with'
        rm -rf "$debian_13/build"
        cp --archive "$debian_13/base" "$debian_13/build"
        cp /etc/resolv.conf "$debian_13/build/etc/resolv.conf"
        mkdir -p "$debian_13/build/bulkhead/debian"
        git show HEAD:debian/control >"$debian_13/build/bulkhead/debian/control"
        in_chroot "$debian_13/build" -- sh -ec '
            apt-get update -qq
            apt-get install -qq -y --no-install-recommends build-essential lintian
            cd /bulkhead
            apt-get build-dep -qq -y --no-install-recommends ./' >"$debian_13/log" 2>&1 ||
            { tail -n 20 "$debian_13/log" >&2; die "the whole log: $debian_13/log"; }
        rm -r "$debian_13/build/bulkhead"
        echo "$key" >"$debian_13/build.key"
    fi
}

# As a user who is nobody, and without a network.
debian_package_in_13() {
    local build=$debian_13/build/bulkhead
    local -a profile
    # For who tries something, and does not want to wait for the optimizer.
    mapfile -t profile < <(env | grep '^CARGO_PROFILE_')
    make_debian_13
    rm -rf "$build"
    unpack_sources "$build"
    chown -R nobody:nogroup "$build"
    say "building bulkhead $version in Debian 13, with $(in_chroot "$debian_13/build" -- rustc --version)"
    build_debian_package "$build" "$dist/debian-13" in_chroot "$debian_13/build" --net -- \
        setpriv --reuid=nobody --regid=nogroup --clear-groups \
        env --chdir="/bulkhead/bulkhead-$version" HOME=/nonexistent DEB_BUILD_OPTIONS="$DEB_BUILD_OPTIONS" "${profile[@]}" \
        dpkg-buildpackage --no-sign
    chown -R root:root "$dist/debian-13"
    rm -rf "$build"
    cp --recursive "$dist/debian-13" "$build"
    check_with_lintian in_chroot "$debian_13/build" --net -- sh -c 'lintian --allow-root --pedantic /bulkhead/*.changes'
    rm -r "$build"
}

# Installs the package into a bare Debian 13, and removes and purges it: what it must do without a running system.
install_in_13() {
    local root before after
    say 'installing it'
    root=$(mktemp -d "$debian_13/install.XXXXXX")
    cp --archive "$debian_13/base/." "$root"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    cp "$dist/debian-13/bulkhead_$version"-*.deb "$root/bulkhead.deb"
    # What it brings along stays when it goes, so that comes first.
    in_chroot "$root" -- sh -ec '
        apt-get update -qq
        apt-get install -qq -y --no-install-recommends systemd $(
            apt-get install --simulate --no-install-recommends /bulkhead.deb |
                sed -n "s/^Inst \([^ ]*\).*/\1/p" | grep -vx bulkhead)' >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log" >&2; die "the whole log: $root.log"; }
    before=$(files_of "$root")
    in_chroot "$root" -- sh -exc '
        apt-get install -qq -y --no-install-recommends /bulkhead.deb
        # The daemon runs from the next boot on, the watchdog does not.
        test -e /etc/systemd/system/sysinit.target.wants/bulkhead.service
        test ! -e /etc/systemd/system/sysinit.target.wants/bulkhead-watchdog.service
        getent group bulkhead
        test "$(stat -c %a:%U /var/lib/bulkhead)" = 700:root
        bulkhead --version
        bulkhead config check
        bulkhead-watchdog --version
        timeout 10 bulkheadd --help >/dev/null
        systemd-analyze verify --man=no bulkhead.service bulkhead-watchdog.service
        apt-get remove -qq -y bulkhead
        test -e /etc/bulkhead/bulkhead.toml
        touch /var/lib/bulkhead/bulkhead.db
        apt-get purge -qq -y bulkhead' >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log" >&2; die "the whole log: $root.log"; }
    after=$(files_of "$root")
    diff <(echo "$before") <(echo "$after") || die 'what has been purged leaves files behind'
    rm -r "$root" "$root.log"
}

# All but what dpkg, apt and the users' database change by their own doing. The group stays: files may be its.
files_of() {
    (cd "$1" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./tmp -o -path ./run -o -path ./var/lib/dpkg \
        -o -path ./var/lib/apt -o -path ./var/log -o -path ./var/cache \) -prune -o -print) |
        grep --invert-match '^\./etc/\(group\|gshadow\|passwd\|shadow\)-\?$' | sort
}
