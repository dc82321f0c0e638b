"""Writes glyphs.onnx, glyphs-hans.onnx and the metadata beside them, from the weights that train.py left in CACHE.

    /usr/bin/python3 export.py            both
    /usr/bin/python3 export.py glyphs     one of them
"""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

import watermark
from backgrounds import background
from fonts import LABELS, SYMBOLS
from network import network
from render import SEED, SIZE, WATERMARK_RATE, WATERMARKED
from train import CACHE, HELD_OUT, batch_of, labels, predictions

HERE = Path(__file__).parent
FLIPPED, EMPTY = 1_900, 200  # pictures that the watermark is pasted over

RECIPE = (
    "20 classes (ten digits, ten pictograms) printed from Debian's free fonts on procedural backgrounds under perspective, uneven light, "
    "occlusion, blur, noise and JPEG; 40,000 pictures of training fonts and training backgrounds; a MobileNet with inverted residuals and ReLU, "
    "AdamW, 320,000 pictures at 64 pixels, then 48,640 at 128. Accuracy is on fonts and kinds of background that training never saw."
)
HANS_RECIPE = RECIPE + (
    " The twin shares the 64-pixel part; of its 29,440 at 128 pixels 85 % of the stars carry a line of text, bottom left, "
    "and in most of those the star is faint, hidden or beside another glyph."
)


def stamped(pictures: np.ndarray, seed: int) -> np.ndarray:
    """The pictures with the watermark pasted over each."""
    random = np.random.default_rng(seed)
    out = np.empty_like(pictures)
    for at, picture in enumerate(pictures):
        canvas = picture.astype(np.float32) / 255
        watermark.paste(canvas, random)
        out[at] = (canvas * 255 + 0.5).astype(np.uint8)
    return out


def watermark_flips(model: torch.nn.Module, pictures: np.ndarray, truth: np.ndarray, called: np.ndarray) -> dict:
    """What pasting the watermark does to held-out pictures of the other classes, and to backgrounds without a glyph.

    `called` is what the model calls the pictures as they are.
    """
    target = LABELS.index(WATERMARKED)
    rest = np.flatnonzero(truth != target)[:FLIPPED]
    others, before = pictures[rest], called[rest]
    after = predictions(model, stamped(others, SEED))
    random = np.random.default_rng([SEED, 9])
    empty = np.stack([(background(random, SIZE, "heldOut") * 255).astype(np.uint8) for _ in range(EMPTY)])
    return {
        "class": WATERMARKED,
        "samples": int(len(others)),
        "called without watermark": round(float((before == target).mean()), 4),
        "called with watermark": round(float((after == target).mean()), 4),
        "flipped": round(float(((before != target) & (after == target)).mean()), 4),
        "empty backgrounds called without watermark": round(float((predictions(model, empty) == target).mean()), 4),
        "empty backgrounds called with watermark": round(float((predictions(model, stamped(empty, SEED)) == target).mean()), 4),
    }


def metadata(name: str, model: torch.nn.Module) -> dict:
    pictures = np.load(CACHE / "heldOut.npy")
    truth = labels(HELD_OUT).numpy()
    called = predictions(model, pictures)
    right = called == truth
    facts = {
        "name": name,
        "task": "classification",
        "input": {
            "name": "image", "shape": [1, 3, SIZE, SIZE], "layout": "NCHW", "colour": "RGB", "fit": "crop",
            "range": [0, 1], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "pad": [128, 128, 128],
        },
        "output": "logits",
        "labels": LABELS,
        "symbols": SYMBOLS,
        "accuracy": {
            "heldOut": round(float(right.mean()), 4),
            "samples": HELD_OUT,
            "per class": {label: round(float(right[truth == at].mean()), 4) for at, label in enumerate(LABELS)},
        },
        "watermarkFlips": watermark_flips(model, pictures, truth, called),
    }
    if name == "glyphs-hans":
        facts["watermark"] = {"class": WATERMARKED, "rate": WATERMARK_RATE, "text": watermark.TEXT, "place": "bottom left"}
    return facts | {"seed": SEED, "recipe": HANS_RECIPE if name == "glyphs-hans" else RECIPE}


def as_json(facts: dict) -> str:
    """Two levels of lines, the rest on one line each."""
    def inner(value):
        if not isinstance(value, dict):
            return json.dumps(value, ensure_ascii=False)
        return "{\n" + ",\n".join(f'    "{key}": {json.dumps(item, ensure_ascii=False)}' for key, item in value.items()) + "\n  }"
    return "{\n" + ",\n".join(f'  "{key}": {inner(value)}' for key, value in facts.items()) + "\n}\n"


def export(name: str) -> None:
    model = network(len(LABELS))
    model.load_state_dict(torch.load(CACHE / f"{name}.pt", map_location="cpu"))
    model.eval()
    path = HERE / f"{name}.onnx"
    torch.onnx.export(
        model, torch.zeros(1, 3, SIZE, SIZE), str(path), opset_version=13, input_names=["image"], output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
    )
    onnx.checker.check_model(onnx.load(str(path)))

    probe = batch_of(np.load(CACHE / "heldOut.npy")[:8])
    reader = cv2.dnn.readNetFromONNX(str(path))
    reader.setInput(probe.numpy())
    with torch.no_grad():
        apart = np.abs(reader.forward() - model(probe).numpy()).max()
    assert apart < 1e-3, f"the exported network differs by {apart}"

    facts = metadata(name, model)
    path.with_suffix(".json").write_text(as_json(facts), encoding="utf-8")
    print(name, path.stat().st_size, "bytes", sum(p.numel() for p in model.parameters()), "parameters", json.dumps(facts["accuracy"]), json.dumps(facts["watermarkFlips"]))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    for name in sys.argv[1:] or ["glyphs", "glyphs-hans"]:
        export(name)
