"""Whole training runs: the same bits for any number of threads, flat memory over many steps, a falling loss."""

import subprocess
import sys

import lamina
from lamina import nn


def conv_run(threads: int, steps: int = 50) -> tuple[list[float], list[bytes]]:
    """Losses, and the bytes of all parameters and buffers after ``steps`` of a small convolutional network."""
    lamina.set_num_threads(threads)
    lamina.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),  # (B,1,12,12) -> (B,8,12,12)
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B,8,6,6)
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(8 * 6 * 6, 4),
    )
    optimizer = lamina.optim.Adam(model.parameters(), lr=0.01)
    x = lamina.randn(32, 1, 12, 12)
    y = lamina.randint(0, 4, (32,))
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, [value.numpy().tobytes() for value in model.state_dict().values()]


def test_training_is_bitwise_equal_for_any_number_of_threads():
    before = lamina.get_num_threads()
    try:
        losses, values = conv_run(threads=1)
        assert losses[-1] < 0.5 * losses[0]
        for threads in (2, 5):
            assert conv_run(threads) == (losses, values), f"{threads} threads differ from one"
    finally:
        lamina.set_num_threads(before)


# In a process of its own, so that the resident memory is that of the training alone.
MANY_STEPS = """
import resource

import lamina
from lamina import nn

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

lamina.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
optimizer = lamina.optim.Adam(model.parameters(), lr=0.01)
x = lamina.randn(8, 4)
y = lamina.randn(8, 2)
losses, live, memory = [], [], []
for step in range(1, 10_001):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    if step in (1, 2_000, 10_000):
        losses.append(loss.item())
        live.append(lamina.memory_stats()["allocated"])
        memory.append(resident())
print(*losses, *live[1:], *memory[1:])
"""


def test_ten_thousand_steps_keep_memory_flat():
    run = subprocess.run([sys.executable, "-c", MANY_STEPS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, middle, last, live_before, live_after, before, after = map(float, run.stdout.split())
    assert max(middle, last) < 0.01 * first
    assert live_after == live_before
    assert after - before <= 256 * 1024, f"resident memory grew by {after - before:.0f} bytes in 8,000 steps"
