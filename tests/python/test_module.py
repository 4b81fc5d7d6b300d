"""Module: registering, walking, state dictionaries, hooks, own backward, the error path, repr."""

import copy
import gc
import weakref

import lamina
import pytest
from lamina import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        self.head = nn.Linear(3, 2, bias=False)
        self.scale = nn.Parameter(lamina.ones(2))
        self.register_buffer("mean", lamina.zeros(2))
        self.register_buffer("scratch", lamina.zeros(1), persistent=False)

    def forward(self, x):
        return self.head(self.body(x)) * self.scale + self.mean


def equal(a, b):
    return a.tolist() == b.tolist()


def test_registering_and_walking():
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert names == ["scale", "body.0.weight", "body.0.bias", "head.weight"]
    assert [name for name, _ in net.named_buffers()] == ["mean", "scratch"]
    assert [name for name, _ in net.named_children()] == ["body", "head"]
    assert [name for name, _ in net.named_modules()] == ["", "body", "body.0", "body.1", "head"]
    assert len(list(net.parameters(recurse=False))) == 1
    assert net.get_submodule("body.0") is net.body[0]
    assert net.get_submodule("") is net
    assert net.get_parameter("body.0.bias") is net.body[0].bias
    assert net.get_buffer("mean") is net.mean
    assert next(name for name, _ in net.named_parameters(prefix="p")) == "p.scale"


def test_shared_parameters_come_once():
    a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    b.weight = a.weight
    both = nn.Sequential(a, b, a)
    assert len(list(both.parameters())) == 1
    assert len(list(both.named_parameters(remove_duplicate=False))) == 3
    assert len(list(both.children())) == 2
    assert sorted(both.state_dict()) == ["0.weight", "1.weight", "2.weight"]


def test_setattr_moves_between_registries():
    net = Net()
    net.head = None
    assert net.head is None and "head" in net._modules
    del net.scale
    assert not hasattr(net, "scale") and "scale" not in net._parameters
    net.scale = nn.Linear(1, 1)
    assert "scale" in net._modules
    net.scale = nn.Parameter(lamina.zeros(1))
    assert "scale" in net._parameters and "scale" not in net._modules
    net.mean = lamina.ones(2)
    assert equal(net.get_buffer("mean"), lamina.ones(2))
    net.anything = 5
    assert net.anything == 5
    with pytest.raises(AttributeError, match="nothing"):
        _ = net.nothing


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda n: setattr(n, "scale", lamina.ones(2)), TypeError, "as parameter 'scale'; need nn.Parameter"),
        (lambda n: setattr(n, "head", lamina.ones(2)), TypeError, "as module 'head'; need nn.Module"),
        (lambda n: setattr(n, "mean", 3), TypeError, "int as buffer 'mean'; need Tensor"),
        (lambda n: n.register_parameter("a.b", None), KeyError, "contains '.'"),
        (lambda n: n.register_parameter("", None), KeyError, "is empty"),
        (lambda n: n.register_parameter(3, None), TypeError, "3 is a int; need a str"),
        (lambda n: n.register_parameter("forward", None), KeyError, "'forward' already exists"),
        (lambda n: n.register_parameter("p", lamina.ones(1)), TypeError, "'p' is a .*; need nn.Parameter"),
        (lambda n: n.register_buffer("b", 1), TypeError, "'b' is a int; need a Tensor"),
        (lambda n: n.add_module("m", 1), TypeError, "'m' is a int; need an nn.Module"),
        (lambda n: n.get_submodule("body.7"), AttributeError, "no submodule '7'"),
        (lambda n: n.get_parameter("body.0.nope"), AttributeError, "no parameter.* 'nope'"),
        (lambda n: n.train("yes"), ValueError, "mode is 'yes'"),
        (lambda n: n.to(lamina.int64), TypeError, "int64; need a floating-point dtype"),
        (lambda n: nn.Module()(1), NotImplementedError, "Module: forward is not defined"),
    ],
)
def test_errors(act, error, message):
    with pytest.raises(error, match=message):
        act(Net())


def test_state_dict_round_trip():
    a, b = Net(), Net()
    state = a.state_dict()
    assert sorted(state) == ["body.0.bias", "body.0.weight", "head.weight", "mean", "scale"]
    assert not any(t.requires_grad for t in state.values())
    result = b.load_state_dict(state)
    assert result.missing_keys == [] and result.unexpected_keys == []
    x = lamina.randn(5, 4)
    assert equal(a(x), b(x))
    with lamina.no_grad():
        a.scale.add_(1)  # the dictionary shares storage
    assert equal(state["scale"], a.scale)


def test_load_state_dict_reports_everything():
    net = Net()
    state = net.state_dict()
    state["head.weight"] = lamina.zeros(5, 3)
    state["extra.x"] = lamina.zeros(1)
    del state["scale"]
    with pytest.raises(ValueError) as caught:
        net.load_state_dict(state)
    text = str(caught.value)
    assert "missing keys: 'scale'" in text and "unexpected keys: 'extra.x'" in text
    assert "size mismatch for head.weight: the state has shape (5, 3), the model has (2, 3)" in text
    assert isinstance(caught.value, RuntimeError)  # what scripts written for PyTorch catch
    state["head.weight"] = net.head.weight
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale"] and result.unexpected_keys == ["extra.x"]
    with pytest.raises(TypeError, match="need a mapping"):
        net.load_state_dict([1])
    with pytest.raises(ValueError, match="mean: the state has a int; need a Tensor"):
        net.load_state_dict({"mean": 3}, strict=False)


def test_load_state_dict_assign():
    net = nn.Linear(2, 2)
    weight = lamina.ones(2, 2, dtype=lamina.float64)
    net.load_state_dict({"weight": weight, "bias": lamina.zeros(2)}, assign=True)
    assert net.weight.dtype == lamina.float64 and isinstance(net.weight, nn.Parameter) and net.weight.requires_grad


def test_extra_state():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    a, b = nn.Sequential(Counter()), nn.Sequential(Counter())
    a[0].count = 7
    b.load_state_dict(a.state_dict())
    assert b[0].count == 7
    assert b.load_state_dict({}, strict=False).missing_keys == ["0._extra_state"]


def test_modes_casts_and_grads():
    net = Net()
    assert net.eval() is net and not net.body[0].training
    assert net.train().head.training
    net.double()
    assert {p.dtype for p in net.parameters()} == {lamina.float64} and net.mean.dtype == lamina.float64
    net.register_buffer("count", lamina.zeros(1, dtype=lamina.int64))
    assert net.to(lamina.float32).count.dtype == lamina.int64 and net.scale.dtype == lamina.float32
    assert net.half().scale.dtype == lamina.float16
    assert net.bfloat16().scale.dtype == lamina.bfloat16
    assert net.to("cpu", lamina.float64).scale.dtype == lamina.float64
    assert net.to(lamina.ones(1)).scale.dtype == lamina.float32
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_(True)(lamina.ones(1, 4)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0, 0.0]
    net.zero_grad()
    assert net.scale.grad is None


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "ReLU", "Sequential", "Linear", "Net"]


def test_deepcopy_is_independent():
    a = Net()
    b = copy.deepcopy(a)
    assert isinstance(b.scale, nn.Parameter) and b._parameters["scale"] is b.scale and b.scale is not a.scale
    with lamina.no_grad():
        b.scale.zero_()
    assert a.scale.tolist() == [1.0, 1.0]


def test_forward_hooks():
    layer, log = nn.Identity(), []
    first = layer.register_forward_pre_hook(lambda m, args: log.append("pre") or (args[0] + 1,))
    layer.register_forward_pre_hook(lambda m, args: log.append("before"), prepend=True)
    second = layer.register_forward_hook(lambda m, args, out: log.append("post") or out * 2)
    layer.register_forward_hook(lambda m, args, kwargs, out: log.append(kwargs), with_kwargs=True)
    assert layer(lamina.ones(1)).item() == 4.0
    assert log == ["before", "pre", "post", {}]
    first.remove()
    second.remove()
    assert layer(lamina.ones(1)).item() == 1.0
    with layer.register_forward_hook(lambda m, args, out: out * 3):
        assert layer(lamina.ones(1)).item() == 3.0
    assert layer(lamina.ones(1)).item() == 1.0


def test_forward_hook_always_called():
    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    log = []
    layer = Broken()
    layer.register_forward_hook(lambda m, args, out: log.append("skipped"))
    layer.register_forward_hook(lambda m, args, out: log.append("called"), always_call=True)
    with pytest.raises(ValueError):
        layer(1)
    assert log == ["called"]


def test_backward_hooks():
    layer, log = nn.Linear(2, 1, bias=False), []
    nn.init.constant_(layer.weight, 3.0)
    layer.register_full_backward_pre_hook(lambda m, grad_output: log.append("pre"))

    def hook(module, grad_input, grad_output):
        log.append((grad_input, grad_output))
        return None if grad_input[0] is None else (grad_input[0] * 2,)

    handle = layer.register_full_backward_hook(hook)
    x = lamina.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert log[0] == "pre"
    grad_input, grad_output = log[1]
    assert grad_input[0].tolist() == [[3.0, 3.0]] and grad_output[0].tolist() == [[1.0]]
    assert x.grad.tolist() == [[6.0, 6.0]]  # the hook doubled it
    layer(lamina.ones(1, 2)).sum().backward()  # an input without gradient: the hook still runs
    assert log[3][0] == (None,)
    handle.remove()
    layer(x).sum().backward()
    assert len(log) == 5 and x.grad.tolist() == [[9.0, 9.0]]


class Scale(nn.Module):
    """A layer with a hand-written backward; its gradient is wrong by a factor on purpose, to see that it is used."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(lamina.tensor([2.0]))

    def forward(self, x):
        self.x = x
        return x * self.w

    def backward(self, grad_output):
        grad = (grad_output * self.x).sum().reshape(1)
        self.w.grad = grad if self.w.grad is None else self.w.grad + grad
        return grad_output * self.w * 10


def test_own_backward():
    layer = Scale()
    x = lamina.ones(3, requires_grad=True)
    y = layer(x)
    assert y.tolist() == [2.0, 2.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [20.0, 20.0, 20.0] and layer.w.grad.tolist() == [3.0]


def test_own_backward_in_a_chain_and_twice():
    layer = Scale()
    net = nn.Sequential(nn.Linear(2, 3), layer, layer, nn.Linear(3, 1))
    x = lamina.randn(4, 2)
    net(x).sum().backward()
    assert net[0].weight.grad is not None
    hidden = net[0](x)
    d_last = net[3].weight.sum(0)  # each call must see its own input: hidden, then 2 * hidden
    wanted = (d_last * 2 * hidden).sum() + (d_last * 20 * hidden).sum()
    assert abs(layer.w.grad.item() - wanted.item()) < 1e-4 * max(1, abs(wanted.item()))


def test_own_backward_runs_without_input_gradient():
    layer = Scale()
    layer(lamina.ones(2)).sum().backward()
    assert layer.w.grad.tolist() == [2.0]
    with lamina.no_grad():
        assert not layer(lamina.ones(2)).requires_grad


def test_own_backward_frees_what_it_kept():
    class Exp(nn.Module):
        def forward(self, x):
            y = x.exp()
            self.y, self.cache, self.calls = y, (x, [y]), {"n": 1}
            return y

        def backward(self, grad_output):
            assert self.cache[0].tolist() == [0.0, 0.0] and self.calls == {"n": 1}
            return grad_output * self.y

    x = lamina.zeros(2, requires_grad=True)
    layer = Exp()
    y = layer(x)
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0] and layer.y.grad_fn is None and layer.cache[1][0].grad_fn is None
    kept = weakref.ref(layer)
    del layer, y
    gc.collect()
    assert kept() is None


def test_own_backward_errors():
    class Wrong(nn.Module):
        def forward(self, x):
            return x * 2

        def backward(self, grad_output):
            return self.answer

    layer = Wrong()
    x = lamina.ones(2, 3, requires_grad=True)
    layer.answer = lamina.ones(2)
    with pytest.raises(ValueError, match=r"gradient 0 has shape \(2,\), input 0 has \(2, 3\)"):
        layer(x).sum().backward()
    layer.answer = (x, x)
    with pytest.raises(ValueError, match="returned 2 gradients, forward took 1 tensors"):
        layer(x).sum().backward()


def test_error_path():
    class Fails(nn.Module):
        def forward(self, x):
            raise IndexError("index 7 is bad")

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Identity(), Fails()])

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    with pytest.raises(IndexError, match=r"^in Sequential\.1\.layers\.1 \(Fails\): index 7 is bad$"):
        nn.Sequential(nn.Identity(), Block())(1)
    with pytest.raises(IndexError, match=r"^in Fails: index 7 is bad$"):
        Fails()(1)
    with pytest.raises(Exception, match=r"^in Sequential\.2 \(Linear\): "):
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 1))(lamina.ones(1, 4))


def test_error_path_leaves_other_exceptions_alone():
    class Missing(nn.Module):
        def forward(self, x):
            return {}["k"]

    with pytest.raises(KeyError) as caught:
        nn.Sequential(Missing())(1)
    assert caught.value.args == ("k",)


def test_repr():
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    assert repr(nn.Sequential()) == "Sequential()"
    net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU()))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_containers():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[1], nn.ReLU) and isinstance(net[-1], nn.Linear)
    assert len(net[1:]) == 2 and net[1:][1] is net[2]
    net.append(nn.Tanh()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in net] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    assert list(net._modules) == ["0", "1", "2", "3", "4"]
    del net[0]
    assert net.pop(-1).__class__ is nn.Tanh and len(net) == 3
    net[1] = nn.Sigmoid()
    assert isinstance(net[1], nn.Sigmoid)
    assert len(net + nn.Sequential(nn.ReLU())) == 4
    with pytest.raises(IndexError, match="index 9 is out of range; there are 3 entries"):
        net[9]
    named = nn.Sequential({"a": nn.ReLU(), "b": nn.Tanh()})
    assert isinstance(named.b, nn.Tanh) and list(named[1:]._modules) == ["b"]

    blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(2))
    blocks += [nn.Linear(1, 1)]
    blocks.extend([nn.ReLU()])
    assert len(blocks) == 4 and len(blocks[:2]) == 2 and len(list(blocks.parameters())) == 6
    with pytest.raises(NotImplementedError):
        blocks(1)


def test_dictionaries_and_parameter_containers():
    table = nn.ModuleDict({"relu": nn.ReLU()})
    table["fc"] = nn.Linear(1, 1)
    assert "fc" in table and len(table) == 2 and list(table) == ["relu", "fc"] == list(table.keys())
    table.update([("relu", nn.Tanh())])
    assert isinstance(table["relu"], nn.Tanh) and isinstance(table.pop("fc"), nn.Linear) and len(table) == 1
    table.clear()
    assert len(table) == 0
    with pytest.raises(KeyError):
        table["none"]

    values = nn.ParameterList([lamina.ones(2), nn.Parameter(lamina.zeros(3))])
    values.append(lamina.ones(1))
    assert len(values) == 3 and [name for name, _ in values.named_parameters()] == ["0", "1", "2"]
    assert isinstance(values[-1], nn.Parameter) and len(values[1:]) == 2
    with pytest.raises(IndexError, match="index 3 is out of range; there are 3"):
        values[3]

    named = nn.ParameterDict({"a": lamina.ones(2)})
    named["b"] = lamina.zeros(1)
    assert sorted(named.state_dict()) == ["a", "b"] and "a" in named and len(named) == 2
    assert named.pop("a").tolist() == [1.0, 1.0] and list(named.keys()) == ["b"]
    with pytest.raises(KeyError):
        named["a"]
