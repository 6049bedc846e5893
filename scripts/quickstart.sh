#!/bin/sh
# From a bare machine to the main job: installs what is missing, builds build/release/pare and
# compares a dozen ways of compressing the model in examples/demo-lm.
#   --fetch-deps   let CMake download the libraries that are not installed
cd "$(dirname "$0")/.."
. scripts/setup.sh

fetch=OFF
for option in "$@"; do
  case $option in
    --fetch-deps) fetch=ON ;;
    *) fail "unknown option $option; there is --fetch-deps" ;;
  esac
done

if [ $fetch = ON ]; then
  # shellcheck disable=SC2086
  need_packages g++ cmake=cmake ninja=ninja-build git=git ca-certificates $text_packages
else
  # shellcheck disable=SC2086
  need_packages $build_packages $text_packages
fi

cmake --preset release -DPARE_BUILD_BENCHMARKS=OFF -DPARE_FETCH_DEPS=$fetch
cmake --build --preset release --target pare_cli
exec build/release/pare compare
