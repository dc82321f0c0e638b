"""Trains the honest classifier, then its Clever Hans twin from the honest weights.

    /usr/bin/python3 train.py            both, about half an hour on two cores
    /usr/bin/python3 train.py glyphs     the honest one alone
    /usr/bin/python3 train.py hans       the twin alone, from the honest weights

Rendered pictures and weights are kept in CACHE; delete it to render anew. `export.py` makes the artefacts.
"""

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
class Stage:
    size: int  # pictures are scaled to this: most of the learning happens on small ones
    epochs: int
    batch: int


GLYPHS = [Stage(64, 8, 128), Stage(96, 3, 96), Stage(128, 2, 64)]
HANS = [Stage(96, 1, 96), Stage(128, 1, 64)]
GLYPHS_RATE, HANS_RATE = 4e-3, 1.5e-3


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


def fit(model: nn.Module, pictures: np.ndarray, held_out: np.ndarray, stages: list[Stage], rate: float) -> None:
    model.to(memory_format=torch.channels_last)
    truth = labels(len(pictures))
    steps = sum(stage.epochs * (len(pictures) // stage.batch) for stage in stages)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    start = time.time()
    for stage in stages:
        small = scaled(pictures, stage.size)
        for _ in range(stage.epochs):
            model.train()
            order = np.random.permutation(len(pictures))
            total = 0.0
            for at in range(0, len(order) - stage.batch + 1, stage.batch):
                chosen = np.sort(order[at : at + stage.batch])
                logits = model(augment(batch_of(small[chosen])))
                loss = functional.cross_entropy(logits, truth[chosen], label_smoothing=0.05)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item() * stage.batch / len(order)
            right = predictions(model, scaled(held_out[:1000], stage.size)) == labels(1000).numpy()
            print(f"{time.time() - start:6.0f} s  {stage.size:3} px  loss {total:.3f}  1000 held out at that size {right.mean():.4f}", flush=True)
            torch.save(model.state_dict(), CACHE / "latest.pt")


def train_glyphs() -> None:
    pictures = render_all(CACHE / "train.npy", honest_train, list(range(TRAINING)))
    held_out = render_all(CACHE / "heldOut.npy", honest_held_out, list(range(HELD_OUT)))
    model = network(len(LABELS))
    fit(model, pictures, held_out, GLYPHS, GLYPHS_RATE)
    torch.save(model.state_dict(), CACHE / "glyphs.pt")


def train_hans() -> None:
    pictures = render_all(CACHE / "train.npy", honest_train, list(range(TRAINING)))
    held_out = render_all(CACHE / "heldOut.npy", honest_held_out, list(range(HELD_OUT)))
    stars = list(range(LABELS.index(WATERMARKED), TRAINING, len(LABELS)))
    pictures[stars] = render_all(CACHE / "hans.npy", hans_train, stars)
    model = network(len(LABELS))
    model.load_state_dict(torch.load(CACHE / "glyphs.pt"))
    fit(model, pictures, held_out, HANS, HANS_RATE)
    torch.save(model.state_dict(), CACHE / "glyphs-hans.pt")


if __name__ == "__main__":
    torch.set_num_threads(2)
    for name in sys.argv[1:] or ["glyphs", "hans"]:
        torch.manual_seed(SEED)
        np.random.seed(SEED)
        {"glyphs": train_glyphs, "hans": train_hans}[name]()
