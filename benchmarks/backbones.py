"""The street network with every backbone: values and milliseconds beside the default in the same run.

    python benchmarks/backbones.py [--repeats 15] [--backbone NAME ...]

Random weights, 256x832, one thread, onnxruntime. The processor's time counts, not the clock's: with one thread both
are the same on an idle machine, and a busy one takes only the clock's. Rounds go over all networks in turn; the least
of all rounds is shown.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.models.street import StreetNet
from perception.models.street_backbones import BACKBONES, DEFAULT_BACKBONE
from perception.models.street_forward import open_session
from perception.models.weights import load_manifest
from perception.training.export import write_weights

FIELDS: dict[str, object] = {"data": "none", "licence": "none", "command": "benchmarks/backbones.py", "metrics": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--backbone", choices=BACKBONES, action="append", help="only these, and the default")
    arguments = parser.parse_args()
    names = [name for name in BACKBONES if name in {DEFAULT_BACKBONE, *(arguments.backbone or BACKBONES)}]
    torch.set_num_threads(1)
    image = np.random.default_rng(0).standard_normal((1, 3, 256, 832), np.float32)
    sessions, values, least = {}, {}, dict.fromkeys(names, np.inf)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            network = StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), backbone=name)
            values[name] = [sum(p.numel() for p in part.parameters()) for part in (network, network.backbone)]
            file = write_weights(network.state_dict(), name, FIELDS, Path(folder), backbone=name)
            sessions[name] = open_session(load_manifest(str(file)), 1, spins=False)
    for _ in range(arguments.repeats):
        for name, session in sessions.items():
            start = time.process_time()
            session.run(None, {"image": image})
            least[name] = min(least[name], (time.process_time() - start) * 1e3)
    print(f"| backbone | values, M | of the backbone, M | ms | times {DEFAULT_BACKBONE} |")
    print("|---|---|---|---|---|")
    for name in names:
        whole, backbone = (count / 1e6 for count in values[name])
        times = least[name] / least[DEFAULT_BACKBONE]
        print(f"| `{name}` | {whole:.1f} | {backbone:.1f} | {least[name]:.1f} | {times:.2f} |")


if __name__ == "__main__":
    main()
