"""The twins in PyTorch, run by a Python that has it: for each line that comes in, ten steps; prints a step's ms."""

import sys
import time

import torch
from torch import nn


class CoordConv(nn.Module):
    def __init__(self, n_in: int, n_out: int, size: int, **options: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in + 2, n_out, size, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, height, width = x.shape
        grid_x = torch.linspace(-1, 1, width).expand(n, 1, height, width)
        grid_y = torch.linspace(-1, 1, height)[:, None].expand(n, 1, height, width)
        return self.conv(torch.cat([x, grid_x, grid_y], dim=1))


class Tile(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, None, None].expand(-1, -1, 64, 64)


def aistudio_coordconv() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),
        nn.Conv2d(64, 64, 3, stride=2), nn.ReLU(), CoordConv(64, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def coordinate_classification_coordconv() -> nn.Module:
    return nn.Sequential(
        Tile(), CoordConv(2, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 64, 1), nn.ReLU(),
        nn.Conv2d(64, 64, 1), nn.ReLU(), nn.Conv2d(64, 1, 1), nn.Flatten(),
    )  # fmt: skip


NETWORKS = {
    "aistudio_coordconv": (aistudio_coordconv, (3, 32, 32), 10),
    "coordinate_classification_coordconv": (coordinate_classification_coordconv, (2,), 4096),
}


def main(name: str, batch: int, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    build, shape, classes = NETWORKS[name]
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    inputs, targets = torch.rand(batch, *shape), torch.randint(0, classes, (batch,))
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            nn.functional.cross_entropy(network(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        print(1000 * (time.perf_counter() - start) / steps, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
