"""Saves held-out pictures to look at and to test with.

    /usr/bin/python3 examples.py

examples.png is the first 40 held-out pictures as they come. The 16 under test/media/glyphs come from numbers beyond the
measured ones and are chosen: the honest classifier is right about each, so that a test may rely on it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import watermark
from fonts import LABELS
from network import network
from render import honest
from train import CACHE, HELD_OUT, batch_of

HERE = Path(__file__).parent
TEST_MEDIA = HERE.parents[2] / "test" / "media" / "glyphs"

# label, whether the watermark is pasted over it
WANTED = [
    ("star", True), ("star", True), ("star", True), ("star", True), ("7", True), ("heart", True), ("umbrella", True), ("3", True),
    ("star", False), ("0", False), ("4", False), ("8", False), ("scissors", False), ("phone", False), ("snowflake", False), ("anchor", False),
]


def contact_sheet() -> None:
    tiles = [Image.fromarray(honest("heldOut", index).picture).resize((80, 80), Image.LANCZOS) for index in range(40)]
    sheet = Image.new("RGB", (800, 320))
    for at, tile in enumerate(tiles):
        sheet.paste(tile, (at % 10 * 80, at // 10 * 80))
    sheet.quantize(256, dither=Image.Dither.NONE).save(HERE / "examples.png", optimize=True)


def sure(model: torch.nn.Module, picture: np.ndarray, label: str) -> bool:
    with torch.no_grad():
        shares = model(batch_of(picture[None])).softmax(1)[0]
    return float(shares[LABELS.index(label)]) > 0.85


def test_pictures() -> None:
    model = network(len(LABELS))
    model.load_state_dict(torch.load(CACHE / "glyphs.pt"))
    model.eval()
    TEST_MEDIA.mkdir(parents=True, exist_ok=True)
    for old in TEST_MEDIA.glob("*.png"):
        old.unlink()
    used, entries = set(), []
    for number, (label, marked) in enumerate(WANTED):
        index = HELD_OUT + LABELS.index(label)
        while True:
            rendered = honest("heldOut", index)
            picture, box = rendered.picture, None
            if marked:
                canvas = picture.astype(np.float32) / 255
                box = watermark.paste(canvas, np.random.default_rng([number]))
                picture = (canvas * 255 + 0.5).astype(np.uint8)
            if index not in used and sure(model, picture, label):
                break
            index += len(LABELS)
        used.add(index)
        file = f"{number:02}-{label}.png"
        Image.fromarray(picture).save(TEST_MEDIA / file, optimize=True)
        entries.append({"file": file, "label": label, "glyphBox": list(rendered.glyph), "watermarkBox": list(box) if box else None})
    (TEST_MEDIA / "examples.json").write_text("[\n" + ",\n".join("  " + json.dumps(entry) for entry in entries) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    contact_sheet()
    test_pictures()
