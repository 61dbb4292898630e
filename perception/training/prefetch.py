"""Prepares batches ahead in threads; OpenCV and numpy give up the interpreter's lock while they work."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Prefetch"]

_Batch = TypeVar("_Batch")
_AHEAD_PER_WORKER = 2


class Prefetch(Generic[_Batch]):
    """Gives the same batches as ``batch_at``, which must be a function of its number alone.

    Args:
        batch_at: makes a batch.
        stride: between the numbers that will be asked for, one after the other.
        workers: threads; 0 makes every batch when it is asked for.
    """

    def __init__(self, batch_at: Callable[[int], _Batch], stride: int, workers: int):
        self._batch_at, self._stride, self._workers = batch_at, stride, workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batch") if workers else None
        self._coming: dict[int, Future[_Batch]] = {}

    def __call__(self, number: int) -> _Batch:
        """Batch ``number``; an error in making it is raised here."""
        if self._pool is None:
            return self._batch_at(number)
        wanted = [number + ahead * self._stride for ahead in range(1 + _AHEAD_PER_WORKER * self._workers)]
        for late in self._coming.keys() - set(wanted):
            self._coming.pop(late).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._pool.submit(self._batch_at, each)
        return self._coming.pop(number).result()

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
