# What goes into packages, for scripts/package and scripts/release: the sources, and a package made of them.
# shellcheck shell=bash disable=SC2154

dist=$PWD/dist
# Chroots and unpacked sources; all of it can be removed.
package_cache=$(realpath -m "${BULKHEAD_PACKAGE_CACHE:-target/package}")

# The one place where the version stands.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
[[ $version ]] || die 'Cargo.toml has no version'

# What is packed has the time of the commit, whenever it is packed.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# One thread: how many there are changes what comes out.
pack() {
    xz --threads=1 --compress >"$1.new"
    mv "$1.new" "$1"
}

# Leaves the tarballs in dist/. That of the crates is kept while they, and what packs them, stand as they are.
make_sources() {
    local key crates=$dist/bulkhead_$version.orig-vendor.tar.xz work
    need_packages xz-utils
    mkdir -p "$dist" "$package_cache"
    [[ ! $(git status --porcelain) ]] || say 'packing the last commit, WITHOUT what is not committed'
    git archive --prefix="bulkhead-$version/" HEAD -- . ':!debian' ':!.ci' | pack "$dist/bulkhead_$version.orig.tar.xz"
    key=$(git ls-tree HEAD Cargo.lock Cargo.toml scripts/vendor scripts/copyright | sha256sum | cut -d ' ' -f 1)
    if [[ -f $crates && $(cat "$package_cache/vendor.key" 2>/dev/null) == "$key" ]]; then
        return
    fi
    say 'packing the crates'
    work=$(mktemp -d "$package_cache/vendor.XXXXXX")
    scripts/vendor "$work/vendor"
    scripts/copyright --check "$work/vendor"
    write_sbom "$work"
    # Cargo.lock says what is in there, so its time is the one that counts.
    tar --create --directory="$work" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
        --mode=u=rwX,go=rX --mtime="@$(git log -1 --format=%ct -- Cargo.lock)" vendor | pack "$crates"
    rm -r "$work"
    echo "$key" >"$package_cache/vendor.key"
}

# What is linked into the programs, as CycloneDX: $1/vendor/sbom.cdx.json. It goes with the crates, since no release has
# the tool that writes it.
write_sbom() {
    need_cargo_tool cargo-cyclonedx 0.5.9
    mkdir "$1/sbom"
    git archive HEAD | tar --extract --directory="$1/sbom"
    (cd "$1/sbom" && cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu \
        --override-filename sbom)
    sed "s|$1/sbom|/usr/src/bulkhead|g" "$1/sbom/sbom.json" >"$1/vendor/sbom.cdx.json"
}

# Unpacks the sources below $1, ready to be built: bulkhead-VERSION beside its tarballs.
unpack_sources() {
    local tree=$1/bulkhead-$version
    rm -rf "$1"
    mkdir -p "$1"
    cp "$dist/bulkhead_$version".orig*.tar.xz "$1/"
    tar --extract --directory="$1" --file="$1/bulkhead_$version.orig.tar.xz"
    tar --extract --directory="$tree" --file="$1/bulkhead_$version.orig-vendor.tar.xz"
    git archive HEAD debian | tar --extract --directory="$tree"
}

# Runs what follows, which is to build the sources unpacked below $1, and leaves what comes of it in $2, with the sources.
build_debian_package() {
    local build=$1 to=$2
    shift 2
    "$@" >"$build.log" 2>&1 || { tail -n 40 "$build.log" >&2; die "the whole log: $build.log"; }
    rm -rf "$to"
    mkdir "$to"
    mv "$build"/bulkhead*_"$version"-* "$to"
    cp "$dist/bulkhead_$version".orig*.tar.xz "$to"
}

# Here, whatever release this is; what its archive lacks must be there otherwise.
debian_package_here() {
    local build=$package_cache/here
    need_build_tools
    need_packages dpkg-dev debhelper lintian fakeroot
    unpack_sources "$build"
    say "building bulkhead $version"
    build_debian_package "$build" "$dist/debian-12" env --chdir="$build/bulkhead-$version" \
        RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" dpkg-buildpackage --no-sign --no-check-builddeps
    # The package is Debian 13's, whose policy is later than this lintian.
    check_with_lintian lintian --allow-root --pedantic --suppress-tags newer-standards-version "$dist"/debian-12/*.changes
}

# Runs what follows, which is to be lintian. Anything that it says is an error.
check_with_lintian() {
    local said
    say 'lintian'
    said=$("$@" 2>&1) || true
    [[ ! $said ]] || die "lintian:"$'\n'"$said"
}

rpm_package() {
    local top=$package_cache/rpm
    need_build_tools
    need_packages rpm
    rm -rf "$top"
    mkdir -p "$top"/{SOURCES,SPECS}
    cp "$dist/bulkhead_$version".orig*.tar.xz "$top/SOURCES/"
    LC_ALL=C sed -e "s/@VERSION@/$version/" -e "s/@DATE@/$(LC_ALL=C date --utc --date="@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')/" \
        rpm/bulkhead.spec.in >"$top/SPECS/bulkhead.spec"
    say "building bulkhead $version for RPM"
    # What is installed here is not known to rpm.
    rpmbuild --define "_topdir $top" --nodeps -ba "$top/SPECS/bulkhead.spec" >"$top/log" 2>&1 ||
        { tail -n 40 "$top/log" >&2; die "the whole log: $top/log"; }
    rm -rf "$dist/rpm"
    mkdir "$dist/rpm"
    mv "$top"/RPMS/*/*.rpm "$top"/SRPMS/*.rpm "$dist/rpm"
}
