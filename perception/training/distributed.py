"""Several processes, one network: torch's DistributedDataParallel in the environment that ``torchrun`` sets.

    torchrun --nproc-per-node 2 -m perception train CONFIG --data DATA --out OUT

Every process takes its own passes of every step; gradients are averaged over processes. With losses that are means
over images that is one step with all their images; losses that divide by what they found in a batch are divided by what
each process found.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from perception.errors import ConfigError

__all__ = ["World", "joined"]

# the others wait while the first process validates
_PATIENCE = datetime.timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run.

    Attributes:
        rank: of this process.
        size: number of processes.
        device: of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that validates, logs and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network as it is called in training: gradients are averaged over processes in its backward pass."""
        if self.size == 1:
            return network
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            return DistributedDataParallel(network, device_ids=[self.device.index])
        return DistributedDataParallel(network)

    def without_exchange(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Inside, backward passes only add up gradients here: for all passes of a step but the last."""
        if isinstance(wrapped, DistributedDataParallel):
            held: AbstractContextManager[None] = wrapped.no_sync()
            return held
        return nullcontext()

    def largest(self, values: list[float]) -> list[float]:
        """The largest of each value over processes, so that all decide alike."""
        if self.size == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        found: list[float] = shared.tolist()
        return found

    def from_first(self, value: Any) -> Any:
        """What the first process has; every process must ask."""
        if self.size == 1:
            return value
        shared = [value]
        distributed.broadcast_object_list(shared, src=0, device=self.device)
        return shared[0]


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The processes that ``torchrun`` started; one alone without it.

    Args:
        device: ``cpu``, or ``cuda:N``; of several processes each takes the GPU of its local rank.

    Raises:
        ConfigError: the environment is incomplete, or a machine has fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, torch.device(device))
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ConfigError(f"WORLD_SIZE is {size} but {', '.join(missing)} not set; expected torchrun's environment")
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    own = torch.device("cpu")
    if device != "cpu":
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(f"local rank {local_rank}: found {torch.cuda.device_count()} GPU(s); expected one each")
        own = torch.device("cuda", local_rank)
        torch.cuda.set_device(own)
    distributed.init_process_group("gloo" if own.type == "cpu" else "nccl", timeout=_PATIENCE)
    try:
        yield World(rank, size, own)
    finally:
        distributed.destroy_process_group()
