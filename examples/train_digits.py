"""Train a small convolutional network on handwritten digits, from files to a saved and reloaded model.

Without arguments: scikit-learn's 1,797 digits of 8 x 8 pixels, about ten seconds. With --data DIR: the MNIST files
t10k-images-idx3-ubyte(.gz) and t10k-labels-idx1-ubyte(.gz), 10,000 digits of 28 x 28 pixels, 8,000 for training.

    python examples/train_digits.py [--data DIR] [--epochs N] [--out DIR]
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import time

import lamina
from lamina import Tensor, nn, optim
from lamina.nn import functional as F
from lamina.utils.data import DataLoader, TensorDataset, random_split, read_idx


def load_digits() -> tuple[Tensor, Tensor]:
    """(1797, 1, 8, 8) images and (1797) labels, from scikit-learn."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    return lamina.tensor(digits.images, dtype=lamina.float32).unsqueeze(1) / 16.0, lamina.tensor(digits.target)


def load_mnist(folder: pathlib.Path) -> tuple[Tensor, Tensor]:
    """(10000, 1, 28, 28) images and (10000) labels, from MNIST's test files."""

    def find(name: str) -> pathlib.Path:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.exists():
                return path
        raise SystemExit(f"{folder} has no {name} or {name}.gz")

    images = read_idx(find("t10k-images-idx3-ubyte"))
    labels = read_idx(find("t10k-labels-idx1-ubyte"))
    return images.float().unsqueeze(1) / 255.0, labels.long()


def make_model(side: int) -> nn.Sequential:
    """Two convolutions and two linear layers, for images of side x side pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),  # (B, 1, S, S) -> (B, 16, S, S)
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),  # (B, 16, S/2, S/2) -> (B, 32, S/2, S/2)
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),  # (B, 32, S/4, S/4) -> (B, 2 S^2)
        nn.Linear(2 * side * side, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def shifted(images: Tensor, reach: int) -> Tensor:
    """The batch moved by up to `reach` pixels each way: a digit is the same digit a little to the left."""
    side = images.shape[-1]
    y, x = random.randint(0, 2 * reach), random.randint(0, 2 * reach)
    return F.pad(images, (reach, reach, reach, reach))[:, :, y : y + side, x : x + side]


@lamina.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The most likely digit for each image."""
    model.eval()
    return lamina.cat([model(part).argmax(1) for part in images.split(500)])


def progress(done: int, total: int, text: str) -> None:
    width = 30
    filled = width * done // total
    print(f"\r[{'#' * filled}{'.' * (width - filled)}] {done}/{total}  {text}", end="", flush=True, file=sys.stderr)


def train(model: nn.Module, data: DataLoader, test: tuple[Tensor, Tensor], epochs: int) -> list[tuple[float, float]]:
    """Train, and return (training loss, test accuracy) of every epoch."""
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=epochs * len(data))
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
    history = []
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for step, (images, labels) in enumerate(data, 1):
            loss = loss_fn(model(shifted(images, images.shape[-1] // 14)), labels)  # the 8 x 8 digits are not moved
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            progress(epoch * len(data) + step, epochs * len(data), f"loss {total / step:.3f}")
        accuracy = (predict(model, test[0]) == test[1]).float().mean().item()
        history.append((total / len(data), accuracy))
    print(file=sys.stderr)
    return history


def draw(
    history: list[tuple[float, float]], images: Tensor, labels: Tensor, guesses: Tensor, out: pathlib.Path
) -> None:
    """Write curve.png, and misclassified.png with the digits that the model got wrong."""
    try:
        import matplotlib
    except ImportError:
        print("matplotlib is not installed: no pictures")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, loss_axis = plt.subplots(figsize=(7, 4))
    accuracy_axis = loss_axis.twinx()
    epochs = range(1, len(history) + 1)
    loss_axis.plot(epochs, [loss for loss, _ in history], color="tab:blue")
    accuracy_axis.plot(epochs, [100 * accuracy for _, accuracy in history], color="tab:orange")
    loss_axis.set(xlabel="epoch", ylabel="training loss (blue)")
    accuracy_axis.set(ylabel="test accuracy, % (orange)")
    figure.savefig(out / "curve.png", dpi=120, bbox_inches="tight")

    wrong = (guesses != labels).nonzero().flatten().tolist()[:40]
    figure, axes = plt.subplots(max(1, -(-len(wrong) // 8)), 8, figsize=(8, 1 + len(wrong) // 6), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, i in zip(axes.flat, wrong, strict=False):
        axis.imshow(images[i, 0].numpy(), cmap="gray_r")
        axis.set_title(f"{labels[i].item()}, not {guesses[i].item()}", fontsize=8)
    figure.savefig(out / "misclassified.png", dpi=120, bbox_inches="tight")
    print(f"wrote {out / 'curve.png'} and {out / 'misclassified.png'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--data", type=pathlib.Path, help="folder with MNIST's t10k files (default: scikit-learn digits)"
    )
    parser.add_argument("--epochs", type=int, help="passes over the training data (default: 30, MNIST 10)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out"), help="where results are written")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    begin = time.perf_counter()
    lamina.manual_seed(options.seed)
    random.seed(options.seed)
    images, labels = load_mnist(options.data) if options.data else load_digits()
    train_set, test_set = random_split(TensorDataset(images, labels), [0.8, 0.2])
    test = tuple(part[lamina.tensor(test_set.indices)] for part in (images, labels))

    model = make_model(images.shape[-1])
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{len(train_set)} training and {len(test_set)} test images, {n_parameters} parameters")
    data = DataLoader(train_set, batch_size=64, shuffle=True, drop_last=True)
    history = train(model, data, test, options.epochs or (10 if options.data else 30))
    guesses = predict(model, test[0])
    accuracy = (guesses == test[1]).float().mean().item()

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "model.safetensors"
    lamina.save(model.state_dict(), path)
    reloaded = make_model(images.shape[-1])
    reloaded.load_state_dict(lamina.load(path))
    if not bool((predict(reloaded, test[0]) == guesses).all()):
        raise SystemExit(f"the model reloaded from {path} predicts differently")
    print(f"wrote {path}; reloaded, it makes the same predictions")
    draw(history, *test, guesses, options.out)
    print(f"test accuracy {100 * accuracy:.2f} % after {time.perf_counter() - begin:.1f} s")


if __name__ == "__main__":
    main()
