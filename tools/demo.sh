#!/bin/sh
# Replays a drive: demo.sh BIN [DRIVE] [OUT]. Without a drive a small simulated one is made first, with its truth.
set -eu
bin=$1 drive=${2:-} out=${3:-}

if [ -z "$drive" ]; then
    drive=.demo/drive
    if [ ! -f "$drive/complete" ]; then
        rm -rf "$drive"
        "$bin/perceive" sim --scenario city --seed 1 --frames 40 --rig kitti --out "$drive"
        touch "$drive/complete"
    fi
fi
if [ -n "$out" ]; then
    "$bin/perceive" replay "$drive" --out "$out"
else
    out=runs/demo
    "$bin/perceive" replay "$drive" --out "$out" --overwrite
fi
echo
echo "The run lies in $out: open $out/report.html or $out/video.mp4"
