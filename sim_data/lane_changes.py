"""Changes of lanes: when they pay, and whether there is a gap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.traffic import CHANGE_S, LEAST_CHANGE_MPS
from sim_data.network import Network
from sim_data.vehicle_state import Vehicle

__all__ = ["CALM_AFTER_S", "consider_change"]

CALM_AFTER_S = CHANGE_S + 3.0
_BEFORE_JUNCTION_M = 45.0


def consider_change(network: Network, bodies: npt.NDArray[np.float64], vehicles: list[Vehicle], number: int) -> bool:
    """Starts a change of lanes where the vehicle ahead is slow, or to go back to the right; True where it begins."""
    vehicle = vehicles[number]
    path = network.paths[vehicle.path]
    free_end = path.ahead_junction < 0 or len(network.junctions[path.ahead_junction].arms) < 3
    if (
        vehicle.shape == -1 or vehicle.change_s >= 0 or vehicle.granted >= 0 or path.junction >= 0
        or vehicle.speed_mps < LEAST_CHANGE_MPS or (path.left < 0 and path.right < 0)
        or not 8.0 < vehicle.s_m < path.length_m - (8.0 if free_end else _BEFORE_JUNCTION_M)
    ):  # fmt: skip
        return False
    limit = min(path.speed_mps * vehicle.desire, vehicle.top_speed_mps)
    ahead, lead_speed = _ahead(bodies, number, 0.0, len(vehicles))
    slow = ahead < 12.0 + 1.8 * vehicle.speed_mps and lead_speed < 0.88 * limit
    targets = []
    if slow:
        targets = [path.left, path.right]
    elif free_end and path.right >= 0:
        targets = [path.right]
    for target in targets:
        if target < 0:
            continue
        side = 1.0 if target == path.left else -1.0
        room, speed = _ahead(bodies, number, side, len(vehicles))
        gains = room > ahead + 8.0 or speed > lead_speed + 1.5 if slow else room > 20.0 + 3.0 * vehicle.speed_mps
        if gains and _gap(bodies, number, side, len(vehicles)):
            _begin(network, vehicle, target, bodies[number])
            return True
    return False


def _beside(bodies: npt.NDArray[np.float64], number: int, count: int) -> tuple[npt.NDArray[np.float64], ...]:
    """Along and across distance of the other vehicles, m, and their speed along, in the vehicle's own frame."""
    x, y, yaw = bodies[number, :3]
    dx, dy = bodies[:count, 0] - x, bodies[:count, 1] - y
    cosine, sine = np.cos(yaw), np.sin(yaw)
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    along[number] = np.inf
    return along, across, bodies[:count, 5] * cosine + bodies[:count, 6] * sine


def _in_lane(across: npt.NDArray[np.float64], along: npt.NDArray[np.float64], side: float) -> npt.NDArray[np.bool_]:
    # lanes are 3.2 to 3.7 m wide, and bend away with the distance
    return np.asarray(np.abs(across - side * 3.4) < 1.9 + 0.01 * np.minimum(np.abs(along), 80.0))


def _ahead(bodies: npt.NDArray[np.float64], number: int, side: float, count: int) -> tuple[float, float]:
    along, across, speed = _beside(bodies, number, count)
    rows = np.flatnonzero(_in_lane(across, along, side) & (along > 0) & (along < 120.0))
    if not len(rows):
        return 1e3, 1e3
    first = rows[np.argmin(along[rows])]
    return float(along[first] - bodies[first, 3] - bodies[number, 3]), float(speed[first])


def _gap(bodies: npt.NDArray[np.float64], number: int, side: float, count: int) -> bool:
    """Gap acceptance: nobody in the new lane would have to brake harder than 1.5 m/s2, nor would the vehicle itself."""
    along, across, speed = _beside(bodies, number, count)
    own = float(np.hypot(*bodies[number, 5:7]))
    near = _in_lane(across, along, side) | _in_lane(across, along, 2.0 * side)
    distance = np.abs(along) - bodies[:count, 3] - bodies[number, 3]
    closing = np.where(along > 0, own - speed, speed - own)
    needed = 3.0 + 0.5 * np.where(along > 0, own, speed) + np.maximum(closing, 0.0) ** 2 / 3.0
    # who two lanes away does not come near in the same four seconds does not count
    beyond = ~_in_lane(across, along, side)
    needed = np.where(beyond, 2.0 + 2.0 * np.abs(closing), needed)
    return not bool((near & (distance < needed)).any())


def _begin(network: Network, vehicle: Vehicle, target: int, body: npt.NDArray[np.float64]) -> None:
    path = network.paths[target]
    point = body[:2]
    nearest = int(np.argmin(np.linalg.norm(path.points - point, axis=1)))
    best = (np.inf, 0.0, 0.0)
    for k in range(max(0, nearest - 1), min(len(path.points) - 1, nearest + 1)):
        a, b = path.points[k], path.points[k + 1]
        length = float(np.linalg.norm(b - a))
        along = (b - a) / length
        share = float(np.clip((point - a) @ along, 0.0, length))
        away = point - a - share * along
        left = float(away @ [-along[1], along[0]])
        distance = float(np.linalg.norm(away))
        if distance < best[0]:
            best = (distance, float(path.s[k]) + share, left)
    vehicle.path, vehicle.s_m = target, best[1]
    vehicle.change_from_m = vehicle.offset_m = best[2]
    vehicle.change_s = 0.0
