#!/bin/sh
# Compares the example engine with llama.cpp (bin/llama-bench of scripts/get-peers) on a model of
# 1.1 billion random weights: a prompt of 512 tokens, and 32 tokens decoded after it. Prints a
# Markdown table. Needs a quiet machine, 9 GB of disk outside the repository and 6 GB of memory.
#   --dir DIR      where the models go, ${PARE_BENCH_DIR:-~/.cache/pare/engine} by default
#   --threads N    threads of both engines, 2 by default
cd "$(dirname "$0")/.."
. scripts/setup.sh

dir=${PARE_BENCH_DIR:-$HOME/.cache/pare/engine}
threads=2
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir needs a directory} ;;
    --threads) threads=${2:?--threads needs a number} ;;
    *) fail "unknown option $1; there are --dir DIR and --threads N" ;;
  esac
  shift 2
done
peers=${PARE_PEERS:-$HOME/.cache/pare/peers}
llama=$peers/bin/llama-bench
pare=build/release/pare
prompt=512
tokens=32

# shellcheck disable=SC2086
need_packages $build_packages
cmake --preset release -DPARE_BUILD_BENCHMARKS=OFF >/dev/null
cmake --build --preset release --target pare_cli

# ---- the models -----------------------------------------------------------------------------

mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# pack <name> <options>...: the quantized model in packed form. A run that was killed is resumed.
pack() {
  [ -d "$dir/$1" ] && return
  name=$1
  shift
  [ -d "$dir/$name.codes" ] || "$pare" quantize "$dir/checkpoint" "$@" --out "$dir/$name.codes"
  "$pare" pack "$dir/$name.codes" --out "$dir/$name"
  rm -r "$dir/$name.codes"
}

# gguf <name> <options>...: the model for llama.cpp, if that is there.
gguf() {
  [ -x "$llama" ] && [ ! -e "$dir/$1.gguf" ] || return 0
  name=$1
  shift
  "$peers/venv/bin/python" scripts/make-gguf "$dir/checkpoint" "$dir/$name.gguf" "$@"
}

[ -x "$llama" ] || echo "no llama.cpp: its rows stay blank until scripts/get-peers has run" >&2
[ -d "$dir/checkpoint" ] || "$pare" make-checkpoint --out "$dir/checkpoint"
# The output layer has 8 bits in all of them, as in the files that llama.cpp makes.
pack w8a8-output-int8 --format w8a8-dynamic --output-layer int8
pack w4a8-g32-output-int8 --format w4a8-dynamic --group-size 32 --output-layer int8
pack w4a8-g64-output-int8 --format w4a8-dynamic --group-size 64 --output-layer int8
gguf q8_0-output-q8_0 --type q8_0 --output q8_0
gguf q4_0-output-q8_0 --type q4_0 --output q8_0
echo "models: $(du -sh "$dir" | cut -f 1) in $dir" >&2

# ---- the runs -------------------------------------------------------------------------------

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rows=$work/rows # name|the rival's name|prefill|decode|MB per token

# pare_row <name> <rival> <model>
pare_row() {
  echo "$1 ..." >&2
  "$pare" bench "$dir/$3" --threads "$threads" --prompt $prompt --tokens $tokens >"$work/bench"
  awk -v name="$1" -v rival="$2" '
    /^decode/ { decoding = 1 }
    / tokens\/s,/ { if (decoding) { decode = $1; mb = $3 } else prefill = $1 }
    END { print name "|" rival "|" prefill "|" decode "|" mb }' "$work/bench" >>"$rows"
}

# llama_speed <model> <options>...: the median, as pare's. Without mapping, weights that are not
# repacked may have huge pages too.
llama_speed() {
  model=$1
  shift
  "$llama" -m "$model" -t "$threads" --load-mode none -o json "$@" >"$work/llama" 2>"$work/log" ||
    fail "llama-bench: $(tail -n 1 "$work/log")"
  sed -n 's/.*"samples_ts": *\[\(.*\)\].*/\1/p' "$work/llama" | tr -d ' ' | tr , '\n' | sort -g |
    awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# llama_row <name> <model>
llama_row() {
  model=$dir/$2.gguf
  if [ ! -x "$llama" ] || [ ! -e "$model" ]; then
    echo "$1||||" >>"$rows"
    return
  fi
  echo "$1 ..." >&2
  prefill=$(llama_speed "$model" -p $prompt -n 0 -r 7)
  decode=$(llama_speed "$model" -p 0 -n $tokens -d $prompt -r 5)
  bytes=$("$peers/venv/bin/python" scripts/make-gguf --read-bytes "$model" \
    --context $((prompt + tokens / 2)))
  echo "$1||$prefill|$decode|$((bytes / 1000000))" >>"$rows"
}

pare_row "pare float32" "" checkpoint
pare_row "pare W8A8" "llama.cpp Q8_0" w8a8-output-int8
llama_row "llama.cpp Q8_0" q8_0-output-q8_0
pare_row "pare W4A8, groups of 32" "llama.cpp Q4_0" w4a8-g32-output-int8
pare_row "pare W4A8, groups of 64" "llama.cpp Q4_0" w4a8-g64-output-int8
llama_row "llama.cpp Q4_0" q4_0-output-q8_0

# ---- the table ------------------------------------------------------------------------------

awk -F '|' '
  function number(value, format) { return value == "" ? "" : sprintf(format, value) }
  function times(row, other) {
    if (prefill[row] == "" || prefill[other] == "") return ""
    return sprintf("%.2fx, %.2fx", prefill[row] / prefill[other], decode[row] / decode[other])
  }
  { names[NR] = $1; rival[$1] = $2; prefill[$1] = $3; decode[$1] = $4; mb[$1] = $5 }
  END {
    line = "| %-28s | %17s | %16s | %12s | %13s | %15s |\n"
    printf line, "", "prefill, tokens/s", "decode, tokens/s", "MB per token", "times float32", \
      "times llama.cpp"
    print "|---|--:|--:|--:|--:|--:|"
    for (i = 1; i <= NR; ++i) {
      n = names[i]
      printf line, n, number(prefill[n], "%.0f"), number(decode[n], "%.1f"), \
        number(mb[n], "%.0f"), (i > 1 ? times(n, names[1]) : ""), \
        (rival[n] != "" ? times(n, rival[n]) : "")
    }
  }' "$rows"
