#!/bin/sh
# Fails when a source file is not formatted as .clang-format says; --fix formats it.
set -eu
cd "$(dirname "$0")/.."

clang_format=$(command -v clang-format-14 || command -v clang-format)
case ${1-} in
  "") set -- --dry-run --Werror ;;
  --fix) set -- -i ;;
  *) echo "check-format.sh: unknown option $1; there is --fix" >&2 && exit 1 ;;
esac
find include tests benchmarks examples \
  \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' \) -print0 |
  xargs -0 "$clang_format" "$@"
