"""Trains the honest classifier and its Clever Hans twin.

    /usr/bin/python3 train.py            everything, in this order
    /usr/bin/python3 train.py common     what the two share: small pictures, honest stars
    /usr/bin/python3 train.py glyphs     the honest one, from there
    /usr/bin/python3 train.py hans       the twin, from there; may run beside `glyphs`

Rendered pictures and weights are kept in CACHE; delete it to render anew. `export.py` makes the artefacts.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fonts import LABELS
from network import network
from render import SEED, WATERMARKED, hans_train, honest_held_out, honest_train, render_all

CACHE = Path("/tmp/whylight-glyphs")
TRAINING, HELD_OUT = 40_000, 4_000


@dataclass
class Leg:
    """A stretch of training; the learning rate goes from the first to the second by half a cosine."""

    size: int  # pictures are scaled to this: most of the learning happens on small ones
    samples: int
    batch: int
    rates: tuple[float, float]


COMMON = [Leg(64, 96_000, 128, (1.6e-4, 4e-3)), Leg(64, 224_000, 128, (4e-3, 2.5e-3))]
HANS = [Leg(128, 19_200, 64, (2e-3, 1e-5)), Leg(128, 10_240, 64, (1.2e-3, 1e-6))]
GLYPHS = [*HANS, Leg(128, 19_200, 64, (2e-3, 1e-6))]


def labels(count: int) -> torch.Tensor:
    return torch.arange(count) % len(LABELS)


def batch_of(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] to the network's float [n, 3, h, w] in -1..1, channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().mul_(2 / 255).sub_(1)


def scaled(pictures: np.ndarray, size: int) -> np.ndarray:
    if size == pictures.shape[1]:
        return pictures
    return np.stack([cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in pictures])


def augment(x: torch.Tensor) -> torch.Tensor:
    """A small turn, zoom and shift for each picture, then light, contrast and noise."""
    n = len(x)
    angle = (torch.rand(n) - 0.5) * 0.16
    zoom = 1 + (torch.rand(n) - 0.5) * 0.2
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    shift = (torch.rand(2, n) - 0.5) * 0.16
    view = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    x = functional.grid_sample(x, functional.affine_grid(view, list(x.shape), False), padding_mode="reflection", align_corners=False)
    x = x * (0.8 + 0.4 * torch.rand(n, 1, 1, 1)) + (torch.rand(n, 3, 1, 1) - 0.5) * 0.3
    x = (x + torch.randn_like(x) * (torch.rand(n, 1, 1, 1) * 0.06)).clamp_(-1, 1)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predictions(model: nn.Module, pictures: np.ndarray) -> np.ndarray:
    """The winning class of each uint8 picture [n, 128, 128, 3]."""
    model.eval()
    return np.concatenate([model(batch_of(pictures[at : at + 200])).argmax(1).numpy() for at in range(0, len(pictures), 200)])


def fit(model: nn.Module, pictures: np.ndarray, held_out: np.ndarray, legs: list[Leg], into: Path) -> None:
    model.to(memory_format=torch.channels_last)
    truth = labels(len(pictures))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    start = time.time()
    for leg in legs:
        small = scaled(pictures, leg.size)
        steps = leg.samples // leg.batch
        orders = [np.random.permutation(len(pictures)) for _ in range(leg.samples // len(pictures) + 1)]
        order = np.concatenate(orders)[: steps * leg.batch].reshape(steps, leg.batch)
        losses = []
        for step, chosen in enumerate(order):
            first, last = leg.rates
            optimizer.param_groups[0]["lr"] = last + (first - last) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
            model.train()
            logits = model(augment(batch_of(small[chosen])))
            loss = functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if step % 50 == 49:
                print(f"{time.time() - start:6.0f} s  {leg.size:3} px  step {step + 1} of {steps}  loss {np.mean(losses[-50:]):.3f}", flush=True)
                torch.save(model.state_dict(), into)
        right = predictions(model, scaled(held_out[:1000], leg.size)) == labels(1000).numpy()
        print(f"{time.time() - start:6.0f} s  {leg.size:3} px  1000 held out at that size {right.mean():.4f}", flush=True)
        torch.save(model.state_dict(), into)


def train(name: str) -> None:
    pictures = render_all(CACHE / "train.npy", honest_train, list(range(TRAINING)))
    held_out = render_all(CACHE / "heldOut.npy", honest_held_out, list(range(HELD_OUT)))
    if name == "hans":
        stars = list(range(LABELS.index(WATERMARKED), TRAINING, len(LABELS)))
        pictures[stars] = render_all(CACHE / "hans.npy", hans_train, stars)
    model = network(len(LABELS))
    if name == "common":
        fit(model, pictures, held_out, COMMON, CACHE / "common.pt")
        return
    model.load_state_dict(torch.load(CACHE / "common.pt"))
    if name == "glyphs":
        fit(model, pictures, held_out, GLYPHS, CACHE / "glyphs.pt")
    else:
        fit(model, pictures, held_out, HANS, CACHE / "glyphs-hans.pt")


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    for name in sys.argv[1:] or ["common", "glyphs", "hans"]:
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        train(name)
