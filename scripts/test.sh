#!/bin/sh
# Installs what is missing, builds everything with g++ and runs every test once.
#   --full       also: headers with NDEBUG, headers with clang++
#   --deps DIR   take Eigen, xsimd, Catch2 and the others from this install prefix first
cd "$(dirname "$0")/.."
. scripts/setup.sh

matrix=OFF
deps=""
tree=build/ci
while [ $# -gt 0 ]; do
  case $1 in
    --full) matrix=ON ;;
    --deps)
      [ -d "${2-}" ] || fail "--deps needs a directory"
      deps=$(cd "$2" && pwd)
      tree=build/ci-deps
      shift
      ;;
    *) fail "unknown option $1; there are --full and --deps DIR" ;;
  esac
  shift
done

# shellcheck disable=SC2086
need_packages $build_packages $text_packages $test_packages
if [ $matrix = ON ]; then
  # shellcheck disable=SC2086
  need_packages $ci_packages
fi

cmake --preset ci -B $tree -DCMAKE_CXX_COMPILER=g++ -DPARE_TEST_MATRIX=$matrix \
  -DCMAKE_PREFIX_PATH="$deps"
cmake --build $tree
ctest --test-dir $tree -j "$(nproc)" --output-on-failure --no-tests=error
