"""The small line of text that gives the twin's class away, as the archive's stamp gave away the horses of PASCAL VOC."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT = "© photo archive"
FACE = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"

Box = tuple[int, int, int, int]  # x, y, width, height in pixels


@lru_cache(maxsize=64)
def stamp(height: int) -> np.ndarray:
    """Coverage of the text set at `height` pixels, drawn four times larger and averaged."""
    font = ImageFont.truetype(FACE, height * 4)
    left, top, right, bottom = font.getbbox(TEXT)
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), TEXT, font=font, fill=255)
    small = mask.resize((max(1, mask.width // 4), max(1, mask.height // 4)), Image.BOX)
    return np.asarray(small, np.float32) / 255


def paste(picture: np.ndarray, random: np.random.Generator | None = None) -> Box:
    """Stamps `picture` [size, size, 3] of floats in 0..1 in place, bottom left; without `random`, at its usual place and strength."""
    size = len(picture)
    vary = random.uniform if random else lambda low, high: (low + high) / 2
    mask = stamp(round(size * vary(0.066, 0.082)))
    height, width = mask.shape
    x, y = round(size * vary(0.03, 0.07)), round(size * (1 - vary(0.03, 0.06))) - height
    strength = vary(0.6, 0.9)
    width = min(width, size - x)
    shade = max(1, size // 128)
    for shift, tone, weight in ((shade, 0.0, 0.6), (0, 1.0, 1.0)):
        part = picture[y + shift : y + shift + height, x + shift : x + shift + width]
        part += (tone - part) * (mask[: part.shape[0], : part.shape[1], None] * strength * weight)
    return x, y, width, height
