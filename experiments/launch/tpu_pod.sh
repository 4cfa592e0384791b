#!/usr/bin/env bash
# Runs one command on every host of a Cloud TPU slice; again, it resumes.
#
#   experiments/launch/tpu_pod.sh NAME ZONE BUCKET CONFIG [FLAGS...]
#
# NAME    of the TPU VM, already created (docs/pods.md).
# ZONE    where it is, such as us-central2-b.
# BUCKET  a folder that all hosts see under one path: a bucket mounted with
#         gcsfuse, or NFS. Holds the data (BUCKET/data) and the run.
# CONFIG  such as idc:imagenet100,ipc=10
#
# The slice may be preempted: create it again, start the same line again.
set -euo pipefail

if [ $# -lt 4 ]; then
  sed -n '2,12p' "$0" >&2
  exit 2
fi
name=$1 zone=$2 bucket=$3 config=$4
shift 4
root=$(cd "$(dirname "$0")/../.." && pwd)
run=${DCJAX_RUN:-$(echo "$config" | tr -c 'A-Za-z0-9\n' '_')}
gcloud=${DCJAX_GCLOUD:-gcloud}
flags=''
for flag in "$@"; do flags+=" $(printf %q "$flag")"; done

# Only what git knows travels, as one file.
archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
git -C "$root" archive --format=tar.gz -o "$archive" HEAD
"$gcloud" compute tpus tpu-vm scp "$archive" "$name:dcjax.tar.gz" \
  --zone "$zone" --worker=all

# Every host finds its number and its peers from the TPU's metadata.
"$gcloud" compute tpus tpu-vm ssh "$name" --zone "$zone" --worker=all \
  --command "set -e
mkdir -p dcjax && tar -xzf dcjax.tar.gz -C dcjax && cd dcjax
test -d .venv || python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements-tpu.txt
.venv/bin/python experiments/run.py --distributed \
--config=$(printf %q "$config") --workdir=$bucket/runs/$run \
--config.data_dir=$bucket/data$flags"
echo "results: $bucket/runs/$run (report.html, condensed.npz)"
