#!/bin/bash
# Builds the container image and uses it as people would. Every container, volume, network and image that this makes
# carries a name of its own and is gone afterwards; two things stay, since they save minutes next time: the base image
# debian:bookworm-slim where it had to be made, and pageserver-packages, the layer with the compiler.
#   tests/container/container_test.sh [BUILD_TREE]     the tree whose pagectl is the client on the host (build/release)
# The last line is `N passed, N failed, N skipped`. Where no Docker daemon answers, all of it is one skipped test.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

tree=${1:-build/release}
pagectl=$PWD/$tree/bin/pagectl
id=pageserver-test-$$
image=$id:latest
image_bytes_max=$((60 << 20))
# As a careful administrator would run it.
hardened=(--read-only --cap-drop=ALL --security-opt=no-new-privileges --memory 256m --pids-limit 64)
hardened_daemon=("${hardened[@]}" --health-interval=1s)
# Everybody who reaches the published port may do everything: this machine's loopback, and the container's own network.
open_to_all=(--config /etc/pageserver/container.json --listen 0.0.0.0:6553 --insecure)
passed=0 failed=0 skipped=0

finish() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ] && [ "$((passed + skipped))" -gt 0 ]
}

skip() {
  echo "skipped: $1 ($2)"
  skipped=$((skipped + 1))
}

# run_case NAME FUNCTION: the function runs in a shell of its own that ends at the first command that fails.
run_case() {
  (set -e; "$2") >"$work/out" 2>&1
  local status=$?
  if [ "$status" = 0 ]; then
    echo "ok: $1"
    passed=$((passed + 1))
  else
    echo "FAILED: $1 (status $status)"
    sed 's/^/    /' "$work/out"
    failed=$((failed + 1))
  fi
}

expect() {  # WHAT EXPECTED ACTUAL
  [ "$2" = "$3" ] || { echo "$1: expected '$2', found '$3'"; return 1; }
}

clean_up() {
  docker ps -aq --filter "name=$id" | xargs -r docker rm -fv >/dev/null 2>&1
  [ -z "${compose[*]:-}" ] || "${compose[@]}" down -v >/dev/null 2>&1
  docker volume ls -q --filter "name=$id" | xargs -r docker volume rm >/dev/null 2>&1
  docker network ls -q --filter "name=$id" | xargs -r docker network rm >/dev/null 2>&1
  docker rmi "$image" >/dev/null 2>&1
  docker image prune -f --filter "label=pageserver.build=$id" >/dev/null 2>&1
  # Files in bind mounts belong to the container's user.
  rm -rf "$work" 2>/dev/null || echo "left behind, owned by another user: $work"
}

prepare_base_image() {
  docker/base-image.sh && return
  docker/install-packages.sh root || return
  if [ "$(id -u)" = 0 ]; then docker/base-image.sh; else sudo -n docker/base-image.sh; fi
}

wait_healthy() {  # CONTAINER: as Docker sees it, at most 60 s
  local state=
  for ((i = 0; i < 600; i++)); do
    state=$(docker inspect -f '{{.State.Status}} {{.State.Health.Status}}' "$1")
    [ "$state" != "running healthy" ] || return 0
    [[ "$state" == running* ]] || break
    sleep 0.1
  done
  echo "$1 is '$state', not healthy"
  docker logs "$1"
  return 1
}

server_of() {  # CONTAINER: its published port on this machine
  printf 'pageserver://%s' "$(docker port "$1" 6553/tcp | head -n 1)"
}

size_is_bounded() {
  local bytes
  bytes=$(docker image inspect -f '{{.Size}}' "$image")
  echo "$bytes bytes"
  [ "$bytes" -lt "$image_bytes_max" ]
}

holds_only_the_programs() {
  expect user 10001:10001 "$(docker image inspect -f '{{.Config.User}}' "$image")"
  expect programs "pagectl pageserverd" "$(docker run --rm --name "$id-ls" --entrypoint ls "$image" /usr/local/bin | xargs)"
  expect compiler "" "$(docker run --rm --name "$id-cc" --entrypoint sh "$image" -c 'command -v g++ cmake || :')"
  # What docker/kubernetes.yaml runs before a stop, and what TLS and people look up.
  expect user pageserver "$(docker run --rm --name "$id-who" --entrypoint sh "$image" -c 'sleep 0 && id -un')"
  docker run --rm --name "$id-authorities" --entrypoint grep "$image" -q 'BEGIN CERTIFICATE' /usr/lib/ssl/cert.pem
  docker run --rm --name "$id-parts" --entrypoint grep "$image" -hE '^(Package|Version):' -r /var/lib/dpkg/status.d
  docker run --rm --name "$id-version" "$image" --version
}

refuses_an_unknown_argument() {
  local status=0
  docker run --rm --name "$id-unknown" "$image" --no-such-flag || status=$?
  [ "$status" != 0 ] && [ "$status" -lt 125 ]
}

starts_hardened_and_is_healthy() {
  docker network create "$id-net"
  docker run -d --name "$id-daemon" --network "$id-net" "${hardened_daemon[@]}" -p 127.0.0.1::6553 -v "$id-data:/data" "$image" \
    "${open_to_all[@]}"
  wait_healthy "$id-daemon"
}

serves_the_host() {
  local server
  server=$(server_of "$id-daemon")
  "$pagectl" ping "$server" --wait 30000
  "$pagectl" create "$server/kept" --pages 4
  echo "from the host" | "$pagectl" write "$server/kept" 65530
  expect bytes "from the host" "$("$pagectl" read "$server/kept" 65530 13)"
  "$pagectl" list "$server" | grep kept
}

serves_a_second_container() {
  docker run --rm --name "$id-client" --network "$id-net" "${hardened[@]}" --no-healthcheck --entrypoint sh "$image" -ec "
    pagectl create pageserver://$id-daemon/second --pages 1
    echo 'from a container' | pagectl write pageserver://$id-daemon/second 0
    pagectl read pageserver://$id-daemon/kept 65530 13" >"$work/client"
  tail -n 1 "$work/client" | grep -F "from the host"
  expect bytes "from a container" "$("$pagectl" read "$(server_of "$id-daemon")/second" 0 16)"
}

serves_a_unix_socket_through_a_bind_mount() {
  mkdir "$work/socket"
  chmod 777 "$work/socket"
  cat >"$work/rules.json" <<EOF
{
  "listen": ["127.0.0.1:6553"],
  "unix": [{"path": "/run/pageserver/pageserver.sock", "mode": "0666"}],
  "directory": {"path": "/data", "create": true},
  "rules": [{"who": "uid:$(id -u)", "stores": "near", "may": ["read", "write", "create"]}]
}
EOF
  chmod 644 "$work/rules.json"
  docker run -d --name "$id-unix" --network none "${hardened_daemon[@]}" -v "$work/socket:/run/pageserver" \
    -v "$work/rules.json:/etc/pageserver/rules.json:ro" -v "$id-unix-data:/data" "$image" --config /etc/pageserver/rules.json
  wait_healthy "$id-unix"
  local socket="socket=$work/socket/pageserver.sock"
  "$pagectl" create "pageserver+unix:///near?$socket" --pages 2
  echo "no network at all" | "$pagectl" write "pageserver+unix:///near?$socket" 7
  expect bytes "no network at all" "$("$pagectl" read "pageserver+unix:///near?$socket" 7 17)"
  ! "$pagectl" create "pageserver+unix:///far?$socket" 2>"$work/refused" || return 1
  grep "takes the right create" "$work/refused"
  docker stop -t 20 "$id-unix"
  expect "exit status" 0 "$(docker inspect -f '{{.State.ExitCode}}' "$id-unix")"
}

lets_nobody_in_unasked() {
  docker run -d --name "$id-closed" --network "$id-net" "${hardened_daemon[@]}" -v "$id-run:/run/pageserver" "$image"
  wait_healthy "$id-closed"
  local status=0
  docker run --rm --name "$id-stranger" --network "$id-net" "${hardened[@]}" --no-healthcheck --entrypoint pagectl "$image" \
    ping "$id-closed" || status=$?
  expect "a stranger's ping" 1 "$status"
  # Who shares its socket and its user.
  docker run --rm --name "$id-friend" --network none "${hardened[@]}" --no-healthcheck -v "$id-run:/run/pageserver" \
    --entrypoint pagectl "$image" create 'pageserver+unix:///mine?socket=/run/pageserver/pageserver.sock'
  status=0
  docker run --rm --name "$id-other" --user 10002 --network none "${hardened[@]}" --no-healthcheck \
    -v "$id-run:/run/pageserver" --entrypoint pagectl "$image" \
    info 'pageserver+unix:///mine?socket=/run/pageserver/pageserver.sock' 2>"$work/other" || status=$?
  cat "$work/other"
  expect "another user's request" 1 "$status"
  grep "without rules" "$work/other"
}

stops_with_status_0() {
  "$pagectl" hash "$(server_of "$id-daemon")/kept" >"$work/hash"
  docker stop -t 20 "$id-daemon"
  expect "exit status" 0 "$(docker inspect -f '{{.State.ExitCode}}' "$id-daemon")"
  expect "killed for memory" false "$(docker inspect -f '{{.State.OOMKilled}}' "$id-daemon")"
}

leaves_plain_images_in_the_volume() {
  expect files "kept.img second.img" \
    "$(docker run --rm --name "$id-look" -v "$id-data:/data" --entrypoint ls "$image" -A /data | xargs)"
  expect hash "$(awk '{ print $1 }' "$work/hash")" \
    "$(docker run --rm --name "$id-hash" -v "$id-data:/data" --entrypoint pagectl "$image" hash /data/kept.img | awk '{ print $1 }')"
}

finds_the_data_again() {
  docker rm "$id-daemon"
  docker run -d --name "$id-daemon" --network "$id-net" "${hardened_daemon[@]}" -p 127.0.0.1::6553 -v "$id-data:/data" "$image" \
    "${open_to_all[@]}"
  wait_healthy "$id-daemon"
  expect bytes "from the host" "$("$pagectl" read "$(server_of "$id-daemon")/kept" 65530 13)"
  expect hash "$(cat "$work/hash")" "$("$pagectl" hash "$(server_of "$id-daemon")/kept")"
}

keeps_answered_writes_over_a_kill() {
  echo "before the kill" | "$pagectl" write "$(server_of "$id-daemon")/kept" 100
  docker kill -s KILL "$id-daemon"
  docker start "$id-daemon"
  wait_healthy "$id-daemon"
  expect bytes "before the kill" "$("$pagectl" read "$(server_of "$id-daemon")/kept" 100 15)"
  docker stop -t 20 "$id-daemon"
}

names_the_user_that_a_bind_mount_needs() {
  mkdir -m 755 "$work/foreign"
  docker run -d --name "$id-foreign" "${hardened_daemon[@]}" -p 127.0.0.1::6553 -v "$work/foreign:/data" "$image" \
    "${open_to_all[@]}"
  if wait_healthy "$id-foreign"; then
    ! "$pagectl" create "$(server_of "$id-foreign")/refused" 2>"$work/refusal" || return 1
  else
    docker logs "$id-foreign" >"$work/refusal" 2>&1
  fi
  grep 10001 "$work/refusal"
}

compose_client_uses_the_daemon() {
  "${compose[@]}" up --no-build --abort-on-container-exit --exit-code-from client
  "${compose[@]}" up --no-build --abort-on-container-exit --exit-code-from client >"$work/up" 2>&1
  cat "$work/up"
  grep -F "hello from a con" "$work/up"
  "${compose[@]}" down -v
}

compose_client_comes_over_tls() {
  # The lines that people are told to type.
  mkdir "$work/tls"
  sed -n "s/^    \(NEW='.*\|openssl \$NEW .*\)/\1/p" docs/operations.md >"$work/make-certificates"
  expect "lines in docs/operations.md" 4 "$(wc -l <"$work/make-certificates")"
  (cd "$work/tls" && sh -e "$work/make-certificates")
  docker run --rm --name "$id-chown" --user 0 -v "$work/tls:/tls" --entrypoint chown "$image" 10001 /tls/server.key /tls/ci.key
  export PAGESERVER_TLS=$work/tls
  "${compose_tls[@]}" up --no-build --abort-on-container-exit --exit-code-from client >"$work/up" 2>&1 ||
    { cat "$work/up"; "${compose_tls[@]}" down -v; return 1; }
  cat "$work/up"
  grep -F "hello over TLS" "$work/up"
  grep -F "cert:app:ci" "$work/up"
  "${compose_tls[@]}" down -v
}

if ! command -v docker >/dev/null; then
  skip "the container image" "Docker is not installed"
  finish
  exit
fi
if ! docker_fault=$(docker info 2>&1 >/dev/null); then
  skip "the container image" "no Docker daemon answers: ${docker_fault%%$'\n'*}"
  finish
  exit
fi
[ -x "$pagectl" ] || { echo "FAILED: no $pagectl: build it first (./test.sh release)"; failed=1; finish; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/$id.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir -p build/logs
if ! { prepare_base_image &&
  docker build --target packages -f docker/Dockerfile -t pageserver-packages . &&
  docker build -f docker/Dockerfile --build-arg "BUILD_ID=$id" --build-arg "CMAKE_FLAGS=-DPAGESERVER_LTO=OFF -DCMAKE_CXX_FLAGS_RELEASE=-O1" -t "$image" .; } >build/logs/container-build.log 2>&1; then
  tail -n 40 build/logs/container-build.log
  echo "FAILED: the image does not build (all of it: build/logs/container-build.log)"
  failed=1
  finish
  exit 1
fi
run_case "the image is smaller than 60 MiB" size_is_bounded
run_case "the image holds the two programs and runs as user 10001" holds_only_the_programs
run_case "an unknown argument fails" refuses_an_unknown_argument
run_case "read-only and without capabilities it becomes healthy" starts_hardened_and_is_healthy
run_case "a program on the host uses it through the published port" serves_the_host
run_case "a second container uses it over their network" serves_a_second_container
run_case "a Unix socket in a bind mount works without any network" serves_a_unix_socket_through_a_bind_mount
run_case "without a word about who may, nobody comes in over the network, and one user over its socket" lets_nobody_in_unasked
run_case "docker stop ends it with status 0" stops_with_status_0
run_case "after a stop the volume holds the plain images and nothing else" leaves_plain_images_in_the_volume
run_case "a new container on the same volume finds the data" finds_the_data_again
run_case "a killed container keeps every answered write" keeps_answered_writes_over_a_kill
run_case "a bind mount of another user's is refused with the user that it needs" names_the_user_that_a_bind_mount_needs

compose=()
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
else
  command -v docker-compose >/dev/null || docker/install-packages.sh compose
  ! command -v docker-compose >/dev/null || compose=(docker-compose)
fi
if [ ${#compose[@]} -gt 0 ]; then
  export PAGESERVER_IMAGE=$image
  compose_tls=("${compose[@]}" -p "$id-tls" -f docker/compose.tls.yaml)
  compose+=(-p "$id" -f docker/compose.yaml)
  run_case "compose brings up the daemon and a client that waits for its health" compose_client_uses_the_daemon
  run_case "compose brings up the daemon on a network, over TLS, for a client with a certificate" compose_client_comes_over_tls
else
  skip "compose" "neither docker compose nor docker-compose is here"
fi
finish
