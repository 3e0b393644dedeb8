#!/bin/bash
# Runs clang-tidy 14 (.clang-tidy) over the sources of the product that are compiled in the tree build/dev.
# A file that passed is not looked at again until it, something that it includes, or .clang-tidy changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tree=build/dev stamps=build/tidy
[ -f "$tree/compile_commands.json" ] || { echo "no $tree: run ./test.sh dev first"; exit 1; }
mkdir -p "$stamps"

# "SOURCE DEPENDENCY..." for each compiled source of the product.
compiled() {
  ninja -C "$tree" -t deps | awk -v root="$PWD/" '
    function flush() { if (source != "") print source deps; source = deps = "" }
    /^[^ ]/ { flush(); next }
    /^ / {
      path = $1
      if (index(path, root) == 1) path = substr(path, length(root) + 1); else if (path ~ /^\//) next
      sub(/^(\.\.\/)+/, "", path)
      if (source == "" && path ~ /\.cpp$/) { source = path; if (source !~ /^(base|storage|proto|client|server)\//) source = "" }
      else deps = deps " " path
    }
    END { flush() }' | sort -u
}

todo=() all=0
while read -r source deps; do
  all=$((all + 1))
  stamp=$stamps/${source//\//_}
  # shellcheck disable=SC2086 # a list of paths without blanks
  if [ ! -e "$stamp" ] || [ -n "$(find "$source" .clang-tidy $deps -newer "$stamp" -print -quit 2>&1)" ]; then
    todo+=("$source")
  fi
done < <(compiled)
[ "$all" -gt 0 ] || { echo "no source found to look at"; exit 1; }

export tree stamps
# shellcheck disable=SC2016 # for the inner shell
printf '%s\n' "${todo[@]}" | xargs -r -P "$(nproc)" -I{} bash -c '
  if out=$(clang-tidy-14 -p "$tree" --quiet --extra-arg=-Wno-unknown-warning-option \
    --extra-arg=-Wthread-safety "$1" 2>&1); then
    touch "$stamps/${1//\//_}"
  else
    printf "%s\n" "$out" | grep -vE "^[0-9]+ warnings|^Suppressed|^Use -header"
    exit 1
  fi' _ {}
echo "tidy: $all files, ${#todo[@]} of them looked at"
