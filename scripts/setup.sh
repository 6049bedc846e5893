# shellcheck shell=sh disable=SC2034
# Sourced by the scripts beside it, which run in the repository's root.
#
# need_packages <package>...: makes sure that Debian packages are installed; "command=package" is
# content with the command. Other systems get a list of what to install.

set -eu

build_packages="g++ cmake=cmake ninja=ninja-build libeigen3-dev libxsimd-dev nlohmann-json3-dev \
libcli11-dev"
# Without these the program runs, but turns only token ids or bytes into predictions.
text_packages="libpcre2-dev libutf8proc-dev libsentencepiece-dev"
test_packages="catch2 libbenchmark-dev libopenblas-dev"
ci_packages="clang++=clang libclang-rt-14-dev libomp-14-dev clang-format-14=clang-format-14 \
aarch64-linux-gnu-g++=g++-aarch64-linux-gnu qemu-aarch64=qemu-user"

fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "needs root or sudo to run: $*"
  fi
}

need_packages() {
  if ! command -v dpkg >/dev/null || ! command -v apt-get >/dev/null; then
    need_tools
    return
  fi
  missing=""
  for entry in "$@"; do
    case $entry in
      *=*) command -v "${entry%%=*}" >/dev/null && continue ;;
    esac
    package=${entry#*=}
    dpkg -s "$package" 2>/dev/null | grep -q '^Status: .* installed$' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  echo "installing:$missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

# Without apt: the tools must be there; libraries are looked for by CMake.
need_tools() {
  for tool in c++ cmake ninja; do
    command -v $tool >/dev/null && continue
    cat >&2 <<END
$(basename "$0"): $tool is missing. Install: a C++20 compiler with OpenMP (g++ 12 or clang++ 14, or newer),
CMake 3.25, Ninja, and the libraries Eigen 3.4, xsimd 8.1, nlohmann/json 3.11 and CLI11 2.1 (for
the tests also Catch2 2.13 and Google Benchmark 1.7), or newer. With --fetch-deps CMake downloads
the libraries. For tokenizers also PCRE2 10.40 and utf8proc 2.8, and SentencePiece 0.1.97, which it
does not download.
END
    exit 1
  done
}
