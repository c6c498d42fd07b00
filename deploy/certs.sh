#!/usr/bin/env bash
# Makes the certificates of compose.yaml in SCALEOUT_CERTS (default deploy/certs): the authority in ca/, a folder for each
# master and worker, 'admin' for you, and 'env', which a shell reads to speak to the cluster. What is there stays.
set -euo pipefail
cd "$(dirname "$0")"
certs=${SCALEOUT_CERTS:-$PWD/certs}
scaleout=${BINARY:-../bin/scaleout}
mkdir -p "$certs"
certs=$(cd "$certs" && pwd)
chmod 700 "$certs"
[ -d "$certs/ca" ] || "$scaleout" ca init "$certs/ca"
issue() { # role, name, further arguments
  [ -d "$certs/$2" ] || "$scaleout" ca issue "$1" "$2" --ca "$certs/ca" --out "$certs/$2" "${@:3}" >/dev/null
}
for i in 1 2 3; do
  issue master "master-$i" --host "master-$i" --host localhost --host 127.0.0.1
done
for i in 1 2; do
  issue worker "worker-$i"
done
issue user admin --role ssis_admin
cat > "$certs/env" <<END
export SCALEOUT_ADDR=https://127.0.0.1:${SCALEOUT_PORT_1:-8391},https://127.0.0.1:${SCALEOUT_PORT_2:-8393},https://127.0.0.1:${SCALEOUT_PORT_3:-8395}
export SCALEOUT_CACERT=$certs/admin/ca.pem
export SCALEOUT_CERT=$certs/admin/cert.pem
export SCALEOUT_KEY=$certs/admin/key.pem
END
