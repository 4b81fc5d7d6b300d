"""Training steps of ``gpu.py``: a small convolutional network and a small GPT, eager and captured, against PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import lamina
import torch
from gpu import Lab


def network(lib: Any, lab: Lab) -> Any:
    nn, width = lib.nn, lab.size(1024)  # 16
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (7 if not lab.dry else 2) ** 2, 10),
    )


def transformer(lib: Any, lab: Lab) -> Any:
    nn = lib.nn
    width, heads, layers, vocabulary = lab.size(256), 4, 1 if lab.dry else 4, lab.size(512)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):  # (B, T, C)
            batch, time, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(batch, time, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, C / heads)
            x = x + self.out(y.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))

    return nn.Sequential(
        nn.Embedding(vocabulary, width), *(Block() for _ in range(layers)), nn.Linear(width, vocabulary)
    )


def images(lib: Any, lab: Lab) -> tuple:
    batch, side = (2, 8) if lab.dry else (64, 28)
    return lib.randn(batch, 1, side, side), lib.randint(0, 10, (batch,))


def tokens(lib: Any, lab: Lab) -> tuple:
    batch, time = (1, 8) if lab.dry else (16, 128)
    return lib.randint(0, lab.size(512), (batch, time)), lib.randint(0, lab.size(512), (batch * time,))


def training_step(lib: Any, lab: Lab, make: Callable, data: Callable) -> Callable[[], Any]:
    """Forward, backward, clipping and AdamW on one batch; returns the loss."""
    device = "cuda" if lib is lamina else lab.torch_device
    lib.manual_seed(0)
    model = make(lib, lab).to(device)
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3)
    x, target = (t.to(device) for t in data(lib, lab))

    def step():
        optimizer.zero_grad()
        y = model(x)
        loss = lib.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), target)
        loss.backward()
        lib.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    return step


def main(lab: Lab) -> int:
    for name, make, data, aims in (
        ("MNIST network, batch 64", network, images, {"captured": 3.0}),
        ("GPT, 16 x 128", transformer, tokens, {}),
    ):
        theirs = lab.median_ms(torch, training_step(torch, lab, make, data))
        for kind in ("eager", "captured"):
            try:
                step = training_step(lamina, lab, make, data)
                run = lamina.cuda.graph(step) if kind == "captured" else step
                before = step().item() if kind == "eager" else run().item()
                ms = lab.median_ms(lamina, run)
                after = run().item()
                aim = {"aim": aims[kind], "of": "ratio"} if kind in aims else {}
                lab.add(f"{name}, {kind}", ms=ms, torch_eager_ms=theirs, ratio=theirs / ms, loss=[before, after], **aim)
            except Exception as error:
                lab.fail(f"{name}, {kind}", error)
            gc.collect()
    return int(any("error" in row for row in lab.rows))
