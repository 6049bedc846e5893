#!/bin/sh
# Compares an encoder of MiniLM's shape (BERT, 6 layers, 384 wide, 12 heads, 1536 feed-forward) with
# onnxruntime: 32 sentences of 128 tokens, random weights, W8A8 beside dynamic int8. The two take
# turns; prints a Markdown table of medians. Needs a quiet machine, and for onnxruntime
# scripts/get-peers --encoder; without it pare's W8A8 is compared with its float32 alone.
#   --dir DIR      where the models go, ${PARE_BENCH_DIR:-~/.cache/pare/encoder} by default
#   --threads N    threads of both, 2 by default
#   --rounds N     how often the two take turns, 11 by default
#   --pare FILE    a program that is built already; without it build/release/pare is built
cd "$(dirname "$0")/.."
. scripts/setup.sh

dir=${PARE_BENCH_DIR:-$HOME/.cache/pare/encoder}
threads=2
rounds=11
pare=""
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir needs a directory} ;;
    --threads) threads=${2:?--threads needs a number} ;;
    --rounds) rounds=${2:?--rounds needs a number} ;;
    --pare) pare=${2:?--pare needs a program} ;;
    *) fail "unknown option $1; there are --dir DIR, --threads N, --rounds N and --pare FILE" ;;
  esac
  shift 2
done
encoder=benchmarks/peers/encoder.py
peers=${PARE_PEERS:-$HOME/.cache/pare/peers}
python=$peers/venv/bin/python

if [ -z "$pare" ]; then
  pare=build/release/pare
  # shellcheck disable=SC2086
  need_packages $build_packages python3=python3
  cmake --preset release -DPARE_BUILD_BENCHMARKS=OFF >/dev/null
  cmake --build --preset release --target pare_cli
fi
[ -x "$pare" ] || fail "$pare is no program"

# ---- the model ------------------------------------------------------------------------------

mkdir -p "$dir"
model=$(cd "$dir" && pwd)/minilm-shape
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -d "$model" ]; then
  rm -rf "$model.partial"
  python3 $encoder make "$model.partial"
  mv "$model.partial" "$model"
fi

rival=yes
if ! missing=$("$python" -c 'import onnx, onnxruntime, safetensors, torch, transformers' 2>&1); then
  echo "no onnxruntime ($(echo "$missing" | tail -n 1)): pare alone. scripts/get-peers --encoder" \
    "fetches it" >&2
  rival=""
elif [ ! -e "$model/onnx/int8.onnx" ]; then
  "$python" $encoder export "$model" >"$work/log" 2>&1 ||
    fail "the export: $(tail -n 1 "$work/log")"
fi

# ---- the runs -------------------------------------------------------------------------------

if [ -n "$rival" ]; then
  # That both run the same model: pare's float embeddings beside PyTorch's.
  "$pare" logits "$model" --inputs "$model/eval.safetensors" --out "$work/answers.safetensors" \
    >"$work/log"
  "$python" $encoder cosine "$model" "$work/answers.safetensors" >"$work/cosine"
fi
round=1
while [ "$round" -le "$rounds" ]; do
  echo "round $round of $rounds ..." >&2
  "$pare" compare "$model" --methods rtn --formats w8a8-dynamic --threads "$threads" \
    --report "$work/pare-$round.json" >"$work/log" 2>&1 || fail "pare: $(tail -n 1 "$work/log")"
  # Memory may have huge pages, as pare's has.
  [ -z "$rival" ] || GLIBC_TUNABLES=glibc.malloc.hugetlb=1 "$python" $encoder time "$model" \
    --threads "$threads" >"$work/onnxruntime-$round.json" 2>"$work/log" ||
    fail "onnxruntime: $(tail -n 1 "$work/log")"
  round=$((round + 1))
done
python3 $encoder table "$work"
