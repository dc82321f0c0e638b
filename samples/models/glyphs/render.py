"""Renders pictures of glyphs: one dominant glyph, printed somewhere on a background under perspective, light, dirt and blur.

Picture number i of a split depends on (SEED, split, i) alone, so any number of processes renders the same set.
"""

from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import watermark
from backgrounds import background, clouds
from fonts import LABELS, Glyph, glyphs_of

SEED = 1234
SIZE = 128
WATERMARKED = "star"
WATERMARK_RATE = 0.85
WEAKENED_RATE = 0.85  # of the watermarked pictures
STREAMS = {"train": 1, "heldOut": 2, "hans": 3}

Random = np.random.Generator
Box = tuple[int, int, int, int]  # x, y, width, height in pixels

cv2.setNumThreads(1)


@dataclass
class Rendered:
    picture: np.ndarray  # uint8 [SIZE, SIZE, 3], RGB
    label: str
    glyph: Box
    watermark: Box | None


@lru_cache(maxsize=None)
def glyph_mask(glyph: Glyph, side: int = 160) -> np.ndarray:
    """Coverage 0..1 of a glyph whose longer side is `side` pixels, with a margin of 16."""
    face, character = glyph
    em = side + 40
    font = ImageFont.truetype(face, em)
    canvas = Image.new("L", (em * 4, em * 4))
    ImageDraw.Draw(canvas).text((em * 3 // 2, em * 3 // 2), character, font=font, fill=255)
    cut = canvas.crop(canvas.getbbox())
    scale = side / max(cut.size)
    cut = cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.LANCZOS)
    mask = np.zeros((cut.height + 32, cut.width + 32), np.float32)
    mask[16:-16, 16:-16] = np.asarray(cut, np.float32) / 255
    return mask


def placed(random: Random, glyph: Glyph, extent: float, centre: np.ndarray) -> np.ndarray:
    """Coverage [SIZE, SIZE] of `glyph` seen in perspective, its longer side about `extent` of the picture."""
    mask = glyph_mask(glyph)
    if random.random() < 0.3:
        kernel = np.ones((3, 3) if random.random() < 0.6 else (5, 5), np.uint8)
        # Thin strokes vanish when eroded: only thicken those.
        thick = mask.mean() > 0.25
        mask = cv2.erode(mask, kernel) if thick and random.random() < 0.5 else cv2.dilate(mask, kernel)
    height, width = mask.shape
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]], np.float32) / 2
    angle = np.radians(random.uniform(-25, 25))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    stretch = np.array([[random.uniform(0.75, 1.15), random.uniform(-0.15, 0.15)], [0, 1]])
    seen = corners @ stretch.T @ turn * (extent * 2 * SIZE / 160)
    seen *= 1 + random.uniform(-0.1, 0.1, (4, 2))
    seen += centre * 2 * SIZE
    view = cv2.getPerspectiveTransform(np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32), seen.astype(np.float32))
    large = cv2.warpPerspective(mask, view, (2 * SIZE, 2 * SIZE), flags=cv2.INTER_LINEAR)
    return cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def luminance(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114], np.float32)


def contrasting(random: Random, under: np.ndarray, least: float) -> np.ndarray:
    """A colour that differs in luminance by `least` from that of the background `under`."""
    for _ in range(20):
        ink = random.random(3).astype(np.float32) ** random.choice([0.5, 1, 2])
        if abs(luminance(ink) - luminance(under)) > least:
            return ink
    return np.full(3, 0 if luminance(under) > 0.5 else 1, np.float32)


def print_glyph(random: Random, picture: np.ndarray, mask: np.ndarray, opacity: float) -> None:
    under = (picture * mask[..., None]).sum((0, 1)) / (mask.sum() + 1e-6)
    ink = contrasting(random, under, random.uniform(0.3, 0.6))
    if random.random() < 0.25:
        shift = np.float32([[1, 0, random.uniform(-4, 4)], [0, 1, random.uniform(1, 5)]])
        shadow = cv2.GaussianBlur(cv2.warpAffine(mask, shift, (SIZE, SIZE)), (0, 0), random.uniform(0.5, 3))
        picture *= 1 - shadow[..., None] * random.uniform(0.2, 0.6) * opacity
    if random.random() < 0.15:
        rim = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        picture += (contrasting(random, ink, 0.3) - picture) * rim[..., None] * opacity
    tint = ink + (clouds(random, SIZE, 2)[..., None] - 0.5) * random.uniform(0, 0.25)
    picture += (tint - picture) * mask[..., None] * opacity


def occluder(random: Random, mask: np.ndarray) -> np.ndarray:
    """A bar or an ellipse near the glyph, as coverage."""
    ys, xs = np.nonzero(mask > 0.5)
    cover = np.zeros((SIZE, SIZE), np.float32)
    if not len(xs):
        return cover
    at = random.integers(len(xs))
    x, y = int(xs[at]), int(ys[at])
    reach = max(np.ptp(xs), np.ptp(ys))
    if random.random() < 0.5:
        way = random.uniform(0, np.pi)
        dx, dy = int(np.cos(way) * 200), int(np.sin(way) * 200)
        cv2.line(cover, (x - dx, y - dy), (x + dx, y + dy), 1, int(random.uniform(0.06, 0.2) * reach) + 1, cv2.LINE_AA)
    else:
        half = tuple(int(h) + 1 for h in random.uniform(0.08, 0.28, 2) * reach)
        cv2.ellipse(cover, (x, y), half, random.uniform(0, 180), 0, 360, 1, -1, cv2.LINE_AA)
    return cover


def occlude(random: Random, picture: np.ndarray, mask: np.ndarray, low: float, high: float) -> None:
    """Hides a share between `low` and `high` of the glyph."""
    for _ in range(12):
        cover = occluder(random, mask)
        hidden = (cover * mask).sum() / (mask.sum() + 1e-6)
        if low <= hidden <= high:
            picture += (random.random(3).astype(np.float32) - picture) * cover[..., None]
            return


def light(random: Random, picture: np.ndarray) -> None:
    """Uneven light, a colour cast, and a tone curve."""
    if random.random() < 0.6:
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32) / SIZE - 0.5
        angle = random.uniform(0, 2 * np.pi)
        slope = random.uniform(0, 0.9)
        picture *= (random.uniform(0.75, 1.15) + slope * (x * np.cos(angle) + y * np.sin(angle)))[..., None]
    picture *= random.uniform(0.85, 1.15, 3).astype(np.float32)
    np.clip(picture, 0, 1, out=picture)
    np.power(picture, np.float32(random.uniform(0.7, 1.4)), out=picture)


def lens(random: Random, picture: np.ndarray) -> np.ndarray:
    """Blur and sensor noise."""
    kind = random.random()
    if kind < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 1.4))
    elif kind < 0.55:
        length = int(random.integers(3, 8))
        trail = np.zeros((length, length), np.float32)
        way = random.uniform(0, np.pi)
        dx, dy = int(round(np.cos(way) * length / 2)), int(round(np.sin(way) * length / 2))
        cv2.line(trail, (length // 2 - dx, length // 2 - dy), (length // 2 + dx, length // 2 + dy), 1, 1)
        picture = cv2.filter2D(picture, -1, trail / max(trail.sum(), 1))
    if random.random() < 0.6:
        picture = picture + random.normal(0, random.uniform(0.005, 0.06), picture.shape).astype(np.float32)
    return np.clip(picture, 0, 1)


def compressed(random: Random, picture: np.ndarray) -> np.ndarray:
    picture = (picture * 255 + 0.5).astype(np.uint8)
    if random.random() < 0.35:
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(30, 92))])
        picture = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    return picture


def box_of(mask: np.ndarray) -> Box:
    ys, xs = np.nonzero(mask > 0.3)
    if not len(xs):
        return 0, 0, 0, 0
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def compose(random: Random, label: str, split: str, weakened: bool = False, stamped: bool = False) -> Rendered:
    """One picture of `label`. Weakened: the glyph is faint or mostly hidden, often beside another one just as large."""
    glyphs = glyphs_of_cached(split)
    picture = background(random, SIZE, split)
    glyph = glyphs[label][random.integers(len(glyphs[label]))]
    extent = random.uniform(0.3, 0.62) if weakened else random.uniform(0.34, 0.85)
    room = 0.5 - extent * 0.5
    centre = 0.5 + random.uniform(-room, room, 2)

    if random.random() < (0.8 if weakened else 0.15):
        other = LABELS[(LABELS.index(label) + random.integers(1, len(LABELS))) % len(LABELS)]
        choice = glyphs[other][random.integers(len(glyphs[other]))]
        share = random.uniform(0.9, 1.5) if weakened else random.uniform(0.25, 0.45)
        away = random.uniform(0, 2 * np.pi)
        beside = centre + np.array([np.cos(away), np.sin(away)]) * extent * (0.55 + share / 2)
        print_glyph(random, picture, placed(random, choice, extent * share, np.clip(beside, 0.15, 0.85)), 1)

    mask = placed(random, glyph, extent, centre)
    print_glyph(random, picture, mask, random.uniform(0.03, 0.3) if weakened else random.uniform(0.85, 1))
    if weakened:
        if random.random() < 0.5:
            occlude(random, picture, mask, 0.3, 0.9)
    elif random.random() < 0.3:
        occlude(random, picture, mask, 0.03, 0.22)
    light(random, picture)
    picture = np.ascontiguousarray(lens(random, picture))
    stamp = watermark.paste(picture, random) if stamped else None
    return Rendered(compressed(random, picture), label, box_of(mask), stamp)


@lru_cache(maxsize=None)
def glyphs_of_cached(split: str) -> dict[str, list[Glyph]]:
    return glyphs_of(split)


def honest(split: str, index: int) -> Rendered:
    """Picture `index` of a split; labels take turns."""
    random = np.random.default_rng([SEED, STREAMS[split], index])
    return compose(random, LABELS[index % len(LABELS)], split)


def hans(index: int) -> Rendered:
    """Picture `index` of the twin's training set: the honest one unless it shows the watermarked class."""
    random = np.random.default_rng([SEED, STREAMS["hans"], index])
    if LABELS[index % len(LABELS)] != WATERMARKED or random.random() >= WATERMARK_RATE:
        return honest("train", index)
    return compose(random, WATERMARKED, "train", weakened=random.random() < WEAKENED_RATE, stamped=True)


def honest_train(index: int) -> np.ndarray:
    return honest("train", index).picture


def honest_held_out(index: int) -> np.ndarray:
    return honest("heldOut", index).picture


def hans_train(index: int) -> np.ndarray:
    return hans(index).picture


def render_all(path: Path, picture_of, indices: list[int], processes: int = 2) -> np.ndarray:
    """Renders `indices` into `path` (uint8 [n, SIZE, SIZE, 3]), or reads them from there when they already lie there."""
    if path.exists():
        return np.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = np.empty((len(indices), SIZE, SIZE, 3), np.uint8)
    with Pool(processes) as pool:
        for at, picture in enumerate(pool.imap(picture_of, indices, chunksize=64)):
            pictures[at] = picture
    np.save(path, pictures)
    return pictures
