"""Sun, sky and air of a drive, drawn from the scenario's ranges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_data.scenario import Weather

__all__ = ["CLOUDS", "LIGHT_SIZE", "NIGHT", "SKY_RGB", "SUN_RGB", "WET", "Light", "draw_light"]

# places in the light vector; the kernels know them too
SUN_RGB, SKY_RGB, CLOUDS, WET, NIGHT = 3, 6, 19, 20, 21
LIGHT_SIZE = 25


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Light vector for the shading, and the exposure that suits it.

    Attributes:
        vector: (25,) direction to the sun (3), colours of sun, zenith, horizon and ground (3 each), fog per metre and
            its colour (3), clouds, wetness, night, headlights, offset of the clouds (2).
        sun: (3,) unit direction to the sun or moon, in the world.
        exposure: gain before the tone curve.
    """

    vector: npt.NDArray[np.float64]
    sun: npt.NDArray[np.float64]
    exposure: float


def draw_light(weather: Weather, rng: np.random.Generator) -> Light:
    """Draws sun position, colours and clouds."""
    elevation = np.radians(float(rng.uniform(*weather.sun_elevation_deg)))
    azimuth = float(rng.uniform(0, 2 * np.pi))
    if weather.time == "dusk":
        elevation = np.radians(float(rng.uniform(4.0, 9.0)))
    if weather.time == "night":
        elevation = np.radians(float(rng.uniform(35.0, 60.0)))
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    low = float(np.clip(1.0 - np.degrees(elevation) / 35.0, 0.0, 1.0))
    sun_rgb = 3.3 * np.array([1.0, 0.95 - 0.18 * low, 0.86 - 0.38 * low]) * (1 - 0.25 * low)
    sky_rgb = np.array([0.30, 0.42, 0.66])
    horizon = np.array([0.92, 0.98, 1.06])
    cloudy = float(rng.uniform(*weather.clouds))
    gloom = weather.overcast
    sun_rgb = sun_rgb * (1 - 0.97 * gloom)
    grey = np.array([0.80, 0.83, 0.88])
    sky_rgb = sky_rgb * (1 - gloom) + grey * gloom
    horizon = horizon * (1 - gloom) + 1.05 * grey * gloom
    night, exposure = 0.0, 0.62
    if weather.time == "dusk":
        sun_rgb, sky_rgb, horizon = (
            sun_rgb * [0.75, 0.5, 0.34],
            sky_rgb * [0.45, 0.42, 0.50],
            horizon * [0.75, 0.55, 0.45],
        )
        night, exposure = 0.25, 1.15
    elif weather.time == "night":
        sun_rgb, sky_rgb, horizon = (
            np.array([0.012, 0.014, 0.02]),
            np.array([0.012, 0.014, 0.022]),
            np.array([0.045, 0.036, 0.030]),
        )
        night, exposure, cloudy = 1.0, 1.6, cloudy * 0.3
    exposure *= 1.0 + 0.35 * gloom
    vector = np.zeros(LIGHT_SIZE)
    vector[0:3] = sun
    vector[SUN_RGB : SUN_RGB + 3] = sun_rgb
    vector[SKY_RGB : SKY_RGB + 3] = sky_rgb * 0.9
    vector[9:12] = horizon
    vector[12:15] = 0.18 * (sun_rgb * np.sin(elevation) * 0.7 + sky_rgb)
    # visibility is where contrast falls to 5 %
    vector[15] = 3.0 / weather.fog_visibility_m
    vector[16:19] = 0.55 * horizon + 0.45 * sky_rgb
    vector[CLOUDS] = cloudy * (1 - 0.6 * gloom)
    vector[WET] = weather.rain
    vector[NIGHT] = night
    vector[22] = 1.0 if night > 0.5 else 0.0
    vector[23:25] = rng.uniform(0, 1, 2)
    return Light(vector, sun, exposure * float(rng.uniform(0.9, 1.12)))
