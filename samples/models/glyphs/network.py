"""A small MobileNet: inverted residuals with ReLU, global average pooling, one linear layer."""

import torch
from torch import nn


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, wide: int, stride: int = 1):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        widen = [*conv(inputs, wide, 1), nn.ReLU(inplace=True)] if wide != inputs else []
        self.body = nn.Sequential(*widen, *conv(wide, wide, 3, stride, groups=wide), nn.ReLU(inplace=True), *conv(wide, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.residual else self.body(x)


# inputs, outputs, widened to, stride; the picture is 64, 32, 16, 8 pixels wide after each stride
BLOCKS = [
    (16, 24, 16, 2),
    (24, 24, 72, 1),
    (24, 48, 96, 2),
    (48, 48, 192, 1),
    (48, 48, 192, 1),
    (48, 96, 192, 2),
    (96, 96, 384, 1),
    (96, 96, 384, 1),
]
FEATURES = 256


def network(classes: int) -> nn.Sequential:
    return nn.Sequential(
        *conv(3, 16, 3, 2), nn.ReLU(inplace=True),
        *[InvertedResidual(*block) for block in BLOCKS],
        *conv(96, FEATURES, 1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(FEATURES, classes),
    )
