#!/usr/bin/env bash
# What one GPU makes of fifteen minutes; again, it goes on where it stopped.
#
#   experiments/launch/quarter_hour.sh WORKDIR DATA [SIZE] [SECONDS]
#
# First benchmarks/gpu.py at its smallest, then published cells of IDC's Table
# 10 on CIFAR-10: DM at one and ten images a class, IDC at one. Every cell that
# is finished leaves a record in docs/records and is drawn in docs/published.md.
#
# WORKDIR  folder of the table and of gpu.md; keep it to go on another day.
# DATA     folder with CIFAR-10.
# SIZE     reference (the default, published schedules), short, or smoke, which
#          tests this script on the digits.
# SECONDS  after which nothing new is begun and what runs is stopped, 900 by
#          default.
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,15p' "$0" >&2
  exit 2
fi
workdir=$1 data=$2 size=${3:-reference} seconds=${4:-900}
cd "$(dirname "$0")/../.."
python=${DCJAX_PYTHON:-python}
records=${DCJAX_RECORDS:-docs/records}
mkdir -p "$workdir"
deadline=$((SECONDS + seconds))

# SIGTERM lets a run write its checkpoint, and end with 143 or 130. What fails
# does not take the time of what comes after it.
failed=0
within() {
  local left=$((deadline - SECONDS)) code=0
  if [ "$left" -le 0 ]; then
    echo "out of time before: $*" >&2
    return 0
  fi
  timeout --signal=TERM --kill-after=60 "$left" "$@" || code=$?
  case $code in
    0) ;;
    124 | 130 | 143) echo "out of time; the same command goes on" >&2 ;;
    *)
      echo "failed ($code), the others go on: $*" >&2
      failed=1
      ;;
  esac
}

gpu=(--ipc=1 --precisions=float32,tf32,bfloat16 --strategies=vmap
  --conv_forms=auto --reps=3)
if [ "$size" = smoke ]; then
  gpu=(--ipc=1 --width=4 --depth=1 --shape=8x8x1 --batch_real=2 --reps=1
    --network_batches=1 --matmul_size=64 --precisions=float32
    --strategies=scan --conv_forms=lax)
fi
if [ ! -e "$workdir/gpu.md" ]; then
  within "$python" benchmarks/gpu.py "${gpu[@]}" --out="$workdir/gpu.md"
fi
dataset=cifar10
[ "$size" = smoke ] && dataset=digits
for run in dm-$dataset-ipc1- dm-$dataset-ipc10- idc-$dataset-ipc1-factor2; do
  # At size smoke every row has one image a class.
  if [ "$size" = smoke ] && [ "$run" = dm-digits-ipc10- ]; then continue; fi
  within "$python" experiments/run.py --workdir="$workdir/table" \
    --config="table:idc_table10,size=$size,dataset=$dataset" \
    --config.only="$run" --config.records="$records" --config.data_dir="$data"
done
exit "$failed"
