"""Where a vehicle of the traffic is and what it is about to do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Vehicle"]


@dataclass(slots=True)
class Vehicle:
    """One vehicle on a lane path; ``s_m`` is where its middle is.

    Attributes:
        number: unique over the drive; its instance id is made from it.
        shape: row of ``VEHICLE_SHAPES``, -1 for a cyclist, -2 for a motorcyclist.
        half_long_m: half of its box; likewise ``half_wide_m``.
        path: lane path; ``next_path`` the one chosen after it, ``behind`` the two before (-1: none).
        desire: factor on the speed limit.
        offset_m: to the left of the path: of cyclists, who keep right, and during a change of lanes.
        slope: sideways over forward speed.
        granted: turn that it may take, or -1.
        change_from_m: offset when the change of lanes began; ``change_s`` how long ago, or -1.
        calm_s: until it thinks of changing lanes again.
    """

    number: int
    shape: int
    half_long_m: float
    half_wide_m: float
    path: int
    next_path: int
    s_m: float
    speed_mps: float
    accel_mps2: float = 0.0
    desire: float = 1.0
    power_mps2: float = 1.6
    offset_m: float = 0.0
    slope: float = 0.0
    top_speed_mps: float = 99.0
    behind: tuple[int, int] = (-1, -1)
    granted: int = -1
    change_from_m: float = 0.0
    change_s: float = -1.0
    calm_s: float = 2.0
    travelled_m: float = 0.0

    @property
    def base_m(self) -> float:
        """Distance between the axles."""
        return 1.16 * self.half_long_m
