"""Where a vehicle of the traffic is and what it is about to do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.traffic import (
    ACCEL,
    AFTER,
    BASE,
    BEHIND,
    CALM,
    CHANGE,
    CHANGE_FROM,
    DESIRE,
    DRAW,
    FLOATS,
    GRANTED,
    HALF_LONG,
    HALF_WIDE,
    NEXT,
    OFFSET,
    PATH,
    POWER,
    SHAPE,
    SLOPE,
    SPEED,
    TOP_SPEED,
    WHOLES,
    S,
)  # fmt: skip

__all__ = ["Vehicle"]

_AXLES_SHARE = 1.16  # of half the length


class _Float:
    """A number of a vehicle by the column it is in."""

    def __init__(self, column: int) -> None:
        self.column = column

    def __get__(self, vehicle: Vehicle, owner: type) -> float:
        return float(vehicle.floats[self.column])

    def __set__(self, vehicle: Vehicle, value: float) -> None:
        vehicle.floats[self.column] = value


class _Whole:
    """A whole number of a vehicle by the column it is in."""

    def __init__(self, column: int) -> None:
        self.column = column

    def __get__(self, vehicle: Vehicle, owner: type) -> int:
        return int(vehicle.wholes[self.column])

    def __set__(self, vehicle: Vehicle, value: int) -> None:
        vehicle.wholes[self.column] = value


class Vehicle:
    """One vehicle on a lane path: a row of numbers, which ``Traffic.begin`` makes a row of its table.

    Attributes:
        number: unique over the drive; its instance id is made from it.
        floats: ``FLOATS`` numbers as ``sim_data.kernels.traffic.drive`` reads them; ``wholes`` likewise.
        wholes: as above.
        s_m: where its middle is on the path; ``speed_mps`` and ``accel_mps2`` along it.
        half_long_m: half of its box; likewise ``half_wide_m``.
        offset_m: to the left of the path: of cyclists, who keep right, and during a change of lanes.
        slope: sideways over forward speed.
        change_from_m: offset when the change of lanes began; ``change_s`` how long ago, or -1.
        calm_s: until it thinks of changing lanes again.
        path: lane path; ``next_path`` the one chosen after it.
        granted: turn that it may take, or -1.
        shape: row of ``VEHICLE_SHAPES``, -1 for a cyclist, -2 for a motorcyclist.
    """

    __slots__ = ("floats", "number", "wholes")

    def __init__(
        self, number: int, shape: int, half_long_m: float, half_wide_m: float, path: int, next_path: int, s_m: float,
        speed_mps: float, *, desire: float = 1.0, power_mps2: float = 1.6, offset_m: float = 0.0,
        top_speed_mps: float = 99.0,
    ) -> None:  # fmt: skip
        """Puts a vehicle on a path.

        Args:
            number: see above.
            shape: row of ``VEHICLE_SHAPES``, -1 for a cyclist, -2 for a motorcyclist.
            half_long_m: half of its box; likewise ``half_wide_m``.
            half_wide_m: as above.
            path: lane path; ``next_path`` the one chosen after it.
            next_path: as above.
            s_m: where its middle is on the path.
            speed_mps: at first.
            desire: factor on the speed limit.
            power_mps2: how fast it speeds up.
            offset_m: to the left of the path.
            top_speed_mps: whatever the limit.
        """
        self.number = number
        self.floats: npt.NDArray[np.float64] = np.zeros(FLOATS)
        self.wholes: npt.NDArray[np.int64] = np.full(WHOLES, -1, np.int64)
        self.floats[[S, SPEED, HALF_LONG, HALF_WIDE, DESIRE, POWER, OFFSET, TOP_SPEED]] = (
            s_m, speed_mps, half_long_m, half_wide_m, desire, power_mps2, offset_m, top_speed_mps,
        )  # fmt: skip
        self.floats[[BASE, CHANGE, CALM, DRAW]] = _AXLES_SHARE * half_long_m, -1.0, 2.0, -1.0
        self.wholes[[PATH, NEXT, SHAPE]] = path, next_path, shape

    s_m = _Float(S)
    speed_mps = _Float(SPEED)
    accel_mps2 = _Float(ACCEL)
    half_long_m = _Float(HALF_LONG)
    half_wide_m = _Float(HALF_WIDE)
    desire = _Float(DESIRE)
    power_mps2 = _Float(POWER)
    top_speed_mps = _Float(TOP_SPEED)
    offset_m = _Float(OFFSET)
    slope = _Float(SLOPE)
    change_from_m = _Float(CHANGE_FROM)
    change_s = _Float(CHANGE)
    calm_s = _Float(CALM)
    path = _Whole(PATH)
    next_path = _Whole(NEXT)
    granted = _Whole(GRANTED)
    shape = _Whole(SHAPE)

    def forget_behind(self) -> None:
        """After a change of lanes: what lies behind on the new lane is not known."""
        self.wholes[[BEHIND, BEHIND + 1, AFTER]] = -1
