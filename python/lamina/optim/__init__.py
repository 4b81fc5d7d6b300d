"""optim: optimizers and learning-rate schedules under PyTorch's names. Read optimizer.py first, then sgd.py."""

from lamina.optim import lr_scheduler
from lamina.optim.adam import Adam, AdamW
from lamina.optim.composed import Adadelta, Adagrad, Adamax, NAdam, RAdam, Rprop
from lamina.optim.optimizer import Optimizer
from lamina.optim.rmsprop import RMSprop
from lamina.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
