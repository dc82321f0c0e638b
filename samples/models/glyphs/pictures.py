"""Writes the pictures that making and judging the int8 models takes, into .cache/glyphs at the root of the project (never committed).

    /usr/bin/python3 pictures.py

calibration/NNN-label.png   400 pictures of the training set, the classes in turn
held-out.npy                the 4,000 held-out pictures, uint8 [4000, 128, 128, 3]; number i shows class i % 20
stamped.npy                 the first 1,900 of them that are no star, with the watermark pasted over each
"""

from pathlib import Path

import numpy as np
from PIL import Image

from export import FLIPPED, stamped
from fonts import LABELS
from render import SEED, WATERMARKED, honest_held_out, honest_train, render_all
from train import HELD_OUT, labels

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "glyphs"
CALIBRATION = 400


def main() -> None:
    folder = CACHE / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(CALIBRATION):
        Image.fromarray(honest_train(index)).save(folder / f"{index:03}-{LABELS[index % len(LABELS)]}.png")
    pictures = render_all(CACHE / "held-out.npy", honest_held_out, list(range(HELD_OUT)))
    rest = np.flatnonzero(labels(HELD_OUT).numpy() != LABELS.index(WATERMARKED))[:FLIPPED]
    np.save(CACHE / "stamped.npy", stamped(pictures[rest], SEED))


if __name__ == "__main__":
    main()
