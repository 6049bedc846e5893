#!/bin/sh
# check-pages.sh ROOT BUILD PROGRAM COMPILER...
# Checks every page (*.md) of ROOT:
#   - a ```cpp block is a program: it is compiled and run, and prints the ```text block after it
#   - a ```sh block names scripts, presets, small programs and commands that exist, with options
#     that they have
#   - links lead to files, and paths in `code` exist
# Prints page:line: reason for each breach. PROGRAM is pare, or empty where it is not built.
set -eu
root=$1 build=$2 program=$3
shift 3
mkdir -p "$build"
build=$(cd "$build" && pwd)
cd "$root"
breaches=$build/breaches
: >"$breaches"

breach() { echo "$*" | tee -a "$breaches" >&2; }

# exists PATH PAGE: in the tree, beside the page, as it is included, or among rooms and examples.
exists() {
  for place in . "$(dirname "$2")" include include/pare include/pare/kernels examples; do
    [ -e "$place/$1" ] && return
  done
  return 1
}

# check_command PAGE:LINE WORD...: one line of a shell block.
check_command() {
  where=$1
  shift
  case $1 in
    ./scripts/* | scripts/*)
      script=$1
      [ -x "$script" ] || { breach "$where: there is no script $script" && return; }
      for word in "$@"; do
        case $word in
          --*) grep -q -e "$word)" -e "$word " "$script" || breach "$where: $script has no $word" ;;
        esac
      done
      ;;
    build/*/pare | pare)
      [ -n "$program" ] || return 0
      command=$2
      "$program" "$command" --help >"$build/help" 2>&1 ||
        { breach "$where: pare has no command $command" && return; }
      for word in "$@"; do
        case $word in
          --*) grep -q -e "$word\([, ]\|\$\)" "$build/help" ||
            breach "$where: pare $command has no $word" ;;
        esac
      done
      ;;
    build/*/examples/*)
      [ -e "examples/$(basename "$1").cpp" ] || breach "$where: examples/ has no $(basename "$1").cpp"
      ;;
    cmake | ctest)
      while [ $# -gt 1 ]; do
        if [ "$1" = --preset ] && ! grep -q "\"name\": \"$2\"" CMakePresets.json; then
          breach "$where: there is no preset $2"
        fi
        shift
      done
      ;;
    build/*/tests/* | g++) ;;
    *) breach "$where: a shell block begins with $1, which this check does not know" ;;
  esac
}

# ---- blocks ---------------------------------------------------------------------------------

git ls-files -co --exclude-standard '*.md' >"$build/pages" 2>/dev/null ||
  find . -name '*.md' -not -path './build/*' | sed 's|^\./||' >"$build/pages"
rm -f "$build"/block-*

# One file per block, block-NUMBER.LANGUAGE; block-NUMBER.where says where it begins.
# shellcheck disable=SC2046
awk -v build="$build" '
  FNR == 1 { inside = 0 }
  /^```/ && !inside {
    inside = 1
    name = sprintf("%s/block-%03d", build, ++count)
    print FILENAME ":" FNR > (name ".where")
    close(name ".where")
    file = name "." (length($0) > 3 ? substr($0, 4) : "text")
    printf "" > file
    next
  }
  /^```/ { inside = 0; close(file); next }
  inside { print > file }' $(cat "$build/pages")

programs=0
for source in "$build"/block-*.cpp; do
  [ -e "$source" ] || continue
  programs=$((programs + 1))
  where=$(cat "${source%.cpp}.where")
  if ! "$@" -O2 -pthread -fopenmp "$source" -o "$build/program" >"$build/log" 2>&1; then
    breach "$where: does not compile: $(grep -m 1 error "$build/log")"
    continue
  fi
  "$build/program" >"$build/printed" || breach "$where: fails when it runs"
  number=$(basename "${source%.cpp}" | sed 's/block-0*//')
  expected=$build/block-$(printf %03d $((number + 1))).text
  if [ ! -e "$expected" ]; then
    breach "$where: no block after it says what it prints"
  elif ! cmp -s "$expected" "$build/printed"; then
    breach "$where: prints \"$(head -c 200 "$build/printed")\", not \"$(head -c 200 "$expected")\""
  fi
done
[ $programs -gt 0 ] || breach "README.md:1: there is no program"

for block in "$build"/block-*.sh; do
  [ -e "$block" ] || continue
  where=$(cat "${block%.sh}.where")
  # Comments and what follows && are taken apart; quoted text is one word.
  sed -e 's/ *#.*//' -e 's/"[^"]*"/TEXT/g' -e 's/ && /\n/g' "$block" >"$build/lines"
  while read -r line; do
    # shellcheck disable=SC2086
    [ -z "$line" ] || check_command "$where" $line
  done <"$build/lines"
done

# ---- links and paths ------------------------------------------------------------------------

while read -r page; do
  # What the changelog calls removed does not exist.
  awk '/^##/ { removed = /Removed/ } { print removed ? "" : $0 }' "$page" >"$build/text"
  grep -no ']([^)]*)' "$build/text" | sed 's/](\(.*\))/\1/' | while IFS=: read -r line target; do
    case $target in
      http:* | https:* | \#*) ;;
      *) [ -e "$(dirname "$page")/${target%%#*}" ] || breach "$page:$line: no file ${target%%#*}" ;;
    esac
  done
  grep -noE '`[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]*`' "$build/text" | tr -d '`' |
    while IFS=: read -r line path; do
      case $path in
        build/* | bin/* | DIR*) ;;  # made by builds and scripts
        *) exists "$path" "$page" || breach "$page:$line: no file $path" ;;
      esac
    done
done <"$build/pages"

[ ! -s "$breaches" ] || exit 1
echo "$(wc -l <"$build/pages") pages, $programs programs"
