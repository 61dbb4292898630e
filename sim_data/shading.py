"""Shading of what is visible: fragments of a few rows at a time, sorted by kind, go through one kernel after another.

A tile's arrays stay in the processor's cache, and its size depends on the picture alone: neither the threads nor what
they are given change a bit of the result.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sim_data.kernels.car import car
from sim_data.kernels.details import cloth, foliage, foliage_points, lamp, sign, wheel
from sim_data.kernels.facade import facade
from sim_data.kernels.fragments import collect, resolve
from sim_data.kernels.ground import grass, line_cells, road, tinted
from sim_data.kernels.light import MIRROR_SIZE, add_lamp, daylight, finish, finish_glossy
from sim_data.kernels.sky import sky, sky_points
from sim_data.kernels.surface import LOOKS, interpolate, localise, place_triangles
from sim_data.kernels.texture import look_up
from sim_data.kernels.truth import mark, see_centres
from sim_data.light import CLOUDS, NIGHT, SKY_RGB, SUN_RGB, WET
from sim_data.materials import BOTH_SIDES, RANKS, ROUND, TEXTURES, TINTED, rank_of
from sim_data.mesh import MeshLibrary

__all__ = ["Placed", "Shading", "View", "tiles"]

Array = npt.NDArray[np.float64]
Column = npt.NDArray[np.float32]
_TILE_PIXELS = 32_768
_LANE_MARKING_ID = 19
_SKY_THROUGH_M = 300.0  # of fog
_WET_BLUR = 9.0  # texels of the mirrored surroundings


@dataclass(slots=True, eq=False)
class View:
    """What falls through an ideal pinhole, before a lens bends it and a sensor measures it.

    Attributes:
        light: (H, W, 3) f32 linear light.
        depth_m: (H, W) f32 along the camera's axis, NaN in the sky.
        semantic: (H, W) u8 into ``SEMANTIC_CLASSES``.
        instance: (H, W) i32, 0 for stuff.
        flow_px: (H, W, 2) f32 to the next frame, NaN where the point goes behind the camera.
        surfaces: samples' triangles, their planes and sources, motions of placed meshes, as ``resample`` takes them;
            valid until the renderer's next view.
        whole: pixels that each object would have with nothing before it, by id, for all that may be seen.
    """

    light: npt.NDArray[np.float32]
    depth_m: npt.NDArray[np.float32]
    semantic: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    flow_px: npt.NDArray[np.float32]
    surfaces: tuple[npt.NDArray[Any], ...] = ()
    whole: dict[int, int] = field(default_factory=dict)

    @classmethod
    def empty(cls, height: int, width: int) -> View:
        """Arrays to be filled."""
        return cls(
            np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32),
            np.empty((height, width), np.uint8), np.empty((height, width), np.int32),
            np.empty((height, width, 2), np.float32),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """One camera at one moment: what is shaded, and in what light.

    Attributes:
        camera: (4,) fx, fy, cx, cy, px.
        camera_world: (3, 4) camera points to the world.
        ids: (2H+1, 2W+1) rows of ``planes`` or -1; ``planes`` and ``sources`` from the rasteriser.
        inverses: (I, 3, 3) camera directions to each placed mesh's own frame; ``view_t`` (I, 3) its place, m.
        rotations: (I, 3, 3) from its frame to the world; ``looks`` (I, 8) its colours, seed, lamps.
        motions: (I + 1, 12), last for the sky: (3 x 4) camera points to the next frame's camera.
        classes: (I + 1,) u8; ``instances`` (I + 1,) i32.
        shadows: near, moving and far maps, and the (6, 4) view of them.
        contact: darkening beside vehicles and its view.
        lamps: (K, 10) as ``add_lamp`` takes them.
    """

    camera: Array
    camera_world: Array
    ids: npt.NDArray[np.int32]
    planes: Array
    sources: npt.NDArray[np.int32]
    inverses: Array
    view_t: Array
    rotations: Array
    looks: Array
    motions: Array
    classes: npt.NDArray[np.uint8]
    instances: npt.NDArray[np.int32]
    shadows: tuple[Column, Column, Column, Array]
    contact: tuple[Column, Array]
    lamps: Array


def tiles(height: int, width: int) -> list[tuple[int, int]]:
    """First row and one past the last of each tile."""
    count = max(1, round(height * width / _TILE_PIXELS))
    edges = np.linspace(0, height, min(count, height) + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if b > a]


class _Scratch:
    """One thread's arrays of fragments (N) and of the triangles they lie on (M)."""

    def __init__(self, room: int, planes: int) -> None:
        def column() -> Column:
            return np.zeros(room, np.float32)

        self.room = room
        self.slots = np.full(planes, -1, np.int32)
        self.raw = np.empty((4, room), np.int32), np.empty((3, room), np.float32)
        self.triangles = np.empty(room, np.int32)
        self.starts = np.zeros(len(RANKS) + 3, np.int64)
        self.numbers, self.places = np.empty((2, room), np.int32), np.empty((3, room), np.float32)
        self.slot, self.pixel = self.numbers
        self.columns, self.rows, _ = self.places
        self.near, self.uv = np.empty((room, 3)), np.empty((room, 8), np.float32)
        self.normals, self.local = np.empty((room, 12), np.float32), np.empty((room, 12), np.float32)
        self.looks = np.empty((room, LOOKS), np.float32)
        self.depth, self.u, self.v, self.fu, self.fv, self.footprint = (column() for _ in range(6))
        self.normal, self.position = (column(), column(), column()), (column(), column(), column())
        self.own = column(), column(), column()  # places in the objects' own frames
        self.noise = column(), column(), column(), column()
        self.albedo = column(), column(), column()
        self.gloss, self.mirror, self.painted = column(), column(), column()
        self.glow = column(), column(), column()
        self.lit, self.falling = column(), (column(), column(), column())
        self.colours = np.empty((3, room), np.float32)
        self.out = self.colours[0], self.colours[1], self.colours[2]

    def span(self, first: str, last: str | None = None) -> tuple[int, int]:
        """Fragments of one kind, or of all kinds from one to another."""
        return int(self.starts[rank_of(first)]), int(self.starts[rank_of(last or first) + 1])


class Shading:
    """Materials and light of one world; fills views."""

    def __init__(
        self, library: MeshLibrary, paints: Array, cars: Array, light: Array, texels: npt.NDArray[np.int32]
    ) -> None:
        self.meshes = library.attributes, library.materials, library.pars, BOTH_SIDES
        self.kinds = library.materials, RANKS, ROUND
        self.paints, self.cells = paints, line_cells(paints)
        self.cars, self.light, self.texels = cars, light, texels
        self.layers = {name: k for k, name in enumerate(TEXTURES)}
        self.wet = float(light[WET])
        # surfaces mirror the sky only when wet, or if they are polished
        self.matt_until = "cloth" if self.wet > 0 else "slabs"
        self.glossy_from = "road" if self.wet > 0 else "facade"
        self.mirrored = self._surroundings()
        # water on rough ground is no flat mirror
        images = self.mirrored.reshape(3, MIRROR_SIZE, MIRROR_SIZE)
        self.blurred = np.stack([cv2.GaussianBlur(image, (0, 0), _WET_BLUR).ravel() for image in images])
        self._local = threading.local()

    def _scratch(self, width: int, planes: int) -> _Scratch:
        room = 2 * _TILE_PIXELS + 9 * width
        scratch: _Scratch | None = getattr(self._local, "scratch", None)
        if scratch is None or scratch.room < room or len(scratch.slots) < planes:
            scratch = _Scratch(room, planes)
            self._local.scratch = scratch
        return scratch

    def fill(self, placed: Placed, tile: tuple[int, int], out: View) -> None:
        """Fills rows ``tile[0] <= y < tile[1]``: colours and truth."""
        see_centres(
            tile, placed.camera, (placed.ids, placed.planes, placed.sources), placed.motions, placed.classes,
            placed.instances, (out.depth_m, out.semantic, out.instance, out.flow_px),
        )  # fmt: skip
        scratch = self._scratch(out.light.shape[1], len(placed.planes))
        row = tile[0]
        while row < tile[1]:
            following = collect(
                (row, tile[1]), placed.ids, placed.sources, placed.planes, self.kinds, (scratch.slots, *scratch.raw),
                scratch.triangles, (scratch.numbers, scratch.places), scratch.starts,
            )  # fmt: skip
            place_triangles(
                int(scratch.starts[-1]), scratch.triangles, placed.sources, placed.planes, self.meshes,
                (placed.inverses, placed.view_t, placed.rotations, placed.looks),
                (scratch.near, scratch.uv, scratch.normals, scratch.local, scratch.looks),
            )  # fmt: skip
            self._shade(placed, scratch)
            for kind in ("road", "paint"):
                mark(scratch.span(kind), row, _LANE_MARKING_ID, scratch.pixel, scratch.painted, out.semantic)
            resolve(
                (row, following), int(scratch.starts[-2]), scratch.numbers, scratch.places, scratch.colours, out.light
            )
            row = following

    def _shade(self, placed: Placed, scratch: _Scratch) -> None:
        """Colours of all fragments."""
        s = scratch
        self._sky(placed, s, (0, int(s.starts[1])))
        solid = int(s.starts[1]), int(s.starts[-2])
        if solid[0] == solid[1]:
            return
        interpolate(
            solid, placed.camera, placed.camera_world, s.slot, s.columns, s.rows, (s.near, s.uv, s.normals, s.looks),
            (s.depth, s.u, s.v, s.fu, s.fv, s.footprint, *s.normal, *s.position),
        )  # fmt: skip
        glossy = s.span(self.glossy_from, "lamp")
        for column in (s.gloss, s.mirror, *s.glow):
            column[glossy[0] : glossy[1]] = 0.0
        self._plants(placed, s)
        self._tints(s)
        self._road(s)
        self._built(placed, s)
        self._people(placed, s)
        self._light(placed, s)

    def _texture(
        self, name: str, s: _Scratch, span: tuple[int, int], number: int, scale: tuple[float, float, float],
        places: tuple[Column, Column] | None = None, shift: float = 0.0, least: float = 0.0,
    ) -> None:  # fmt: skip
        u, v = places or (s.u, s.v)
        look_up(self.texels, self.layers[name], u, v, s.footprint, scale, span, s.noise[number], shift, least)

    def _sky(self, placed: Placed, s: _Scratch, span: tuple[int, int]) -> None:
        if span[0] == span[1]:
            return
        sky_points(
            span, placed.camera, placed.camera_world, self.light, s.columns, s.rows,
            (*s.normal, s.u, s.v, s.footprint),
        )  # fmt: skip
        self._clouds(s, span)
        sky(span, self.light, _SKY_THROUGH_M, s.normal, (s.noise[0], s.noise[1]), s.out)

    def _clouds(self, s: _Scratch, span: tuple[int, int]) -> None:
        if self.light[CLOUDS] > 0:
            self._texture("clouds", s, span, 0, (1.0, 1.0, 1.0))
            self._texture("stains", s, span, 1, (3.1, 3.1, 3.0), shift=0.3)

    def _plants(self, placed: Placed, s: _Scratch) -> None:
        span = s.span("leaves")
        if span[0] < span[1]:
            self._texture("leaves", s, span, 0, (1.0, 1.0, 1.0))
            localise(span, placed.camera, s.slot, s.columns, s.rows, s.depth, s.local, s.own)
            # gloss and mirror of leaves are free for coordinates
            foliage_points(span, s.slot, s.looks, s.own, (s.gloss, s.mirror))
            self._texture("stains", s, span, 1, (1.0, 1.0, 0.0), (s.gloss, s.mirror), least=0.002)
            foliage(span, s.slot, s.looks, (s.noise[0], s.noise[1]), s.albedo)
        for kind in ("grass", "soil"):
            span = s.span(kind)
            if span[0] < span[1]:
                ground = s.position[0], s.position[1]
                self._texture("grass", s, span, 0, (0.5, 0.5, 0.5), ground)
                self._texture("stains", s, span, 1, (0.035, 0.035, 0.035), ground)
                self._texture("stains", s, span, 2, (0.11, 0.11, 0.11), ground, shift=0.4)
                grass(span, kind == "soil", (s.noise[0], s.noise[1], s.noise[2]), s.albedo)

    def _tints(self, s: _Scratch) -> None:
        for kind, tint in TINTED.items():
            span = s.span(kind)
            if span[0] == span[1]:
                continue
            tones = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, tint.joint, 0.0, 0.0, 0.0])
            for k, layer in enumerate(tint.layers):
                tones[2 * k], tones[2 * k + 1] = layer.constant, layer.gain
                places = (s.position[0], s.position[1]) if layer.on_ground else None
                self._texture(layer.texture, s, span, k, (layer.repeats,) * 3, places)
            if kind == "slabs":
                tones[:2] *= 1.0 - 0.4 * self.wet
                s.gloss[span[0] : span[1]] = 0.25 * self.wet
            elif kind == "paint":
                s.painted[span[0] : span[1]] = 1.0
            elif kind in ("plain", "fence"):
                s.gloss[span[0] : span[1]] = s.looks[s.slot[span[0] : span[1]], 0]
            colour = 2
            if isinstance(tint.colour, int):
                colour += 3 * tint.colour
            else:
                tones[7:] = tint.colour
            textures = s.noise[0], s.noise[1], s.noise[2]
            tinted(span, s.slot, s.looks, colour, tones, (s.v, s.fv), textures, s.albedo)

    def _road(self, s: _Scratch) -> None:
        span = s.span("road")
        if span[0] < span[1]:
            self._texture("grain", s, span, 0, (0.55, 0.55, 0.55))
            self._texture("stains", s, span, 1, (0.045, 0.045, 0.045))
            self._texture("stains", s, span, 2, (0.4, 0.11, 0.4))
            self._texture("stains", s, span, 3, (0.021, 0.017, 0.02), shift=0.2)
            road(
                span, s.slot, s.looks, self.paints, self.cells, self.wet, (s.u, s.v, s.fu, s.fv, s.footprint), s.noise,
                (*s.albedo, s.gloss, s.painted),
            )  # fmt: skip

    def _built(self, placed: Placed, s: _Scratch) -> None:
        """Houses, vehicles, signs, panes, lamps."""
        span = s.span("facade")
        if span[0] < span[1]:
            self._texture("brick", s, span, 0, (1.35, 2.5, 1.9))
            self._texture("plaster", s, span, 1, (0.8, 0.9, 0.9))
            self._texture("stains", s, span, 2, (0.21, 0.07, 0.2))
            self._texture("stains", s, span, 3, (0.9, 0.6, 1.0))
            facade(
                span, s.slot, s.looks, float(self.light[NIGHT]), (s.u, s.v, s.fu, s.fv), s.noise,
                (*s.albedo, s.gloss, *s.glow),
            )  # fmt: skip
        pixel = 1.0 / float(placed.camera[0])
        span = s.span("car")
        if span[0] < span[1]:
            localise(span, placed.camera, s.slot, s.columns, s.rows, s.depth, s.local, s.own)
            car(
                span, s.slot, s.looks, self.cars, pixel, s.depth, s.own, (*s.albedo, s.gloss, s.mirror, *s.glow)
            )  # fmt: skip
        wheel(s.span("wheel"), s.slot, s.looks, pixel, (s.depth, s.u, s.v), (*s.albedo, s.gloss))
        sign(s.span("sign"), s.slot, s.looks, (s.u, s.v, s.fu), (*s.albedo, s.gloss))
        first, last = s.span("glass")
        for column, value in zip((*s.albedo, s.gloss, s.mirror), (0.02, 0.022, 0.024, 0.8, 1.0), strict=True):
            column[first:last] = value
        lamp(s.span("lamp"), s.slot, s.looks, (*s.albedo, *s.glow))

    def _people(self, placed: Placed, s: _Scratch) -> None:
        span = s.span("cloth")
        if span[0] < span[1]:
            localise(span, placed.camera, s.slot, s.columns, s.rows, s.depth, s.local, s.own)
            part = slice(*span)
            across, height = s.own[1], s.own[2]
            across[part] = 0.6 * across[part] + 0.5 * height[part]
            self._texture("stains", s, span, 0, (0.7, 1.0, 0.0), (s.own[0], across), least=0.004)
            cloth(span, s.slot, s.looks, s.noise[0], s.albedo)

    def _light(self, placed: Placed, s: _Scratch) -> None:
        leaves, others = s.span("leaves"), s.span("hedge", "lamp")
        for span, leafy in ((leaves, True), (others, False)):
            if span[0] == span[1]:
                continue
            daylight(
                span, leafy, self.light, placed.shadows, placed.contact, s.slot, s.looks,
                (s.depth, *s.normal, *s.position), (s.lit, *s.falling),
            )  # fmt: skip
            for one in placed.lamps:
                add_lamp(span, leafy, one, (*s.normal, *s.position), s.falling)
        matt = s.span("leaves", self.matt_until)
        finish(matt, self.light, placed.camera_world, s.position, s.falling, s.albedo, s.out)
        polished = s.span("car")
        glass = s.span("glass")
        first, last = s.span(self.glossy_from, "lamp")
        built = int(s.starts[rank_of("facade")])
        for span, sharp, mirrored in (
            ((first, built), False, self.blurred), ((built, polished[0]), False, self.mirrored),
            (polished, True, self.mirrored), ((polished[1], glass[0]), False, self.mirrored),
            (glass, True, self.mirrored), ((glass[1], last), False, self.mirrored),
        ):  # fmt: skip
            if span[0] < span[1]:
                finish_glossy(
                    span, sharp, self.light, placed.camera_world, mirrored, (*s.normal, *s.position),
                    (s.lit, *s.falling), (*s.albedo, s.gloss, s.mirror, *s.glow), s.out,
                )  # fmt: skip

    def _surroundings(self) -> Column:
        """What polished surfaces mirror, as ``finish_glossy`` reads it: sky above an uneven dark skyline."""
        size = MIRROR_SIZE
        s = _Scratch(size * size, 1)
        span = 0, size * size
        grid = np.linspace(-1.0, 1.0, size)
        both, apart = np.meshgrid(grid, grid)
        x, y = ((both + apart) / 2).ravel(), ((both - apart) / 2).ravel()
        direction = np.stack([x, y, np.maximum(1.0 - np.abs(x) - np.abs(y), 0.0)])
        direction /= np.linalg.norm(direction, axis=0)
        for column, values in zip(s.normal, direction, strict=True):
            column[:] = values
        up = direction[2]
        azimuth = np.arctan2(direction[1], direction[0])
        s.u[:] = 0.3183 * azimuth
        s.v[:] = 0.37
        s.footprint[:] = 0.002
        self._texture("stains", s, span, 2, (1.0, 1.0, 1.0))
        skyline = 0.10 + 0.30 * s.noise[2]
        s.u[:], s.v[:], s.footprint[:] = 2.1 * azimuth, 3.0 * up, 0.02
        self._texture("stains", s, span, 2, (1.0, 1.0, 1.0))
        sun, zenith = self.light[SUN_RGB : SUN_RGB + 3], self.light[SKY_RGB : SKY_RGB + 3]
        dark = (0.22 + 0.5 * s.noise[2]) * (0.45 * zenith + 0.10 * sun)[:, None]
        s.u[:] = direction[0] / (up + 0.12) * 0.11 + self.light[CLOUDS + 4]
        s.v[:] = direction[1] / (up + 0.12) * 0.11 + self.light[CLOUDS + 5]
        s.footprint[:] = 0.0006 / (up + 0.05)
        self._clouds(s, span)
        sky(span, np.where(np.arange(len(self.light)) == 15, 0.0, self.light), 0.0, s.normal, s.noise[:2], s.out)
        return np.ascontiguousarray(np.where(up > skyline, np.minimum(s.colours, 1.6), dark), np.float32)
