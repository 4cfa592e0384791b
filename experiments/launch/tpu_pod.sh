#!/usr/bin/env bash
# Runs one command on every host of a Cloud TPU slice; again, it resumes.
#
#   experiments/launch/tpu_pod.sh NAME ZONE BUCKET CONFIG [FLAGS...]
#
# NAME    of the TPU VM, already created (docs/pods.md).
# ZONE    where it is, such as us-central2-b.
# BUCKET  a folder that all hosts see under one path: a bucket mounted with
#         gcsfuse, or NFS. Holds the data (BUCKET/data), the run and compiled
#         programs.
# CONFIG  such as idc:imagenet100,ipc=10
#
# DCJAX_PYTHON is the Python of the hosts, 3.12 by default: what the image lacks,
# uv fetches.
#
# The slice may be preempted: create it again, start the same line again. The
# exit status is 2 where that would fail again.
set -euo pipefail

if [ $# -lt 4 ]; then
  sed -n '2,17p' "$0" >&2
  exit 2
fi
name=$1 zone=$2 bucket=$3 config=$4
shift 4
root=$(cd "$(dirname "$0")/../.." && pwd)
run=${DCJAX_RUN:-$(echo "$config" | tr -c 'A-Za-z0-9\n' '_')}
gcloud=${DCJAX_GCLOUD:-gcloud}
# Quoted for the shell of the hosts.
python=$(printf %q "${DCJAX_PYTHON:-3.12}")
folder=$(printf %q "$bucket")
workdir=$(printf %q "$bucket/runs/$run")
flags=''
for flag in "$@"; do flags+=" $(printf %q "$flag")"; done

# Only what is committed travels, as one file.
if [ -n "$(git -C "$root" status --porcelain)" ]; then
  echo 'warning: uncommitted changes stay here; the hosts run the last commit' >&2
fi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
git -C "$root" archive --format=tar.gz -o "$place/dcjax.tar.gz" HEAD
"$gcloud" compute tpus tpu-vm scp "$place/dcjax.tar.gz" "$name:dcjax.tar.gz" \
  --zone "$zone" --worker=all

# Every host finds its number and its peers from the TPU's metadata.
"$gcloud" compute tpus tpu-vm ssh "$name" --zone "$zone" --worker=all \
  --command "set -e
mkdir -p dcjax && tar -xzf dcjax.tar.gz -C dcjax && cd dcjax
if ! test -d .venv; then
  python3 -m pip install --quiet --user uv
  python3 -m uv venv --quiet --python $python .venv
fi
python3 -m uv pip install --quiet --python .venv/bin/python \
-r requirements-tpu.txt
export JAX_COMPILATION_CACHE_DIR=$folder/compiled
.venv/bin/python experiments/run.py --distributed \
--config=$(printf %q "$config") --workdir=$workdir \
--config.data_dir=$folder/data$flags ||
{ code=\$?; echo \"dcjax ended with \$code\"; exit \$code; }" |
  tee "$place/log" || {
  code=$?
  # A wrong setting, missing data: whoever starts it again waits for nothing.
  if grep -q 'dcjax ended with 2$' "$place/log"; then exit 2; fi
  # gcloud says 2 of its own mistakes, which may pass.
  exit $((code == 2 ? 1 : code))
}
echo "results: $bucket/runs/$run (report.html, condensed.npz)"
