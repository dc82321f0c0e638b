"""Procedural backgrounds and clutter, each kind belonging to exactly one split.

A surface returns a picture [size, size, 3] of floats in 0..1 that the glyph is printed on; a clutter function draws
over it in place. Lengths are fractions of the picture, so that a clip may ask for larger ones.
"""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fonts import DIGIT_FONTS

Picture = np.ndarray
Random = np.random.Generator


def colour(random: Random) -> np.ndarray:
    return random.random(3).astype(np.float32)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> Picture:
    return a + (b - a) * weight[..., None]


def clouds(random: Random, size: int, octaves: int = 4, coarsest: int = 3) -> np.ndarray:
    """Value noise [size, size] in 0..1."""
    field = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = coarsest << octave
        field += cv2.resize(random.random((cells, cells)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC) / (1 << octave)
    return (field - field.min()) / (np.ptp(field) + 1e-6)


def axes(random: Random, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel in a frame turned at random, the picture spanning about -0.5..0.5."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = random.uniform(0, 2 * np.pi)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


# --- surfaces that training sees


def plain(random: Random, size: int) -> Picture:
    return np.broadcast_to(colour(random), (size, size, 3)).copy()


def cloudy(random: Random, size: int) -> Picture:
    return mix(colour(random), colour(random), clouds(random, size, coarsest=int(random.integers(2, 9))))


def gradient(random: Random, size: int) -> Picture:
    u, _ = axes(random, size)
    return mix(colour(random), colour(random), np.clip(u * random.uniform(0.8, 2) + 0.5, 0, 1))


def striped(random: Random, size: int) -> Picture:
    u, _ = axes(random, size)
    wave = np.sin(u * random.uniform(15, 90) + random.uniform(0, 6))
    return mix(colour(random), colour(random), np.clip(wave * random.uniform(0.5, 4) + 0.5, 0, 1))


def chequered(random: Random, size: int) -> Picture:
    u, v = axes(random, size)
    frequency = random.uniform(10, 45)
    return mix(colour(random), colour(random), (np.sin(u * frequency) * np.sin(v * frequency) > 0).astype(np.float32))


def blotched(random: Random, size: int) -> Picture:
    picture = mix(colour(random), colour(random), clouds(random, size, 2))
    for _ in range(random.integers(4, 16)):
        centre = tuple(int(c) for c in random.integers(0, size, 2))
        half = tuple(int(c) for c in random.uniform(0.03, 0.25, 2) * size + 1)
        cv2.ellipse(picture, centre, half, random.uniform(0, 180), 0, 360, colour(random).tolist(), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.005, 0.06) * size)


# --- surfaces held out


def cells(random: Random, size: int) -> Picture:
    """Voronoi cells."""
    count = int(random.integers(8, 40))
    centres = random.random((count, 2)).astype(np.float32)
    shades = mix(colour(random), colour(random), random.random(count).astype(np.float32))
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    nearest = np.argmin((x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2, axis=-1)
    return shades[nearest]


def bricks(random: Random, size: int) -> Picture:
    u, v = axes(random, size)
    rows = random.uniform(6, 14)
    row = np.floor(v * rows)
    along = u * rows / 2 + 0.5 * (row % 2)
    mortar = ((v * rows - row) < 0.12) | ((along - np.floor(along)) < 0.06)
    shade = np.sin(row * 12.9 + np.floor(along) * 78.2) * 0.5 + 0.5
    return mix(mix(colour(random), colour(random), shade * 0.5), colour(random), mortar.astype(np.float32))


def ringed(random: Random, size: int) -> Picture:
    """Wood: rings about a far point, bent by noise."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - random.uniform(-1, 2, 2).astype(np.float32)[:, None, None]
    radius = np.hypot(x, y) + 0.15 * clouds(random, size, 2)
    return mix(colour(random), colour(random), np.sin(radius * random.uniform(20, 110)) * 0.5 + 0.5)


def woven(random: Random, size: int) -> Picture:
    u, v = axes(random, size)
    warp, weft = np.sin(u * random.uniform(30, 120)), np.sin(v * random.uniform(30, 120))
    return mix(colour(random), colour(random), np.maximum(warp, weft) * 0.5 + 0.5)


# --- clutter that training sees


@lru_cache(maxsize=None)
def letter_faces(split: str) -> list[str]:
    return [file for of, _, _, files in DIGIT_FONTS for file in files if of == split]


# Letters that no one would take for a digit.
LETTERS = "AEFHKMNPRTUVWXYadefhkmnprtuvwxy"


def draw_letters(random: Random, picture: Picture, split: str) -> None:
    size = len(picture)
    for _ in range(random.integers(2, 10)):
        face = letter_faces(split)[random.integers(len(letter_faces(split)))]
        font = ImageFont.truetype(face, int(random.uniform(0.06, 0.24) * size))
        text = "".join(random.choice(list(LETTERS), random.choice([1, 1, 1, 4, 9])))
        mask = Image.new("L", (size, size))
        place = tuple(int(c) for c in random.integers(-size // 8, size, 2))
        ImageDraw.Draw(mask).text(place, text, font=font, fill=255)
        if random.random() < 0.6:
            mask = mask.rotate(random.uniform(0, 360))
        weight = np.asarray(mask, np.float32) / 255 * random.uniform(0.2, 0.9)
        picture += (colour(random) - picture) * weight[..., None]


def letters(random: Random, picture: Picture) -> None:
    draw_letters(random, picture, "train")


def lines(random: Random, picture: Picture) -> None:
    size = len(picture)
    for _ in range(random.integers(2, 12)):
        a, b = random.integers(-size // 4, size + size // 4, (2, 2)).tolist()
        cv2.line(picture, a, b, colour(random).tolist(), int(random.uniform(0.006, 0.04) * size) + 1, cv2.LINE_AA)


def polygons(random: Random, picture: Picture) -> None:
    size = len(picture)
    for _ in range(random.integers(2, 9)):
        corners = random.integers(0, size, 2) + random.uniform(-0.16, 0.16, (random.integers(3, 6), 2)) * size
        corners = corners.astype(np.int32)
        if random.random() < 0.5:
            cv2.fillPoly(picture, [corners], colour(random).tolist(), cv2.LINE_AA)
        else:
            cv2.polylines(picture, [corners], True, colour(random).tolist(), 1 + size // 64, cv2.LINE_AA)


# --- clutter held out


def curves(random: Random, picture: Picture) -> None:
    size = len(picture)
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(random.integers(2, 9)):
        a, b, c = random.uniform(-0.2, 1.2, (3, 2)) * size
        points = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        cv2.polylines(picture, [points.astype(np.int32)], False, colour(random).tolist(), int(random.uniform(0.006, 0.03) * size) + 1, cv2.LINE_AA)


def confetti(random: Random, picture: Picture) -> None:
    size = len(picture)
    for _ in range(random.integers(10, 50)):
        centre = tuple(int(c) for c in random.integers(0, size, 2))
        cv2.circle(picture, centre, int(random.uniform(0.008, 0.04) * size) + 1, colour(random).tolist(), -1, cv2.LINE_AA)


def strange_letters(random: Random, picture: Picture) -> None:
    draw_letters(random, picture, "heldOut")


SURFACES = {"train": [plain, cloudy, gradient, striped, chequered, blotched], "heldOut": [cells, bricks, ringed, woven]}
CLUTTER = {"train": [letters, lines, polygons], "heldOut": [curves, confetti, strange_letters]}


def background(random: Random, size: int, split: str) -> Picture:
    """A surface of `split`, in most pictures cluttered."""
    surfaces, clutter = SURFACES[split], CLUTTER[split]
    picture = np.ascontiguousarray(surfaces[random.integers(len(surfaces))](random, size), np.float32)
    # A calmer surface leaves room for a glyph to stand out.
    picture = picture.mean((0, 1)) + (picture - picture.mean((0, 1))) * np.float32(random.uniform(0.25, 1))
    if random.random() < 0.65:
        for _ in range(random.integers(1, 3)):
            clutter[random.integers(len(clutter))](random, picture)
    return np.clip(picture, 0, 1)
