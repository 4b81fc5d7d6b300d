"""Layers, losses, optimizers and schedules against PyTorch: same parameters, same inputs, same numbers."""

import lamina
import numpy as np
import pytest
import torch

torch.manual_seed(0)
TORCH_VERSION = tuple(int(part) for part in torch.__version__.split(".")[:2])


def to_lamina(value):
    if isinstance(value, torch.Tensor):
        return lamina.tensor(value.detach().numpy())
    if isinstance(value, (tuple, list)):
        return type(value)(to_lamina(v) for v in value)
    return value


def assert_close(ours, theirs, rtol=2e-5, atol=2e-5, what=""):
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, rtol, atol, what)
        return
    theirs = theirs.detach().numpy()
    ours = ours.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype, what
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=what)


def rand(*shape):
    return torch.randn(*shape)


def positive(*shape):
    return torch.rand(*shape) + 0.1


def indices(high, *shape):
    return torch.randint(0, high, shape)


def signs(*shape):
    return torch.randint(0, 2, shape) * 2.0 - 1.0


IMAGE = (2, 4, 7, 6)
SIGNAL = (2, 4, 9)
VOLUME = (2, 4, 5, 6, 5)

# (class name, positional arguments, keyword arguments, inputs)
LAYERS = [
    ("Identity", (), {}, [rand(3, 4)]),
    ("Linear", (4, 3), {}, [rand(2, 5, 4)]),
    ("Linear", (4, 3), {"bias": False}, [rand(4)]),
    ("Bilinear", (3, 4, 5), {}, [rand(2, 6, 3), rand(2, 6, 4)]),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [rand(*SIGNAL)]),
    ("Conv1d", (4, 6, 3), {"padding": "same", "padding_mode": "circular"}, [rand(*SIGNAL)]),
    ("Conv2d", (4, 6, 3), {}, [rand(*IMAGE)]),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}, [rand(*IMAGE)]),
    ("Conv2d", (4, 4, 3), {"padding": "same", "groups": 4, "bias": False}, [rand(*IMAGE)]),
    ("Conv2d", (4, 6, 3), {"padding": "valid"}, [rand(*IMAGE)]),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, [rand(*IMAGE)]),
    ("Conv2d", (4, 6, 3), {"padding": (2, 1), "padding_mode": "replicate"}, [rand(*IMAGE)]),
    ("Conv3d", (4, 6, 3), {"padding": 1}, [rand(*VOLUME)]),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, [rand(*SIGNAL)]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, [rand(*IMAGE)]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 3}, [rand(*IMAGE), [22, 19]]),
    ("ConvTranspose3d", (4, 6, 2), {"dilation": 2}, [rand(*VOLUME)]),
    ("BatchNorm1d", (4,), {}, [rand(6, 4)]),
    ("BatchNorm1d", (4,), {"momentum": None}, [rand(*SIGNAL)]),
    ("BatchNorm2d", (4,), {"momentum": 0.3, "eps": 1e-3}, [rand(*IMAGE)]),
    ("BatchNorm2d", (4,), {"affine": False}, [rand(*IMAGE)]),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, [rand(*IMAGE)]),
    ("BatchNorm3d", (4,), {}, [rand(*VOLUME)]),
    ("InstanceNorm1d", (4,), {}, [rand(*SIGNAL)]),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, [rand(*IMAGE)]),
    ("InstanceNorm2d", (4,), {}, [rand(4, 7, 6)]),
    ("InstanceNorm3d", (4,), {}, [rand(*VOLUME)]),
    ("LayerNorm", (6,), {}, [rand(*IMAGE)]),
    ("LayerNorm", ([7, 6],), {"bias": False}, [rand(*IMAGE)]),
    ("LayerNorm", (6,), {"elementwise_affine": False, "eps": 1e-3}, [rand(*IMAGE)]),
    ("GroupNorm", (2, 4), {}, [rand(*IMAGE)]),
    ("RMSNorm", (6,), {}, [rand(*IMAGE)]),
    ("RMSNorm", ([7, 6],), {"eps": 1e-3}, [rand(*IMAGE)]),
    ("Dropout", (0.0,), {}, [rand(3, 4)]),
    ("Embedding", (9, 3), {"padding_idx": 2}, [indices(9, 4, 5)]),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, [rand(*SIGNAL)]),
    ("MaxPool2d", (2,), {}, [rand(*IMAGE)]),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True, "dilation": (1, 2)}, [rand(*IMAGE)]),
    ("MaxPool3d", (2,), {}, [rand(*VOLUME)]),
    ("AvgPool1d", (3,), {"stride": 2, "padding": 1}, [rand(*SIGNAL)]),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, [rand(*IMAGE)]),
    ("AvgPool2d", (2,), {"divisor_override": 3}, [rand(*IMAGE)]),
    ("AvgPool2d", (3,), {"stride": 2, "ceil_mode": True}, [rand(*IMAGE)]),
    ("AvgPool3d", (2,), {}, [rand(*VOLUME)]),
    ("AdaptiveAvgPool1d", (4,), {}, [rand(*SIGNAL)]),
    ("AdaptiveAvgPool2d", (1,), {}, [rand(*IMAGE)]),
    ("AdaptiveAvgPool2d", ((3, None),), {}, [rand(*IMAGE)]),
    ("AdaptiveAvgPool3d", (2,), {}, [rand(*VOLUME)]),
    ("AdaptiveMaxPool1d", (4,), {}, [rand(*SIGNAL)]),
    ("AdaptiveMaxPool2d", ((3, 4),), {}, [rand(*IMAGE)]),
    ("AdaptiveMaxPool3d", (2,), {}, [rand(*VOLUME)]),
    ("Flatten", (), {}, [rand(*IMAGE)]),
    ("Flatten", (0, 1), {}, [rand(*IMAGE)]),
    ("Unflatten", (1, (2, 2)), {}, [rand(*IMAGE)]),
    ("Upsample", (), {"scale_factor": 2}, [rand(*IMAGE)]),
    ("Upsample", ((5, 9),), {"mode": "bilinear"}, [rand(*IMAGE)]),
    ("Upsample", ((5, 9),), {"mode": "bilinear", "align_corners": True}, [rand(*IMAGE)]),
    ("Upsample", (), {"scale_factor": 1.5, "mode": "linear"}, [rand(*SIGNAL)]),
    ("PixelShuffle", (2,), {}, [rand(*IMAGE)]),
    ("PixelUnshuffle", (2,), {}, [rand(2, 3, 4, 6)]),
    ("ZeroPad2d", ((1, 0, 2, 1),), {}, [rand(*IMAGE)]),
    ("ConstantPad1d", (2, 3.5), {}, [rand(*SIGNAL)]),
    ("ReflectionPad2d", (2,), {}, [rand(*IMAGE)]),
    ("ReplicationPad3d", (1,), {}, [rand(*VOLUME)]),
    ("CircularPad2d", ((1, 2, 0, 3),), {}, [rand(*IMAGE)]),
    *[(name, (), {}, [3 * rand(4, 5)]) for name in (
        "Sigmoid", "Tanh", "Softsign", "LogSigmoid", "Tanhshrink", "ReLU", "ReLU6", "SELU", "SiLU", "Mish",
        "Hardswish", "Hardsigmoid", "LeakyReLU", "ELU", "CELU", "GELU", "Softplus", "Hardtanh", "Softshrink",
        "Hardshrink", "PReLU",
    )],
    ("LeakyReLU", (0.3,), {}, [rand(4, 5)]),
    ("ELU", (0.7,), {}, [rand(4, 5)]),
    ("CELU", (0.7,), {}, [rand(4, 5)]),
    ("GELU", (), {"approximate": "tanh"}, [rand(4, 5)]),
    ("Softplus", (2.0, 1.0), {}, [rand(4, 5)]),
    ("Hardtanh", (-0.5, 0.25), {}, [rand(4, 5)]),
    ("Threshold", (0.1, 20.0), {}, [rand(4, 5)]),
    ("PReLU", (4,), {}, [rand(*IMAGE)]),
    ("GLU", (), {}, [rand(3, 6)]),
    ("Softmax", (1,), {}, [rand(3, 6)]),
    ("LogSoftmax", (0,), {}, [rand(3, 6)]),
    ("Softmin", (-1,), {}, [rand(3, 6)]),
    ("Softmax2d", (), {}, [rand(*IMAGE)]),
    ("MSELoss", (), {}, [rand(3, 4), rand(3, 4)]),
    ("MSELoss", (), {"reduction": "sum"}, [rand(3, 4), rand(3, 4)]),
    ("L1Loss", (), {"reduction": "none"}, [rand(3, 4), rand(3, 4)]),
    ("SmoothL1Loss", (), {"beta": 0.5}, [rand(3, 4), rand(3, 4)]),
    ("HuberLoss", (), {"delta": 0.5}, [rand(3, 4), rand(3, 4)]),
    ("CrossEntropyLoss", (), {}, [rand(6, 5), indices(5, 6)]),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.1, "ignore_index": 3}, [rand(6, 5), indices(5, 6)]),
    ("CrossEntropyLoss", (), {"reduction": "sum"}, [rand(2, 5, 3), indices(5, 2, 3)]),
    ("CrossEntropyLoss", (), {}, [rand(6, 5), rand(6, 5).softmax(1)]),
    ("NLLLoss", (), {"ignore_index": 2}, [rand(6, 5).log_softmax(1), indices(5, 6)]),
    ("BCELoss", (), {}, [torch.rand(3, 4), torch.rand(3, 4)]),
    ("BCEWithLogitsLoss", (), {}, [rand(3, 4), torch.rand(3, 4)]),
    ("KLDivLoss", (), {"reduction": "batchmean"}, [rand(3, 4).log_softmax(1), rand(3, 4).softmax(1)]),
    ("KLDivLoss", (), {"reduction": "sum", "log_target": True}, [rand(3, 4), rand(3, 4).log_softmax(1)]),
    ("PoissonNLLLoss", (), {"full": True}, [rand(3, 4), 4 * torch.rand(3, 4)]),
    ("PoissonNLLLoss", (), {"log_input": False}, [positive(3, 4), positive(3, 4)]),
    ("GaussianNLLLoss", (), {"full": True}, [rand(3, 4), rand(3, 4), positive(3, 4)]),
    ("SoftMarginLoss", (), {}, [rand(3, 4), signs(3, 4)]),
    ("HingeEmbeddingLoss", (), {"margin": 0.7}, [rand(3, 4), signs(3, 4)]),
    ("MarginRankingLoss", (0.2,), {}, [rand(6), rand(6), signs(6)]),
    ("CosineEmbeddingLoss", (0.1,), {}, [rand(5, 4), rand(5, 4), signs(5)]),
    ("TripletMarginLoss", (), {"swap": True}, [rand(5, 4), rand(5, 4), rand(5, 4)]),
    ("TripletMarginLoss", (), {"p": 1.0, "reduction": "none"}, [rand(5, 4), rand(5, 4), rand(5, 4)]),
]  # fmt: skip


def layer_id(case):
    name, args, kwargs, _ = case
    return f"{name}({', '.join([*map(str, args), *(f'{k}={v}' for k, v in kwargs.items())])})"


@pytest.mark.parametrize("case", LAYERS, ids=layer_id)
def test_layer(case):
    name, args, kwargs, inputs = case
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(lamina.nn, name)(*args, **kwargs)
    if TORCH_VERSION >= (2, 13):  # older ones do not show the bias of normalizations
        assert repr(ours) == repr(theirs)
    state = {key: to_lamina(value) for key, value in theirs.state_dict().items()}
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    for training in (True, False):
        ours.train(training), theirs.train(training)
        xs = [x.clone().requires_grad_(x.is_floating_point()) if torch.is_tensor(x) else x for x in inputs]
        us = [u.requires_grad_(u.is_floating_point()) if isinstance(u, lamina.Tensor) else u for u in to_lamina(inputs)]
        if name.endswith("Loss"):  # targets need no gradient
            for x, u in zip(xs[1:], us[1:], strict=True):
                x.requires_grad_(False), u.requires_grad_(False)
        y, z = theirs(*xs), ours(*us)
        assert_close(z, y, what="output")
        if not y.requires_grad:
            continue
        seed = torch.randn_like(y)
        for p in (*theirs.parameters(), *ours.parameters()):
            p.grad = None
        y.backward(seed)
        z.backward(to_lamina(seed))
        for i, (x, u) in enumerate(zip(xs, us, strict=True)):
            if torch.is_tensor(x) and x.grad is not None:
                assert_close(u.grad, x.grad, what=f"gradient of input {i}")
        for (key, p), q in zip(theirs.named_parameters(), ours.parameters(), strict=True):
            assert_close(q.grad, p.grad, 1e-4, 1e-4, what=f"gradient of {key}")
    for key, value in theirs.state_dict().items():  # running statistics
        assert_close(ours.state_dict()[key], value, what=key)


def test_weighted_losses():
    x, t, w = rand(6, 5), indices(5, 6), positive(5)
    assert_close(
        lamina.nn.CrossEntropyLoss(to_lamina(w))(to_lamina(x), to_lamina(t)), torch.nn.CrossEntropyLoss(w)(x, t)
    )
    probabilities = rand(6, 5).softmax(1)
    assert_close(
        lamina.nn.CrossEntropyLoss(to_lamina(w), label_smoothing=0.2)(to_lamina(x), to_lamina(probabilities)),
        torch.nn.CrossEntropyLoss(w, label_smoothing=0.2)(x, probabilities),
    )
    target = torch.rand(6, 5)
    assert_close(
        lamina.nn.BCEWithLogitsLoss(pos_weight=to_lamina(w))(to_lamina(x), to_lamina(target)),
        torch.nn.BCEWithLogitsLoss(pos_weight=w)(x, target),
    )


def test_functions():
    F, G = lamina.nn.functional, torch.nn.functional
    a, b = rand(5, 4), rand(5, 4)
    for name, args in [
        ("normalize", (a,)),
        ("normalize", (a, 1.0, 0)),
        ("cosine_similarity", (a, b)),
        ("pairwise_distance", (a, b, 3.0)),
        ("one_hot", (indices(6, 3, 2), 6)),
        ("rrelu", (a,)),
        ("softmax", (a, 1)),
        ("dropout", (a, 0.5, False)),
        ("alpha_dropout", (a, 0.5, False)),
        ("interpolate", (rand(1, 2, 5, 4), None, 0.6)),
        ("pad", (rand(1, 2, 5), (1, 2), "reflect")),
    ]:
        assert_close(getattr(F, name)(*to_lamina(args)), getattr(G, name)(*args), what=name)


def test_initial_bounds_match():
    """Our random numbers differ; their spread must not, and biases stay within 1 / sqrt(fan_in)."""
    lamina.manual_seed(0)
    torch.manual_seed(0)
    for name, args, fan_in in [
        ("Linear", (64, 64), 64),
        ("Conv2d", (16, 16, 3), 144),
        ("Embedding", (64, 64), None),
        ("Bilinear", (16, 16, 16), 16),
    ]:
        ours, theirs = getattr(lamina.nn, name)(*args), getattr(torch.nn, name)(*args)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            p, q = p.detach().numpy(), q.detach().numpy()
            if p.size >= 1000:  # a bias has too few numbers to compare spreads
                assert abs(p.std() / q.std() - 1) < 0.1, name
            if fan_in is not None:
                assert abs(p).max() <= fan_in**-0.5 and abs(q).max() <= fan_in**-0.5, name


# ---- optimizers --------------------------------------------------------------------------------------------------

OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "amsgrad": True, "betas": (0.7, 0.9)}),
    ("Adam", {"lr": 0.1, "maximize": True, "eps": 1e-3}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2}),
    ("AdamW", {"lr": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1, "alpha": 0.8}),
    ("RMSprop", {"lr": 0.1, "centered": True, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.6), "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.1}),
]


def quadratic(params, matrices):
    return sum(((p @ m).sin() * p).sum() for p, m in zip(params, matrices, strict=True))


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizer(name, options, dtype):
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(3, n, generator=generator, dtype=getattr(torch, dtype)) for n in (2, 5)]
    matrices = [torch.randn(n, n, generator=generator, dtype=getattr(torch, dtype)) for n in (2, 5)]
    theirs = [s.clone().requires_grad_() for s in start]
    ours = [lamina.nn.Parameter(to_lamina(s)) for s in start]
    mine = to_lamina(matrices)
    t = getattr(torch.optim, name)([{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.05}], **options)
    u = getattr(lamina.optim, name)([{"params": ours[:1]}, {"params": ours[1:], "lr": 0.05}], **options)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-11}
    if name == "NAdam":  # PyTorch keeps the product of its momenta in float32
        tolerance = {"rtol": 1e-4, "atol": 1e-5}
    for step in range(12):
        for optimizer, params, ms in ((t, theirs, matrices), (u, ours, mine)):
            optimizer.zero_grad()
            used = 1 if step in (0, 4) else 2  # the second group sits out the first step and the fifth
            quadratic(params[:used], ms[:used]).backward()
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b, **tolerance, what=f"step {step}")


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_optimizer_continues_from_pytorch_state(name, options):
    start = torch.randn(4, 4, dtype=torch.float64)
    theirs, ours = start.clone().requires_grad_(), lamina.nn.Parameter(to_lamina(start))
    t, u = getattr(torch.optim, name)([theirs], **options), getattr(lamina.optim, name)([ours], **options)

    def run(optimizer, p, n):
        for _ in range(n):
            optimizer.zero_grad()
            (p.sin() * p).sum().backward()
            optimizer.step()

    run(t, theirs, 4)
    state = t.state_dict()
    state["state"] = {i: {k: to_lamina(v) for k, v in s.items()} for i, s in state["state"].items()}
    u.load_state_dict(state)
    with lamina.no_grad():
        ours.copy_(to_lamina(theirs))
    run(t, theirs, 4)
    run(u, ours, 4)
    assert_close(ours, theirs, *((1e-5, 1e-6) if name == "NAdam" else (1e-9, 1e-11)))


# ---- schedules ---------------------------------------------------------------------------------------------------

SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda e: 0.9**e}),
    ("MultiplicativeLR", {"lr_lambda": lambda e: 0.9 + 0.01 * e}),
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 9], "gamma": 0.3}),
    ("ConstantLR", {"factor": 0.4, "total_iters": 4}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.7, "total_iters": 6}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("PolynomialLR", {"total_iters": 7, "power": 2.0}),
    ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.01}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 21}),
    ("OneCycleLR", {"max_lr": [1.0, 2.0], "epochs": 3, "steps_per_epoch": 7, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 30, "three_phase": True, "div_factor": 10.0}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3, "step_size_down": 5, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9}),
]


def optimizers():
    options = {"lr": 0.4, "momentum": 0.9}
    theirs = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    ours = [lamina.nn.Parameter(lamina.zeros(1)) for _ in range(2)]
    build = lambda ps: [{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.2}]  # noqa: E731
    t, u = torch.optim.SGD(build(theirs), **options), lamina.optim.SGD(build(ours), **options)
    t.step()
    return t, u


def settings(optimizer):
    return [(group["lr"], group["momentum"]) for group in optimizer.param_groups]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=str)
def test_schedule(name, options):
    t, u = optimizers()
    theirs = getattr(torch.optim.lr_scheduler, name)(t, **options)
    ours = getattr(lamina.optim.lr_scheduler, name)(u, **options)
    for _ in range(20):
        np.testing.assert_allclose(settings(u), settings(t), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-9, atol=1e-12)
        theirs.step(), ours.step()


@pytest.mark.filterwarnings("ignore")
def test_combined_schedules():
    def chained(module, optimizer):
        return module.ChainedScheduler([module.ConstantLR(optimizer, 0.1, 3), module.ExponentialLR(optimizer, 0.9),
                                        module.CosineAnnealingLR(optimizer, 5)])  # fmt: skip

    def sequential(module, optimizer):
        parts = [
            module.LinearLR(optimizer, 0.1, 1.0, 4),
            module.StepLR(optimizer, 2),
            module.CosineAnnealingLR(optimizer, 5),
        ]
        return module.SequentialLR(optimizer, parts, [4, 9])

    for build in (chained, sequential):
        t, u = optimizers()
        theirs, ours = build(torch.optim.lr_scheduler, t), build(lamina.optim.lr_scheduler, u)
        for _ in range(16):
            np.testing.assert_allclose(settings(u), settings(t), rtol=1e-9)
            np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-9)
            theirs.step(), ours.step()


@pytest.mark.parametrize(
    "options", [{}, {"mode": "max", "threshold_mode": "abs", "cooldown": 2}, {"min_lr": [0.1, 0.01]}], ids=str
)
def test_plateau(options):
    t, u = optimizers()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(t, patience=1, factor=0.5, **options)
    ours = lamina.optim.lr_scheduler.ReduceLROnPlateau(u, patience=1, factor=0.5, **options)
    for metric in [5, 4, 4, 4, 4, 3, 3.5, 3, 3, 3, 3, 6, 7, 7, 7, 7, 7]:
        theirs.step(metric), ours.step(metric)
        np.testing.assert_allclose(settings(u), settings(t), rtol=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_embedding_options(p):
    table = np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32) * 2
    index = np.array([[0, 5, 2], [0, 0, 3]])
    results = []
    for library in (lamina, torch):
        layer = library.nn.Embedding.from_pretrained(
            library.tensor(table), freeze=False, padding_idx=5, max_norm=1.5, norm_type=p, scale_grad_by_freq=True
        )
        y = layer(library.tensor(index))
        y.square().sum().backward()
        results.append([t.detach().numpy() for t in (y, layer.weight, layer.weight.grad)])
        results[-1].append(repr(layer))
    for a, b in zip(results[0][:3], results[1][:3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert results[0][3] == results[1][3]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("norm_type", [2.0, 1.0, 0.5, 3.0, float("inf"), float("-inf")])
def test_gradient_clipping(dtype, norm_type):
    grads = [torch.randn(*shape).to(getattr(torch, dtype)) for shape in ((3, 4), (1000,), (1,), (70, 70))]
    for limit in (0.1, 1e6):
        theirs = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
        ours = [lamina.nn.Parameter(lamina.zeros(*g.shape, dtype=getattr(lamina, dtype))) for g in grads]
        for p, q, g in zip(theirs, ours, grads, strict=True):
            p.grad, q.grad = g.clone(), to_lamina(g.double()).to(q.dtype)
        want = torch.nn.utils.clip_grad_norm_(theirs, limit, norm_type)
        got = lamina.nn.utils.clip_grad_norm_(ours, limit, norm_type)
        tolerance = {"float32": 2e-5, "float64": 1e-10, "bfloat16": 2e-2}[dtype]
        assert str(got.dtype).removeprefix("lamina.") == dtype and got.shape == want.shape
        assert_close(got.double(), want.double(), tolerance, 0)
        for p, q in zip(theirs, ours, strict=True):
            assert_close(q.grad.double(), p.grad.double(), 2 * tolerance, 1e-9)
        again = torch.nn.utils.get_total_norm([p.grad for p in theirs], norm_type)
        ours_again = lamina.nn.utils.get_total_norm([q.grad for q in ours], norm_type)
        assert_close(ours_again.double(), again.double(), 2 * tolerance, 1e-9)
        torch.nn.utils.clip_grads_with_norm_(theirs, limit / 2, again)
        lamina.nn.utils.clip_grads_with_norm_(ours, limit / 2, ours_again)
        torch.nn.utils.clip_grad_value_(theirs, 0.01)
        lamina.nn.utils.clip_grad_value_(ours, 0.01)
        for p, q in zip(theirs, ours, strict=True):
            assert_close(q.grad.double(), p.grad.double(), 3 * tolerance, 1e-9)
