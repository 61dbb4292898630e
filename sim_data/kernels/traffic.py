"""Moving traffic: poses on lane paths, free distances along them, steps of vehicles and of people on foot.

Everything that has a footprint is a row of ``bodies``: x, y, heading, half length, half width, velocity x and y, kind.
All steps share the geometry of bodies, and numba's cache does not see across files, so they stay in one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import part

__all__ = [
    "BODY_COLUMNS",
    "CHANGE_S",
    "CLAIM",
    "LEAST_CHANGE_MPS",
    "PERSON",
    "STANDING",
    "VEHICLE",
    "drive",
    "free_distances",
    "overlapping",
    "place_vehicles",
    "walk",
]

BODY_COLUMNS = 8
# columns of a vehicle's numbers; the first five are what its pose and its view ahead depend on
S, BASE, OFFSET, SLOPE, SPEED, ACCEL, HALF_LONG, HALF_WIDE, DESIRE, POWER, TOP_SPEED = range(11)
CHANGE_FROM, CHANGE, CALM, TRAVELLED, DRAW = range(11, 16)
FLOATS = 16
BEHIND, PATH, NEXT, AFTER, GRANTED, SHAPE, WHOLES = 0, 2, 3, 4, 5, 6, 7
CHANGE_S, LEAST_CHANGE_MPS = 4.0, 5.0  # how long a change of lanes takes, and who is slower keeps his lane
VEHICLE, PERSON, CLAIM, STANDING = 0.0, 1.0, 2.0, 3.0
_SIDE_M = 0.12  # vehicles keep this clear on either side
_LOOK_STEP_M = 0.8
_HARD_MPS2 = 3.5  # nobody brakes harder for somebody who only waits at the kerb
_MIN_GAP_M, _HEADWAY_S, _BRAKE_MPS2, _HARDEST_MPS2 = 2.0, 1.2, 2.2, 7.5
_BRAKING_MPS3, _PUSHING_MPS3 = 60.0, 30.0
_THINK_S = 0.5

Array = npt.NDArray[np.float64]


@njit("float64(float64, float64, float64, float64, float64, float64, float64, float64, float64, float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _separation(xa, ya, yaw_a, long_a, wide_a, xb, yb, yaw_b, long_b, wide_b):  # type: ignore[no-untyped-def]
    """Largest gap between two rectangles along their four axes; negative where they overlap."""
    dx, dy = xb - xa, yb - ya
    cosine, sine = abs(math.cos(yaw_b - yaw_a)), abs(math.sin(yaw_b - yaw_a))
    along = abs(dx * math.cos(yaw_a) + dy * math.sin(yaw_a)) - long_a - long_b * cosine - wide_b * sine
    across = abs(dy * math.cos(yaw_a) - dx * math.sin(yaw_a)) - wide_a - long_b * sine - wide_b * cosine
    other = abs(dx * math.cos(yaw_b) + dy * math.sin(yaw_b)) - long_b - long_a * cosine - wide_a * sine
    beside = abs(dy * math.cos(yaw_b) - dx * math.sin(yaw_b)) - wide_b - long_a * sine - wide_a * cosine
    return max(max(along, across), max(other, beside))


@part
def _clear_by(dx, dy, cosine, sine, long_a, wide_a, long_b, wide_b):  # type: ignore[no-untyped-def]
    """What ``_separation`` is at least, whichever way the other one looks; saves its trigonometry."""
    reach = math.sqrt(long_b * long_b + wide_b * wide_b)
    return max(abs(dx * cosine + dy * sine) - long_a, abs(dy * cosine - dx * sine) - wide_a) - reach - 1e-9


@njit("UniTuple(float64, 2)(float64[:,::1], int64[::1], float64[::1], int64, float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _on_path(points, starts, lengths, path, s):  # type: ignore[no-untyped-def]
    first, count = starts[path], starts[path + 1] - starts[path]
    if lengths[path] < 1e-6:
        return points[first, 0], points[first, 1]
    position = min(max(s / lengths[path], 0.0), 1.0) * (count - 1)
    k = min(int(position), count - 2)
    share = position - k
    a, b = first + k, first + k + 1
    x = points[a, 0] + share * (points[b, 0] - points[a, 0])
    return x, points[a, 1] + share * (points[b, 1] - points[a, 1])


@njit("UniTuple(float64, 2)(float64[:,::1], int64[::1], float64[::1], int64[::1], float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _on_chain(points, starts, lengths, chain, s):  # type: ignore[no-untyped-def]
    """Point at ``s`` from the start of the third of five paths; a missing one is where a vehicle can only stand."""
    k = 2
    while s < 0.0 and k > 0 and chain[k - 1] >= 0:
        k -= 1
        s += lengths[chain[k]]
    while k < 4 and chain[k + 1] >= 0 and s > lengths[chain[k]]:
        s -= lengths[chain[k]]
        k += 1
    return _on_path(points, starts, lengths, chain[k], s)


@njit("UniTuple(float64, 3)(float64[:,::1], int64[::1], float64[::1], int64[::1], float64, float64, float64, float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _pose(points, starts, lengths, chain, s, base, left, slope):  # type: ignore[no-untyped-def]
    """Both axles on the path, ``left`` of it; ``slope`` is the sideways over the forward speed."""
    front_x, front_y = _on_chain(points, starts, lengths, chain, s + 0.5 * base)
    rear_x, rear_y = _on_chain(points, starts, lengths, chain, s - 0.5 * base)
    yaw = math.atan2(front_y - rear_y, front_x - rear_x)
    x = 0.5 * (front_x + rear_x) - left * math.sin(yaw)
    y = 0.5 * (front_y + rear_y) + left * math.cos(yaw)
    return x, y, yaw + math.atan(slope)


@njit("void(float64[:,::1], int64[::1], float64[::1], int64[:,::1], float64[:,::1], float64[:,::1])",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _place(points, starts, lengths, chains, states, out):  # type: ignore[no-untyped-def]
    for i in range(len(chains)):
        x, y, yaw = _pose(points, starts, lengths, chains[i], states[i, 0], states[i, 1], states[i, 2], states[i, 3])
        out[i, 0], out[i, 1], out[i, 2] = x, y, yaw


@njit("void(float64[:,::1], int64[::1], float64[::1], int64[:,::1], float64[:,::1], float64[:,::1], float64[:,::1])",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _look_ahead(points, starts, lengths, chains, states, bodies, out):  # type: ignore[no-untyped-def]
    near = np.empty(len(bodies), np.int64)
    for i in range(len(chains)):
        speed, long_m, wide_m = states[i, 4], bodies[i, 3], bodies[i, 4] + _SIDE_M
        reach = min(8.0 + 1.9 * speed + speed * speed / 7.0, 110.0)
        out[i, 0], out[i, 1] = 1e3, 0.0
        x, y, yaw = bodies[i, 0], bodies[i, 1], bodies[i, 2]
        cosine, sine = math.cos(yaw), math.sin(yaw)
        found = 0
        for j in range(len(bodies)):
            if j == i:
                continue
            dx, dy = bodies[j, 0] - x, bodies[j, 1] - y
            size = long_m + bodies[j, 3] + bodies[j, 4] + 2.0
            ahead = dx * cosine + dy * sine
            if ahead < -size or dx * dx + dy * dy > (reach + size) ** 2:
                continue
            if _clear_by(dx, dy, cosine, sine, long_m, bodies[i, 4], bodies[j, 3], bodies[j, 4]) < _SIDE_M:
                # what already stands beside or behind is for the other one to mind, and so is a claim one stands on
                apart = _separation(
                    x, y, yaw, long_m, bodies[i, 4], bodies[j, 0], bodies[j, 1], bodies[j, 2], bodies[j, 3],
                    bodies[j, 4],
                )  # fmt: skip
                if apart < 0.0 or (apart < _SIDE_M and ahead < 0.5 * long_m and bodies[j, 7] != PERSON):
                    continue
            near[found] = j
            found += 1
        distance = 0.0
        while distance < reach and found > 0 and out[i, 0] > 999.0:
            s, base, left, slope = states[i, 0] + distance, states[i, 1], states[i, 2], states[i, 3]
            # as in ``_pose``, but for the heading, which matters only where somebody is near
            front_x, front_y = _on_chain(points, starts, lengths, chains[i], s + 0.5 * base)
            rear_x, rear_y = _on_chain(points, starts, lengths, chains[i], s - 0.5 * base)
            px, py = 0.5 * (front_x + rear_x), 0.5 * (front_y + rear_y)
            alone = True
            for k in range(found):
                j = near[k]
                dx, dy = bodies[j, 0] - px, bodies[j, 1] - py
                size = long_m + wide_m + bodies[j, 3] + bodies[j, 4] + abs(left) + 1e-6
                alone &= dx * dx + dy * dy > size * size
            if alone:
                distance += _LOOK_STEP_M
                continue
            px, py, heading = _pose(points, starts, lengths, chains[i], s, base, left, slope)
            cosine, sine = math.cos(heading), math.sin(heading)
            for k in range(found):
                j = near[k]
                dx, dy = bodies[j, 0] - px, bodies[j, 1] - py
                size = long_m + wide_m + bodies[j, 3] + bodies[j, 4]
                if dx * dx + dy * dy > size * size:
                    continue
                if bodies[j, 7] == CLAIM and speed * speed > 2 * _HARD_MPS2 * max(distance - 0.5, 0.01):
                    continue
                if _clear_by(dx, dy, cosine, sine, long_m, wide_m, bodies[j, 3], bodies[j, 4]) >= 0.0:
                    continue
                gap = _separation(
                    px, py, heading, long_m, wide_m, bodies[j, 0], bodies[j, 1], bodies[j, 2], bodies[j, 3],
                    bodies[j, 4],
                )  # fmt: skip
                if gap < 0.0:
                    other = bodies[j, 5] * cosine + bodies[j, 6] * sine
                    free = max(distance + gap, 0.0) if distance > 0.0 else 0.0
                    if free < out[i, 0]:
                        out[i, 0], out[i, 1] = free, max(other, 0.0)
            distance += _LOOK_STEP_M


@njit("boolean(float64[:,::1], int64, float64, float64, float64, float64, int64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _meets(bodies, i, x, y, yaw, margin, last):  # type: ignore[no-untyped-def]
    long_m, wide_m = bodies[i, 3], bodies[i, 4]
    cosine, sine = math.cos(yaw), math.sin(yaw)
    for j in range(last):
        dx, dy = bodies[j, 0] - x, bodies[j, 1] - y
        reach = long_m + wide_m + bodies[j, 3] + bodies[j, 4] + margin
        if abs(dx) > reach or abs(dy) > reach or j == i or bodies[j, 7] == CLAIM:
            continue
        if _clear_by(dx, dy, cosine, sine, long_m, wide_m, bodies[j, 3], bodies[j, 4]) >= margin:
            continue
        if (
            _separation(x, y, yaw, long_m, wide_m, bodies[j, 0], bodies[j, 1], bodies[j, 2], bodies[j, 3], bodies[j, 4])
            < margin
        ):
            return True
    return False


@njit("float64(float64[::1], int64[::1], float64[::1], float64[:,::1], float64, float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _acceleration(me, way, lengths, limits, gap, lead_speed):  # type: ignore[no-untyped-def]
    """What the intelligent driver model wishes, given the free distance and the speed at its end."""
    path, following = way[PATH], way[NEXT]
    limit = min(limits[path, 0] * me[DESIRE], me[TOP_SPEED])
    to_end = lengths[path] - me[S]
    # brake in time for the slower path ahead
    slower = limits[following, 0] * me[DESIRE] if following >= 0 else 0.0
    limit = min(limit, math.sqrt(slower * slower + 2 * 1.3 * max(to_end - 1.0, 0.0)))
    gap = max(gap, 0.05)
    line = limits[path, 1]
    if line >= 0.0 and following >= 0 and way[GRANTED] != following and to_end <= 60.0:
        stop = max(to_end - me[HALF_LONG] - line, 0.0)
        if stop < gap:
            # a line is a place to stop at, not a body to stay away from
            gap, lead_speed = stop + _MIN_GAP_M - 0.4, 0.0
    speed, power = me[SPEED], me[POWER]
    share = speed / max(limit, 0.3)
    free = 1.0 - share * share * share * share
    wished = _MIN_GAP_M + max(
        0.0, speed * _HEADWAY_S + speed * (speed - lead_speed) / (2 * math.sqrt(power * _BRAKE_MPS2))
    )
    interaction = (wished / max(gap, 0.2)) ** 2
    least = -_HARDEST_MPS2 if interaction > 1.0 else -2.5  # nobody brakes hard for a bend
    return min(max(power * (free - interaction), least), power)


@njit("void(float64[::1], float64)", cache=True, nogil=True, error_model="numpy")
def _shift(me, dt):  # type: ignore[no-untyped-def]
    """Moves a vehicle that changes lanes further to its new lane, along a quintic in time."""
    if me[CHANGE] < 0:
        return
    # who has nearly stopped does not slide sideways
    me[CHANGE] += dt * min(1.0, me[SPEED] / LEAST_CHANGE_MPS)
    t = min(me[CHANGE] / CHANGE_S, 1.0)
    me[OFFSET] = me[CHANGE_FROM] * (1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t * t))
    rate = -me[CHANGE_FROM] * 30.0 * t * t * (1.0 - t) ** 2 / CHANGE_S
    me[SLOPE] = rate / max(me[SPEED], LEAST_CHANGE_MPS)
    if t >= 1.0:
        me[CHANGE], me[OFFSET], me[SLOPE] = -1.0, 0.0, 0.0


@njit("void(float64[::1], int64[::1], float64[::1], int64[:,::1], int64[::1])",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _go_on(me, way, lengths, links, onward):  # type: ignore[no-untyped-def]
    """Takes the next path at the end of one, and chooses what follows it."""
    while me[S] > lengths[way[PATH]]:
        if way[NEXT] < 0:
            me[S] = lengths[way[PATH]]
            return
        me[S] -= lengths[way[PATH]]
        way[BEHIND], way[BEHIND + 1], way[PATH] = way[BEHIND + 1], way[PATH], way[NEXT]
        first, count = links[way[PATH], 2], links[way[PATH], 3]
        way[NEXT] = -1
        if count > 0:
            place = (me[DRAW] if me[DRAW] >= 0.0 else me[DRAW] + 2.0) * count
            way[NEXT] = onward[first + min(int(place), count - 1)]
            if count > 1:
                me[DRAW] = place - math.floor(place) - 2.0  # negative: used
        way[AFTER] = links[way[NEXT], 1] if way[NEXT] >= 0 else -1


@njit("void(float64[:,::1], int64[::1], float64[::1], float64[:,::1], int64[:,::1], int64[::1], float64[:,::1], "
      "int64[:,::1], float64[:,::1], float64[:,::1], float64, boolean[::1])",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _drive(points, starts, lengths, limits, links, onward, vehicles, ways, gaps, bodies, dt, thinking):  # type: ignore[no-untyped-def]
    before, before_way = np.empty(FLOATS), np.empty(WHOLES, np.int64)
    wished = np.empty(len(vehicles))
    for i in range(len(vehicles)):
        wished[i] = _acceleration(vehicles[i], ways[i], lengths, limits, gaps[i, 0], gaps[i, 1])
    for i in range(len(vehicles)):
        me, way, body = vehicles[i], ways[i], bodies[i]
        before[:], before_way[:] = me, way
        # brakes and engines take a moment
        change = min(max(wished[i] - me[ACCEL], -_BRAKING_MPS3 * dt), _PUSHING_MPS3 * dt)
        speed = max(0.0, me[SPEED] + max(me[ACCEL] + change, -_HARDEST_MPS2) * dt)
        step = 0.5 * (speed + me[SPEED]) * dt
        me[S] += step
        _shift(me, dt)
        _go_on(me, way, lengths, links, onward)
        if links[way[PATH], 0] < 0 and me[S] > me[HALF_LONG] + 0.5:
            # its rear has left the junction
            if way[GRANTED] >= 0 and way[GRANTED] == way[BEHIND + 1]:
                way[GRANTED] = -1
        x, y, yaw = _pose(points, starts, lengths, way, me[S], me[BASE], me[OFFSET], me[SLOPE])
        moved = math.sqrt((x - body[0]) ** 2 + (y - body[1]) ** 2)
        thinking[i] = False
        if moved > 1e-9 and _meets(bodies, i, x, y, yaw, 0.02, len(bodies)):
            # the model has failed to keep clear: stand still rather than touch
            me[:], way[:] = before, before_way
            me[SPEED] = me[ACCEL] = body[5] = body[6] = 0.0
            continue
        body[0], body[1], body[2] = x, y, yaw
        me[ACCEL] = (speed - me[SPEED]) / dt
        me[SPEED] = speed
        me[TRAVELLED] += step
        body[5], body[6] = speed * math.cos(yaw), speed * math.sin(yaw)
        me[CALM] -= dt
        if me[CALM] <= 0.0:
            me[CALM] = _THINK_S
            thinking[i] = way[SHAPE] != -1 and links[way[PATH], 4] > 0


def drive(
    paths: tuple[Array, npt.NDArray[np.int64], Array],
    roads: tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.int64]],
    vehicles: Array, ways: npt.NDArray[np.int64], gaps: Array, bodies: Array, dt_s: float,
) -> npt.NDArray[np.int64]:  # fmt: skip
    """Moves vehicles by one step, one after the other; nobody moves where he would touch somebody.

    Args:
        paths: as for ``place_vehicles``.
        roads: per path (P, 2) speed limit m/s and how far before its end a stop line lies, m, -1 for none; (P, 5)
            junction it crosses or -1, first path that follows it, where those one may choose begin in the third part
            and how many they are, whether there is a lane beside it; their numbers.
        vehicles: (V, ``FLOATS``) numbers by column: arc length, wheel base, offset and its slope, speed, acceleration,
            half length and width, desire, power, top speed, offset when a change of lanes began and seconds since then
            or -1, seconds until it thinks of one, its way, a number from 0 to 1 for its next choice. Written: a choice
            that was used is negative.
        ways: (V, ``WHOLES``) the two paths behind, the present one, the next one, the one after that, the turn that is
            granted, shape. Written.
        gaps: (V, 2) from ``free_distances``.
        bodies: (B, 8), the vehicles first. Written.
        dt_s: of the step.

    Returns:
        Rows of those that think of changing lanes now.
    """
    if vehicles.shape[1:] != (FLOATS,) or ways.shape != (len(vehicles), WHOLES) or len(gaps) != len(vehicles):
        raise ValueError(
            f"vehicles must be (V, {FLOATS}) and ways (V, {WHOLES}) but got {vehicles.shape}, {ways.shape}"
        )
    thinking = np.empty(len(vehicles), np.bool_)
    _drive(*paths, *roads, vehicles, ways, gaps, bodies, dt_s, thinking)
    return np.flatnonzero(thinking)


def place_vehicles(
    paths: tuple[Array, npt.NDArray[np.int64], Array], chains: npt.NDArray[np.int64], states: Array
) -> Array:
    """(V, 3) x, y and heading of vehicles whose axles are on their paths.

    Args:
        paths: points (N, 2) m of all lane paths, first row of each (P + 1,), lengths (P,) m.
        chains: (V, 5 or more) numbers of the two paths behind, the present one and the two after it, -1 for none.
        states: (V, 5 or more) arc length m, wheel base m, offset to the left m, its slope, speed m/s.
    """
    out = np.empty((len(chains), 3))
    _place(*paths, chains, states, out)
    return out


def free_distances(
    paths: tuple[Array, npt.NDArray[np.int64], Array], chains: npt.NDArray[np.int64], states: Array, bodies: Array
) -> Array:
    """(V, 2) how far each vehicle can go along its paths before it would touch somebody, m, and how fast that one goes.

    Args:
        paths: as for ``place_vehicles``.
        chains: likewise.
        states: likewise.
        bodies: (B, 8), the vehicles first and in the same order.
    """
    if bodies.ndim != 2 or bodies.shape[1] != BODY_COLUMNS or len(bodies) < len(chains):
        raise ValueError(f"bodies must be (B, {BODY_COLUMNS}) with B >= {len(chains)} but got shape {bodies.shape}")
    out = np.empty((len(chains), 2))
    _look_ahead(*paths, chains, states, bodies, out)
    return out


def overlapping(bodies: Array, row: int, pose: tuple[float, float, float], margin_m: float = 0.0) -> bool:
    """Whether a body would come closer than a margin to another one if it were at a pose (x, y, heading)."""
    return bool(_meets(bodies, row, *pose, margin_m, len(bodies)))


@njit("UniTuple(float64, 3)(float64[:,::1], float64[::1], int64[::1], float64[::1], int64, float64, float64)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _beside_road(points, headings, starts, lengths, road, s, left):  # type: ignore[no-untyped-def]
    """Point at an arc length and an offset to the left of a road's centreline, and the road's heading there."""
    first, count = starts[road], starts[road + 1] - starts[road]
    position = min(max(s / lengths[road], 0.0), 1.0) * (count - 1)
    k = min(int(position), count - 2)
    share = position - k
    a, b = first + k, first + k + 1
    heading = headings[a] + share * (headings[b] - headings[a])
    x = points[a, 0] + share * (points[b, 0] - points[a, 0]) - left * math.sin(heading)
    y = points[a, 1] + share * (points[b, 1] - points[a, 1]) + left * math.cos(heading)
    return x, y, heading


@njit("boolean(float64[:,::1], int64, float64, float64, float64, float64, float64, boolean)",
      cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _may_cross(bodies, vehicles, x, y, heading, half_road, time_s, painted):  # type: ignore[no-untyped-def]
    for j in range(vehicles):
        dx, dy = bodies[j, 0] - x, bodies[j, 1] - y
        along = dx * math.cos(heading) + dy * math.sin(heading)
        across = dy * math.cos(heading) - dx * math.sin(heading)
        if abs(across) > half_road + 1.0 or abs(along) > 90.0:
            continue
        free = abs(along) - bodies[j, 3] - 0.9
        if free < 0.3:
            return False
        speed = bodies[j, 5] * math.cos(heading) + bodies[j, 6] * math.sin(heading)
        if along * speed >= 0.0:
            continue
        speed = abs(speed)
        # at a crossing one may rely on those who can still stop with ease
        if painted and free > speed * speed / 4.0 + 0.3:
            continue
        if free < speed * (time_s + 2.0):
            return False
    return True


@njit("void(float64[:,::1], float64[::1], int64[::1], float64[::1], float64[:,::1], float64[:,::1], float64[:,::1], "
      "int64, int64, boolean[::1], float64)", cache=True, nogil=True, error_model="numpy")  # fmt: skip
def _walk(points, headings, starts, lengths, roads, walkers, bodies, vehicles, row0, allowed, dt):  # type: ignore[no-untyped-def]
    alongs = walkers[:, 2].copy()  # the column by itself: whoever is far along the road is passed over quickly
    for i in range(len(walkers)):
        me, row = walkers[i], row0 + i
        road, side = int(me[0]), me[1]
        s, left, yaw, phase = me[2], me[3], me[5], me[7]
        kerb, low, high = roads[road, 0], roads[road, 0] + roads[road, 1], roads[road, 0] + roads[road, 2]
        me[8] += dt
        me[11] -= dt
        _, _, heading = _beside_road(points, headings, starts, lengths, road, s, left)
        if phase == 0.0:
            goal = side * min(max(kerb + me[9], low), high)
            pace = me[6]
            for j in range(len(walkers)):
                if abs(alongs[j] - s) >= 3.0:
                    continue
                other = walkers[j]
                if j == i or other[0] != me[0] or other[7] == 2.0 or abs(other[3] - left) > 0.8:
                    continue
                ahead = (other[2] - s) * me[4]
                if 0.0 < ahead < 3.0 and (other[4] != me[4] or other[6] < me[6]):
                    # everybody keeps to the right of who comes or stands in the way, and to the left to overtake
                    away = 0.8 if (other[4] == me[4]) == (me[4] > 0) else -0.8
                    goal = other[3] + away
                    if not low <= goal * side <= high:
                        goal = other[3] - away
            goal = side * min(max(goal * side, low), high)
            wanted = heading if me[4] > 0 else heading + math.pi
        else:
            goal = side * (kerb + 0.5) if phase == 1.0 else -side * min(max(kerb + me[9], low), high)
            pace = 0.0
            wanted = heading - side * 0.5 * math.pi
        turn = math.atan2(math.sin(wanted - yaw), math.cos(wanted - yaw))
        new_yaw = yaw + min(max(turn, -3.5 * dt), 3.5 * dt)
        facing = abs(turn) < 0.5
        new_s, new_left = s, left
        if phase == 0.0:
            if facing:
                new_s = s + me[4] * pace * dt
                new_left = left + min(max(goal - left, -0.35 * dt), 0.35 * dt)
        elif facing:
            stride = me[14] * dt if phase == 2.0 else 0.7 * dt
            new_left = left + min(max(goal - left, -stride), stride)
        x, y, _ = _beside_road(points, headings, starts, lengths, road, new_s, new_left)
        if _meets(bodies, row, x, y, new_yaw, 0.04, len(bodies)):
            # sideways alone, turning alone, or not at all
            new_s = s
            x, y, _ = _beside_road(points, headings, starts, lengths, road, new_s, new_left)
            if _meets(bodies, row, x, y, new_yaw, 0.04, len(bodies)):
                new_left = left
                x, y, _ = _beside_road(points, headings, starts, lengths, road, s, left)
                if _meets(bodies, row, x, y, new_yaw, 0.04, len(bodies)):
                    new_yaw = yaw
            me[13] += dt
            if me[13] > 1.5 and phase == 0.0:
                me[4], me[13] = -me[4], 0.0
        elif new_s != s or new_left != left:
            me[13] = 0.0
        if phase == 0.0:
            passed = (s - me[10]) * (new_s - me[10]) <= 0.0 and new_s != s
            if passed and me[11] <= 0.0:
                me[7], me[8] = 1.0, 0.0
            if (new_s < 1.5 and me[4] < 0) or (new_s > lengths[road] - 1.5 and me[4] > 0):
                me[4] = -me[4]
        elif phase == 1.0:
            ready = facing and abs(new_left - side * (kerb + 0.5)) < 0.05 and me[8] > 0.6
            if ready and allowed[i]:
                cx, cy, _ = _beside_road(points, headings, starts, lengths, road, new_s, 0.0)
                if _may_cross(bodies, vehicles, cx, cy, heading, kerb, 2.0 * kerb / me[14], me[12] > 0.0):
                    me[7], me[8] = 2.0, 0.0
            if me[8] > 25.0:
                me[7], me[11] = 0.0, 15.0
        elif abs(new_left + side * min(max(kerb + me[9], low), high)) < 0.02:
            me[7], me[1], me[11] = 0.0, -side, 12.0
        bodies[row, 5], bodies[row, 6] = (x - bodies[row, 0]) / dt, (y - bodies[row, 1]) / dt
        me[15] += math.sqrt((x - bodies[row, 0]) ** 2 + (y - bodies[row, 1]) ** 2)
        bodies[row, 0], bodies[row, 1], bodies[row, 2] = x, y, new_yaw
        me[2], me[3], me[5] = new_s, new_left, new_yaw
        alongs[i] = new_s


def walk(
    lines: tuple[Array, Array, npt.NDArray[np.int64], Array], roads: Array, walkers: Array, bodies: Array,
    vehicles: int, row0: int, allowed: npt.NDArray[np.bool_], dt_s: float,
) -> None:  # fmt: skip
    """Moves people on foot by one step; nobody moves where they would touch somebody.

    Args:
        lines: points (N, 2) and headings (N,) of all road centrelines, first row of each, lengths.
        roads: (R, 3) distance from the centreline to the kerb, and from the kerb to where people walk, least and most.
        walkers: (W, 16) road, side (1 left), arc length, offset to the left, direction (1 or -1), heading, pace m/s,
            phase (0 walks, 1 waits to cross, 2 crosses), seconds in it, place on the pavement from the kerb m, arc
            length where to cross, seconds until it may cross again, whether the crossing is painted, seconds blocked,
            pace when crossing m/s, way m. Written.
        bodies: (B, 8); the rows of walkers are written.
        vehicles: the first rows, which are vehicles.
        row0: row of the first walker.
        allowed: (W,) False where a light forbids to cross.
        dt_s: of the step.
    """
    _walk(*lines, roads, walkers, bodies, vehicles, row0, allowed, dt_s)
