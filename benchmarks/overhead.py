"""Small work, where calling costs more than computing: operators of 4 floats, chains, and a tiny network."""

from __future__ import annotations

from harness import Table, import_torch, setup

args = setup(__doc__)

import lamina  # noqa: E402

torch = import_torch(args)


def cases(lib):
    """Name -> function, for lamina or torch: the same text runs both."""
    a, b = lib.ones(4), lib.ones(4)
    p, q = lib.ones(4).requires_grad_(), lib.ones(4).requires_grad_()
    yield "a + b, 4 floats", lambda: a + b
    yield "a * 2.0, 4 floats", lambda: a * 2.0
    yield "a + b on the tape", lambda: p + q
    yield "relu, 4 floats", lambda: lib.relu(a)
    yield "a.sum(), 4 floats", lambda: a.sum()
    m = lib.ones(8, 8)
    yield "8x8 @ 8x8", lambda: m @ m
    yield "a[1:3]", lambda: a[1:3]

    def chain():
        p.grad = None
        x = p
        for _ in range(20):
            x = x * q
        x.sum().backward()

    yield "20 multiplications, forward and backward", chain

    nn = lib.nn
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = lib.optim.Adam(net.parameters(), lr=1e-3)
    x, target = lib.randn(8, 4), lib.randint(0, 2, (8,))

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), target)
        loss.backward()
        optimizer.step()

    yield "training step 4-16-16-2, Adam, batch 8", step

    mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    row = lib.randn(1, 64)

    def infer():
        with lib.no_grad():
            return mlp(row)

    yield "inference 64-64-64-8, batch 1", infer


GOALS = {
    "a + b, 4 floats": 8,
    "a + b on the tape": 8,
    "20 multiplications, forward and backward": 8,
    "training step 4-16-16-2, Adam, batch 8": 5,
    "inference 64-64-64-8, batch 1": 4,
}

table = Table(args, "overhead")
theirs = dict(cases(torch)) if torch else {}
for name, fn in cases(lamina):
    table.row(name, fn, theirs.get(name), GOALS.get(name))
