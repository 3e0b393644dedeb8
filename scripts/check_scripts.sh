#!/bin/bash
# Runs shellcheck over every shell script of this project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mapfile -t files < <(scripts/sources.sh '*.sh' '.ci/run')
shellcheck "${files[@]}"
echo "scripts: ${#files[@]} files"
