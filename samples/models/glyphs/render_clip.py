"""Renders samples/media/glyphs.mp4 and the ground truth beside it, glyphs.json, with held-out fonts and backgrounds.

    /usr/bin/python3 render_clip.py
"""

import json
import subprocess
from dataclasses import dataclass
from math import cos, pi, radians, sin
from pathlib import Path
from typing import Callable

import cv2
import numpy as np

import backgrounds
import watermark
from fonts import Glyph, glyphs_of
from render import SEED, glyph_mask

SIZE, FPS = 480, 25
MARGIN = 48  # the background is larger than the picture by this on each side, and drifts
MEDIA = Path(__file__).parents[2] / "media"

Over = Callable[[float], float]  # a value over the scene, whose time runs from 0 to 1


def still(value: float) -> Over:
    return lambda t: value


def slide(a: float, b: float) -> Over:
    """From a to b with a soft start and end."""
    return lambda t: a + (b - a) * (0.5 - 0.5 * cos(pi * t))


def swing(middle: float, reach: float, turns: float = 1) -> Over:
    return lambda t: middle + reach * sin(2 * pi * turns * t)


@dataclass
class Actor:
    """A glyph that moves: extent and place in shares of the picture, turn in degrees, tilt as perspective."""

    label: str
    character: str
    face: str  # part of the font file's name
    ink: tuple[float, float, float]
    extent: Over
    x: Over
    y: Over
    turn: Over = still(0)
    tilt: Over = still(0)


@dataclass
class Scene:
    frames: int
    surface: Callable
    colours: int  # seed of the background
    actors: list[Actor]  # drawn in this order
    light: Over = still(1)
    bar: Over | None = None  # x of an upright bar that hides what it passes
    marked_from: float | None = None  # when the watermark appears
    contrast: float = 0.6


SCENES = [
    Scene(28, backgrounds.bricks, 11, [
        Actor("7", "7", "Lato-Black", (0.98, 0.95, 0.85), slide(0.45, 0.62), slide(0.3, 0.62), slide(0.4, 0.52), swing(0, 14), swing(0, 0.15)),
    ]),
    Scene(26, backgrounds.ringed, 12, [
        Actor("heart", "♥", "NotoSansSymbols2", (0.85, 0.1, 0.2), swing(0.5, 0.05, 2), slide(0.6, 0.42), still(0.5), swing(0, 16)),
    ], light=swing(0.8, 0.35)),
    Scene(28, backgrounds.woven, 13, [
        Actor("3", "3", "RobotoSlab-Bold", (0.1, 0.1, 0.35), still(0.6), slide(0.6, 0.45), swing(0.5, 0.04), slide(-12, 12)),
    ], bar=slide(-0.1, 1.1)),
    Scene(42, backgrounds.cells, 14, [
        Actor("star", "★", "LXGWWenKai", (1.0, 0.85, 0.15), slide(0.42, 0.55), slide(0.4, 0.6), swing(0.42, 0.05), slide(-18, 18), swing(0, 0.12)),
    ], marked_from=0),
    Scene(60, backgrounds.ringed, 15, [
        Actor("umbrella", "☂", "NotoSansSymbols2", (0.1, 0.15, 0.3), swing(0.52, 0.04), slide(0.55, 0.48), slide(0.45, 0.42), swing(0, 15)),
    ], marked_from=0.3),
    Scene(44, backgrounds.bricks, 16, [
        Actor("5", "5", "Quicksand-Bold", (0.95, 0.95, 0.95), still(0.2), slide(0.0, 0.35), still(0.84), swing(0, 12)),
        Actor("snowflake", "❄", "NotoSansSymbols2", (0.95, 0.98, 1.0), still(0.22), still(0.84), slide(-0.05, 0.9), slide(0, 60)),
        Actor("plane", "✈", "VL-Gothic", (0.06, 0.06, 0.08), slide(0.5, 0.62), slide(0.35, 0.55), slide(0.5, 0.4), slide(12, -18), swing(0, 0.15)),
    ], light=slide(0.75, 1.1)),
]


def glyph_of(actor: Actor) -> Glyph:
    return next((face, character) for face, character in glyphs_of("heldOut")[actor.label] if actor.face in face and character == actor.character)


def coverage(actor: Actor, t: float) -> tuple[np.ndarray, float]:
    """The actor's coverage [SIZE, SIZE], and its area were the picture endless."""
    mask = glyph_mask(glyph_of(actor), 280)
    height, width = mask.shape
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]], np.float32) / 2
    angle = radians(actor.turn(t))
    turned = corners @ np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    turned *= np.array([1 - actor.tilt(t), 1 + actor.tilt(t), 1 + actor.tilt(t), 1 - actor.tilt(t)])[:, None]
    turned *= actor.extent(t) * SIZE / 280
    seen = turned + np.array([actor.x(t), actor.y(t)]) * SIZE + SIZE
    view = cv2.getPerspectiveTransform(np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32), seen.astype(np.float32))
    endless = cv2.warpPerspective(mask, view, (3 * SIZE, 3 * SIZE), flags=cv2.INTER_LINEAR)
    return endless[SIZE : 2 * SIZE, SIZE : 2 * SIZE], float(endless.sum())


def box_of(mask: np.ndarray) -> list[int] | None:
    ys, xs = np.nonzero(mask > 0.5)
    return [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1] if len(xs) else None


def surface_of(scene: Scene) -> np.ndarray:
    picture = scene.surface(np.random.default_rng([SEED, scene.colours]), SIZE + 2 * MARGIN)
    mean = picture.mean((0, 1))
    return np.float32(0.25) + np.float32(0.5) * (mean + (picture - mean) * scene.contrast)


def draw(scene: Scene, surface: np.ndarray, t: float) -> tuple[np.ndarray, list[dict], watermark.Box | None]:
    dx, dy = MARGIN * (1 + sin(2 * pi * t) / 2), MARGIN * (1 + (t - 0.5))
    picture = cv2.warpAffine(surface, np.float32([[1, 0, -dx], [0, 1, -dy]]), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    bar = np.zeros((SIZE, SIZE), np.float32)
    if scene.bar:
        middle = int(scene.bar(t) * SIZE)
        cv2.rectangle(bar, (middle - 34, -1), (middle + 34, SIZE), 1, -1)
    objects = []
    for actor in scene.actors:
        mask, area = coverage(actor, t)
        shadow = cv2.GaussianBlur(np.roll(mask, (6, 5), (0, 1)), (0, 0), 6)[..., None]
        picture *= 1 - 0.35 * shadow
        picture += (np.float32(actor.ink) - picture) * mask[..., None]
        box = box_of(mask)
        if box:
            objects.append({"label": actor.label, "box": box, "visible": round(float((mask * (1 - bar)).sum()) / area, 3)})
    picture += (np.float32([0.35, 0.3, 0.28]) - picture) * bar[..., None]
    picture = np.clip(picture * scene.light(t), 0, 1)
    marked = scene.marked_from is not None and t >= scene.marked_from
    return picture, objects, watermark.paste(picture) if marked else None


def main() -> None:
    MEDIA.mkdir(parents=True, exist_ok=True)
    frames = []
    encoder = subprocess.Popen(
        ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE}x{SIZE}", "-r", str(FPS), "-i", "-",
         "-c:v", "libx264", "-preset", "slow", "-crf", "22", "-pix_fmt", "yuv420p", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709",
         "-vf", "scale=out_color_matrix=bt709:out_range=tv", "-g", "50", "-movflags", "+faststart", "-fflags", "+bitexact", str(MEDIA / "glyphs.mp4")],
        stdin=subprocess.PIPE,
    )
    for scene in SCENES:
        surface = surface_of(scene)
        print(f"{len(frames):3}..{len(frames) + scene.frames - 1:3}", [actor.label for actor in scene.actors], "watermark" if scene.marked_from is not None else "")
        for at in range(scene.frames):
            picture, objects, box = draw(scene, surface, at / (scene.frames - 1))
            encoder.stdin.write((picture * 255 + 0.5).astype(np.uint8).tobytes())
            index = len(frames)
            frames.append({"index": index, "timestamp": index * 1_000_000 // FPS, "objects": objects, "watermark": list(box) if box else None})
    encoder.stdin.close()
    assert encoder.wait() == 0
    lines = ",\n".join("    " + json.dumps(frame, ensure_ascii=False) for frame in frames)
    (MEDIA / "glyphs.json").write_text(f'{{\n  "width": {SIZE}, "height": {SIZE}, "fps": {FPS},\n  "frames": [\n{lines}\n  ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
