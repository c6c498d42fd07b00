#!/usr/bin/env bash
# Runs the compose deployment with whichever Compose this machine has.
# Usage: deploy/compose.sh up | down [--volumes] | rolling-restart | ANYTHING THAT COMPOSE TAKES
set -euo pipefail
cd "$(dirname "$0")"
export SCALEOUT_USER=${SCALEOUT_USER:-$(id -u):$(id -g)}
export SCALEOUT_CERTS=${SCALEOUT_CERTS:-$PWD/certs}
export COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-scaleout}
scaleout=${BINARY:-../bin/scaleout}
masters=(master-1 master-2 master-3)

if docker compose version >/dev/null 2>&1; then
  compose() { docker compose -f compose.yaml "$@"; }
else
  compose() { docker-compose -f compose.yaml "$@"; }
fi

inside() { compose exec -T "$1" /bin/scaleout "${@:2}"; }

case ${1:-} in
up)
  ./certs.sh
  ./build.sh
  compose up -d
  for m in "${masters[@]}"; do inside "$m" ready --wait 90s; done
  . "$SCALEOUT_CERTS/env"
  for w in worker-1 worker-2; do
    inside "$w" ready --worker /data/worker --wait 60s
    "$scaleout" worker enable "$w"
  done
  "$scaleout" cluster status
  echo
  echo "Ready. In a shell: . $SCALEOUT_CERTS/env"
  ;;
down)
  compose down --timeout 60 "${@:2}"
  ;;
rolling-restart)
  # The leader last: each hand-over costs the calls under way a moment, and so there is one less.
  leader=
  for m in "${masters[@]}"; do
    if inside "$m" ready --leader 2>/dev/null; then leader=$m; fi
  done
  order=()
  for m in "${masters[@]}"; do
    [ "$m" = "$leader" ] || order+=("$m")
  done
  order+=(${leader:+"$leader"})
  for m in "${order[@]}"; do
    for other in "${masters[@]}"; do inside "$other" ready --wait 60s; done
    echo "restarting $m"
    compose stop "$m"
    # 'up' and not 'start': a new image or new settings are taken up.
    compose up -d --no-deps "$m"
    inside "$m" ready --wait 90s
  done
  echo "all masters restarted"
  ;;
'')
  echo "usage: $0 up | down | rolling-restart | …" >&2
  exit 2
  ;;
*)
  compose "$@"
  ;;
esac
