#!/bin/sh
# Shows that other tools read what pare writes: quantizes the demo model in six ways, loads each with
# transformers on GPTQModel's kernels and compares the logits with pare's (scripts/compare-logits).
# Fetches 6 GB of Python packages from PyPI on its first run, outside the checkout.
#   --venv DIR       Python environment, ${PARE_INTEROP:-~/.cache/pare/interop} by default
#   --program FILE   a built pare; by default build/release/pare, which is built first
cd "$(dirname "$0")/.."
. scripts/setup.sh

venv=${PARE_INTEROP:-$HOME/.cache/pare/interop}
program=""
while [ $# -gt 0 ]; do
  case $1 in
    --venv) venv=${2:?--venv needs a directory} ;;
    --program) program=${2:?--program needs a file} ;;
    *) fail "unknown option $1; there are --venv DIR and --program FILE" ;;
  esac
  shift 2
done

if [ -z "$program" ]; then
  # shellcheck disable=SC2086
  need_packages $build_packages
  cmake --preset release -DPARE_BUILD_BENCHMARKS=OFF >/dev/null
  cmake --build --preset release --target pare_cli
  program=build/release/pare
fi

if ! "$venv/bin/python" -c "import gptqmodel, optimum, torch, transformers" >/dev/null 2>&1; then
  need_packages python3-venv
  python3 -m venv "$venv"
  "$venv/bin/pip" install --disable-pip-version-check --prefer-binary \
    torch transformers optimum gptqmodel
fi
"$venv/bin/pip" list --disable-pip-version-check 2>/dev/null |
  awk 'tolower($1) ~ /^(torch|transformers|optimum|gptqmodel)$/ { print $1, $2 }'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# variant <name> <quantize option>...: one line; counts what does not load or differs.
variant() {
  name=$1
  shift
  model=$work/$name
  "$program" quantize --out "$model" "$@" >/dev/null 2>"$work/log" ||
    fail "$name: $(tail -n 1 "$work/log")"
  "$program" eval "$model" --text examples/demo-lm/eval.txt --no-speed \
    --logits "$work/$name.safetensors" >/dev/null
  printf '%-22s ' "$name"
  "$venv/bin/python" scripts/compare-logits "$model" "$work/$name.safetensors" 2>"$work/log" && return
  failures=$((failures + 1))
  echo "FAILED: $(tail -n 1 "$work/log")"
}

variant gptq-v1-int4 --save-as gptq --method gptq --format int4
variant gptq-v1-int4-act-order --save-as gptq --method gptq --format int4 --act-order
variant gptq-v2-uint4 --save-as gptq --method gptq --format uint4
variant gptq-v1-int8 --save-as gptq --format int8
variant gptq-v2-uint8-g64 --save-as gptq --format uint8 --group-size 64
variant awq-uint4 --save-as awq --method awq --format uint4

[ $failures = 0 ] || fail "$failures variants failed"
