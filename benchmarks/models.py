"""Steps of small models: the convolutional network of examples/train_digits.py on MNIST-sized batches of 64."""

from __future__ import annotations

from harness import Table, import_torch, setup

args = setup(__doc__)

import lamina  # noqa: E402

torch = import_torch(args)


def digits_network(lib):
    """The example's network for 28 x 28 pixels."""
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * 28 * 28, 64),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(64, 10),
    )


def training_step(lib):
    lib.manual_seed(0)
    model = digits_network(lib)
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-3)
    x, target = lib.randn(64, 1, 28, 28), lib.randint(0, 10, (64,))

    def step():
        optimizer.zero_grad()
        lib.nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()

    return step


def inference(lib):
    model = digits_network(lib)
    model.eval()
    x = lib.randn(64, 1, 28, 28)

    def run():
        with lib.no_grad():
            return model(x)

    return run


table = Table(args, "models")
table.row(
    "digits network, training step, batch 64", training_step(lamina), training_step(torch) if torch else None, goal=1
)
table.row("digits network, inference, batch 64", inference(lamina), inference(torch) if torch else None)
