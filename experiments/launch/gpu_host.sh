#!/usr/bin/env bash
# Runs one command on all GPUs of a host; again, it resumes.
#
#   experiments/launch/gpu_host.sh WORKDIR CONFIG [FLAGS...]
#
# One process drives all GPUs it sees, so nothing needs to be told. Under SLURM
# with one task per GPU (srun experiments/launch/gpu_host.sh ...) the processes
# find each other.
#
# WORKDIR  the run's folder, on a file system that all tasks see.
# CONFIG   such as idc:imagenet10,ipc=10
#
# DCJAX_PYTHON is the Python that dcjax is installed in, `python` by default; 3.11
# or newer.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,14p' "$0" >&2
  exit 2
fi
workdir=$1 config=$2
shift 2
cd "$(dirname "$0")/../.."
python=${DCJAX_PYTHON:-python}
processes=()
if [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
  processes=(--distributed)
fi
# Three quarters of the memory, the default, would waste the rest.
old=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}
unset XLA_PYTHON_CLIENT_MEM_FRACTION
export XLA_CLIENT_MEM_FRACTION=${XLA_CLIENT_MEM_FRACTION:-$old}
exec "$python" experiments/run.py "${processes[@]}" \
  --config="$config" --workdir="$workdir" "$@"
