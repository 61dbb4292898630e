"""Light to pixels: lens distortion, motion blur, vignetting, exposure, tone curve and sensor noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["bend_point", "develop", "resample", "smear"]

_F = np.float32
_STEEPEST = 1.5  # ratio of depths within half a pixel up to which a plane is followed


@njit("UniTuple(float64, 2)(float64, float64, float64[::1])", cache=True, nogil=True, error_model="numpy")
def bend_point(x, y, lens):  # type: ignore[no-untyped-def]
    """Where a lens moves a normalised image point: Brown-Conrady, continued straight beyond its widest good radius.

    Args:
        x: right, tangent of the angle; ``y`` down.
        y: down.
        lens: k1 k2 p1 p2 k3 and the widest radius.
    """
    r = math.sqrt(x * x + y * y)
    beyond = 1.0
    if r > lens[5]:
        beyond = r / lens[5]
        x, y = x / beyond, y / beyond
    r2 = x * x + y * y
    radial = 1.0 + r2 * (lens[0] + r2 * (lens[1] + r2 * lens[4]))
    bent_x = x * radial + 2 * lens[2] * x * y + lens[3] * (r2 + 2 * x * x)
    bent_y = y * radial + lens[2] * (r2 + 2 * y * y) + 2 * lens[3] * x * y
    return bent_x * beyond, bent_y * beyond


@njit(
    "void(float32[:,:,::1], Tuple((float32[:,:,::1], float32[:,::1], uint8[:,::1], int32[:,::1])), "
    "Tuple((int32[:,::1], float64[:,::1], int32[:,::1], float64[:,::1])), float64[::1], float64[::1], int64, int64, "
    "Tuple((float32[:,:,::1], float32[:,::1], uint8[:,::1], int32[:,::1], float32[:,:,::1])))",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _resample(where, seen, surfaces, lens, cameras, row0, row1, out):  # type: ignore[no-untyped-def]
    light, depth, semantic, instance = seen
    ids, planes, sources, motions = surfaces
    out_light, out_depth, out_semantic, out_instance, out_flow = out
    height, width = depth.shape
    fx, fy, cx, cy, ideal_cx, ideal_cy = cameras[0], cameras[1], cameras[2], cameras[3], cameras[4], cameras[5]
    for y in range(row0, row1):
        for x in range(out_depth.shape[1]):
            u, v = float(where[y, x, 0]), float(where[y, x, 1])
            u0 = min(max(math.floor(u), 0), width - 2)
            v0 = min(max(math.floor(v), 0), height - 2)
            a, b = u - u0, v - v0
            for c in range(3):
                upper = light[v0, u0, c] * (1 - a) + light[v0, u0 + 1, c] * a
                lower = light[v0 + 1, u0, c] * (1 - a) + light[v0 + 1, u0 + 1, c] * a
                out_light[y, x, c] = upper * (1 - b) + lower * b
            near_u, near_v = u0 + (1 if a >= 0.5 else 0), v0 + (1 if b >= 0.5 else 0)
            out_semantic[y, x] = semantic[near_v, near_u]
            out_instance[y, x] = instance[near_v, near_u]
            px, py, z = (u - ideal_cx) / fx, (v - ideal_cy) / fy, 1.0
            index = ids[2 * near_v + 1, 2 * near_u + 1]
            placed = motions.shape[0] - 1
            out_depth[y, x] = math.nan
            if index >= 0:
                # where the ray meets the plane of what the nearest pixel sees
                placed = sources[index, 1]
                inverse = planes[index, 9] * (2 * u + 1) + planes[index, 10] * (2 * v + 1) + planes[index, 11]
                known = 1.0 / depth[near_v, near_u]
                # a surface seen edge-on ends before that
                z = 1.0 / (inverse if _STEEPEST * inverse > known and inverse < _STEEPEST * known else known)
                out_depth[y, x] = z
                px, py = px * z, py * z
            move = motions[placed]
            nx = move[0] * px + move[1] * py + move[2] * z + move[3]
            ny = move[4] * px + move[5] * py + move[6] * z + move[7]
            nz = move[8] * px + move[9] * py + move[10] * z + move[11]
            out_flow[y, x, 0] = math.nan
            out_flow[y, x, 1] = math.nan
            if nz > 1e-3 and nx * nx + ny * ny <= lens[5] * lens[5] * nz * nz:
                bent_x, bent_y = bend_point(nx / nz, ny / nz, lens)
                out_flow[y, x, 0] = fx * bent_x + cx - x
                out_flow[y, x, 1] = fy * bent_y + cy - y


@njit(
    "void(float32[:,:,::1], float32[:,::1], float32[:,:,::1], float64, int64, int64, int64, float32[:,:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _smear(light, depth, flow, share, most, row0, row1, out):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for y in range(row0, row1):
        for x in range(width):
            move_x, move_y = flow[y, x, 0] * share, flow[y, x, 1] * share
            length = math.sqrt(move_x * move_x + move_y * move_y)
            if not length > 0.3:
                for c in range(3):
                    out[y, x, c] = light[y, x, c]
                continue
            count = min(most, int(length) + 2)
            here = depth[y, x]
            red = green = blue = weight = 0.0
            for k in range(count):
                t = (k + 0.5) / count - 0.5
                u = min(max(int(x + move_x * t + 0.5), 0), width - 1)
                v = min(max(int(y + move_y * t + 0.5), 0), height - 1)
                there = depth[v, u]
                if there < 0.9 * here or (math.isnan(here) and not math.isnan(there)):
                    # something nearer that does not itself move over this pixel stays where it is
                    own = math.sqrt(flow[v, u, 0] ** 2 + flow[v, u, 1] ** 2) * share
                    if not own * 0.5 + 0.5 >= abs(t) * length:
                        continue
                red += light[v, u, 0]
                green += light[v, u, 1]
                blue += light[v, u, 2]
                weight += 1.0
            if weight == 0.0:
                red, green, blue, weight = light[y, x, 0], light[y, x, 1], light[y, x, 2], 1.0
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = red / weight, green / weight, blue / weight


@part
def _tone(light, gain, shot, read, noise, steps, curve):  # type: ignore[no-untyped-def]
    """The pixel value of one colour; ``shot`` and ``read`` are squares, and all numbers have 32 bits."""
    value = light * gain
    value += noise * np.sqrt(read + shot * max(value, _F(0.0)))
    # the curve is sampled evenly in the square root of the light
    position = np.sqrt(min(max(value, _F(0.0)), _F(4.0))) * steps
    return np.int32(curve[np.uint32(np.int32(position + _F(0.5)))])


@vector_kernel(
    "void(float32[:,:,::1], float32[:,:,::1], float64[::1], float32[::1], float32[:,:,::1], int64, int64, int64, "
    "int64, uint8[:,:,::1])"
)
def _develop(light, glow, settings, curve, grain, shift_x, shift_y, row0, row1, out):  # type: ignore[no-untyped-def]
    exposure, vignette = _F(settings[0]), _F(settings[1])
    shot, read = _F(settings[2] * settings[2]), _F(settings[3] * settings[3])
    height, width = light.shape[0], light.shape[1]
    wrap = grain.shape[0] - 1
    steps, across = _F(0.5 * (curve.shape[0] - 1)), _F(2.0 / width)
    for y in range(row0, row1):
        dy = _F(2.0 * y - height) / _F(width)
        lines, glows, pixels = light[y].reshape(-1), glow[y].reshape(-1), out[y].reshape(-1)
        grains = grain[(y + shift_y) & wrap].reshape(-1)
        for x in range(width):
            dx = _F(np.int32(x)) * across - _F(1.0)
            gain = exposure * (_F(1.0) - vignette * (dx * dx + dy * dy))
            k, g = 3 * x, np.uint32(3 * ((x + shift_x) & wrap))
            one, two = np.uint64(k + 1), np.uint64(k + 2)
            k = np.uint64(k)
            pixels[k] = _tone(lines[k] + glows[k], gain, shot, read, grains[g], steps, curve)
            pixels[one] = _tone(lines[one] + glows[one], gain, shot, read, grains[np.uint32(g + 1)], steps, curve)
            pixels[two] = _tone(lines[two] + glows[two], gain, shot, read, grains[np.uint32(g + 2)], steps, curve)


def develop(
    light: npt.NDArray[np.float32],
    glow: npt.NDArray[np.float32],
    settings: npt.NDArray[np.float64],
    curve: npt.NDArray[np.float32],
    grain: npt.NDArray[np.float32],
    shift: tuple[int, int],
    band: tuple[int, int],
    out: npt.NDArray[np.uint8],
) -> None:
    """Turns rows ``band[0] <= y < band[1]`` of linear light into 8-bit colours.

    Args:
        light: (H, W, 3) linear light; ``glow`` (H, W, 3) is added to it.
        glow: scattered light of bright spots.
        settings: (4,) exposure, vignetting at the image's side edge, shot noise and read noise.
        curve: (C,) tone curve to 0 ... 255.5, over the square root of light 0 ... 4.
        grain: (S, S, 3) unit noise, tiled with an offset ``shift``; S is a power of two.
        shift: x and y offset, pixels.
        band: rows.
        out: (H, W, 3) written.
    """
    if light.shape != glow.shape or light.shape != out.shape:
        raise ValueError(f"images must agree but got {light.shape}, {glow.shape} and {out.shape}")
    if len(grain) & (len(grain) - 1):
        raise ValueError(f"grain must have a power of two as size but got {len(grain)}")
    _develop(light, glow, settings, curve, grain, shift[0], shift[1], band[0], band[1], out)


def resample(
    where_px: npt.NDArray[np.float32],
    seen: tuple[npt.NDArray[Any], ...],
    surfaces: tuple[npt.NDArray[Any], ...],
    lens: npt.NDArray[np.float64],
    cameras: npt.NDArray[np.float64],
    band: tuple[int, int],
    out: tuple[npt.NDArray[Any], ...],
) -> None:
    """Bends a pinhole's view as a lens does, in rows ``band[0] <= y < band[1]`` of the bent picture.

    Light is interpolated. Classes and ids are those of the nearest pixel, and depth is where the ray meets the plane of
    the triangle that this pixel sees. Flow ends where the lens puts that point in the next frame, NaN beyond the lens's
    widest radius.

    Args:
        where_px: (H, W, 2) where in the pinhole's view each pixel of the picture looks.
        seen: the view: light (h, w, 3) f32, depth (h, w) f32, classes (h, w) u8, ids (h, w) i32.
        surfaces: the view's triangles: rows (2h+1, 2w+1) of the next two, planes and sources from the rasteriser;
            and (I + 1, 12) per placed mesh, and last for the sky, from this camera's points to the next frame's.
        lens: (6,) k1 k2 p1 p2 k3 and the widest radius.
        cameras: (6,) fx, fy, cx, cy of the picture, cx, cy of the view; focal lengths are the same.
        band: rows.
        out: light, depth, classes, ids and flow (H, W, 2) of the picture; written.
    """
    shapes = [part.shape[:2] for part in seen]
    if len(set(shapes)) > 1 or shapes[0][0] < 2 or shapes[0][1] < 2:
        raise ValueError(f"the view's parts must agree and be at least 2x2 but got {shapes}")
    if surfaces[0].shape != (2 * shapes[0][0] + 1, 2 * shapes[0][1] + 1):
        raise ValueError(f"samples must be twice as many as pixels and one but got {surfaces[0].shape}")
    if any(part.shape[:2] != where_px.shape[:2] for part in out):
        raise ValueError(f"out must be {where_px.shape[:2]} but got {[part.shape for part in out]}")
    _resample(where_px, seen, surfaces, lens, cameras, band[0], band[1], out)


def smear(
    light: npt.NDArray[np.float32],
    depth_m: npt.NDArray[np.float32],
    flow_px: npt.NDArray[np.float32],
    share: float,
    band: tuple[int, int],
    out: npt.NDArray[np.float32],
) -> None:
    """Motion blur in rows ``band[0] <= y < band[1]``: each pixel is the mean of the light along its own motion.

    The motion is centred on the frame's moment. Nearer surfaces count only where their own motion brings them over
    the pixel. At most 24 samples, one per pixel of motion.

    Args:
        light: (H, W, 3) linear light.
        depth_m: (H, W), NaN in the sky.
        flow_px: (H, W, 2) to the next frame; NaN leaves a pixel sharp.
        share: exposure time over the time between frames.
        band: rows.
        out: (H, W, 3) written.
    """
    if not light.shape == out.shape == (*depth_m.shape, 3) or flow_px.shape != (*depth_m.shape, 2):
        raise ValueError(f"images must agree but got {light.shape}, {depth_m.shape}, {flow_px.shape} and {out.shape}")
    _smear(light, depth_m, flow_px, share, 24, band[0], band[1], out)
