"""The models of tools/bench_peers in PyTorch: exported to ONNX, and timed in training.

usage: bench_torch.py export DIR NAME...        writes NAME.onnx (inference form) and NAME.train.onnx (training form)
       bench_torch.py train NAME BATCH THREADS SECONDS [MODE...]
             prints {"ms": median, "min_ms": ..., "mb": peak, "mode": ..., "version": ...} of the fastest; each
             mode runs in a process of its own
             MODE: f32, f32-cl (channels last), bf16 and bf16-cl (autocast); f32 where none is given
NAME is one of ours, or a classification network of torchvision where that is installed
"""

import json
import os
import resource
import sys
import time
import warnings

import torch
from torch import nn
from torch.nn import functional as F


def mlp():
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


def lenet():
    def block(i, o):
        return [nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*block(1, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(),
                         nn.Dropout(0.5), nn.Linear(128, 10))


def conv_norm(i, o, size, stride):
    return nn.Sequential(nn.Conv2d(i, o, size, stride, size // 2, bias=False), nn.BatchNorm2d(o))


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.body = nn.Sequential(conv_norm(i, o, 3, stride), nn.ReLU(), conv_norm(o, o, 3, 1))
        self.skip = nn.Identity() if stride == 1 and i == o else conv_norm(i, o, 1, stride)

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def resnet18c():
    """ResNet-18 for 32 x 32 images: a 3 x 3 stem and no pooling behind it."""
    layers, width = [conv_norm(3, 64, 3, 1), nn.ReLU()], 64
    for out, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Residual(width, out, stride))
        width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


class Bottleneck(nn.Module):
    def __init__(self, i, width, stride):
        super().__init__()
        o = 4 * width
        self.body = nn.Sequential(conv_norm(i, width, 1, 1), nn.ReLU(), conv_norm(width, width, 3, stride), nn.ReLU(),
                                  conv_norm(width, o, 1, 1))
        self.skip = nn.Identity() if stride == 1 and i == o else conv_norm(i, o, 1, stride)

    def forward(self, x):
        return F.relu(self.body(x) + self.skip(x))


def resnet50():
    """ResNet-50 (He and others, https://arxiv.org/abs/1512.03385) with the stride on the 3 x 3 windows."""
    layers, i = [conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for k in range(count):
            layers.append(Bottleneck(i, width, stride if k == 0 else 1))
            i = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


class InvertedResidual(nn.Module):
    def __init__(self, i, o, expand, stride):
        super().__init__()
        wide = i * expand
        layers = [] if expand == 1 else [conv_norm(i, wide, 1, 1), nn.ReLU6()]
        depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.body = nn.Sequential(*layers, depthwise, nn.BatchNorm2d(wide), nn.ReLU6(), conv_norm(wide, o, 1, 1))
        self.skip = stride == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


def mobilenetv2():
    """MobileNetV2 of width 1 (Sandler and others, https://arxiv.org/abs/1801.04381, table 2)."""
    layers, i = [conv_norm(3, 32, 3, 2), nn.ReLU6()], 32
    for expand, o, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                     (6, 160, 3, 2), (6, 320, 1, 1)):
        for k in range(count):
            layers.append(InvertedResidual(i, o, expand, stride if k == 0 else 1))
            i = o
    return nn.Sequential(*layers, conv_norm(320, 1280, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(1280, 1000))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.project(x).reshape(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = torch.softmax(q @ k.transpose(-1, -2) * self.size ** -0.5, -1)
        return self.merge((weights @ v).transpose(1, 2).reshape(batch, length, width))


class EncoderLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attend = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
        self.feed = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(),
                                  nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attend(x)
        return x + self.feed(x)


class Encoder(nn.Module):
    """A pre-norm transformer encoder over 128 words of 4,096, four layers of width 256."""
    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(4096, 256), nn.Parameter(torch.randn(1, 128, 256) * 0.02)
        self.layers = nn.Sequential(*[EncoderLayer(256, 4) for _ in range(4)])
        self.norm, self.out = nn.LayerNorm(256), nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.norm(self.layers(self.words(x) + self.places)).mean(1))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(40, 256), nn.Linear(256, 10)

    def forward(self, x):
        return self.out(self.lstm(x)[0][-1])


MODELS = {"mlp": mlp, "lenet": lenet, "resnet18c": resnet18c, "encoder": Encoder, "lstm": Lstm,
          "mobilenetv2": mobilenetv2, "resnet50": resnet50}
SAMPLES = {"mlp": (784,), "lenet": (1, 28, 28), "resnet18c": (3, 32, 32), "encoder": (128,),
           "mobilenetv2": (3, 224, 224), "resnet50": (3, 224, 224)}  # of a network of torchvision: an image


WITHOUT_SIDE_OUTPUTS = {name: {"aux_logits": False, "init_weights": False} for name in ("googlenet", "inception_v3")}


def model_of(name):
    torch.manual_seed(0)
    if name in MODELS:
        return MODELS[name]()
    try:
        from torchvision import models
    except ImportError:
        sys.exit(f"there is no model {name}, and no torchvision that could have it; there are {', '.join(MODELS)}")
    try:
        return models.get_model(name, weights=None, **WITHOUT_SIDE_OUTPUTS.get(name, {}))
    except ValueError as e:
        sys.exit(f"torchvision: {e}")


def sample(name, batch):
    torch.manual_seed(0)
    if name == "lstm":
        return torch.randn(50, batch, 40)
    if name == "encoder":
        return torch.randint(0, 4096, (batch, 128))
    side = 299 if name == "inception_v3" else 224
    return torch.randn(batch, *SAMPLES.get(name, (3, side, side)))


def export(folder, names):
    warnings.simplefilter("ignore")
    for name in names:
        model = model_of(name)
        axes = {"x": {1 if name == "lstm" else 0: "N"}, "y": {0: "N"}}
        legacy = {"dynamo": False} if hasattr(torch.onnx, "dynamo_export") or torch.__version__ >= "2.5" else {}
        for train in (False, True):
            model.train(train)
            mode = torch.onnx.TrainingMode.TRAINING if train else torch.onnx.TrainingMode.EVAL
            path = f"{folder}/{name}{'.train' if train else ''}.onnx"
            torch.onnx.export(model, sample(name, 2), path, input_names=["x"], output_names=["y"],
                              dynamic_axes=axes, opset_version=17, training=mode,
                              do_constant_folding=not train, **legacy)


def timed_steps(name, batch, mode, seconds):
    model = model_of(name).train()
    x, target = sample(name, batch), torch.randint(0, 10, (batch,))
    if mode.endswith("-cl") and x.dim() == 4:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        began = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mode.startswith("bf16")):
            scores = model(x)
        loss = F.cross_entropy(scores.float(), target)
        loss.backward()
        optimizer.step()
        loss.item()
        return time.perf_counter() - began

    for _ in range(3):
        step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        times.append(step())
    return sorted(times)


def in_a_process(work):
    """What work() returns, made in a forked process: its peak of memory is its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writer, "w") as out:
            json.dump(work(), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    if os.waitpid(child, 0)[1] != 0 or not text:
        sys.exit("PyTorch's process ended early")
    return json.loads(text)


def timed(name, batch, threads, seconds, mode):
    torch.set_num_threads(threads)
    times = timed_steps(name, batch, mode, seconds)
    return {"ms": times[len(times) // 2] * 1e3, "min_ms": times[0] * 1e3, "mode": mode, "version": torch.__version__,
            "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def train(name, batch, threads, seconds, modes):
    if not os.path.exists("/proc/cpuinfo"):
        sys.exit("PyTorch reads /proc/cpuinfo and computes without vector instructions where there is none: "
                 "mount proc in the chroot")
    images = sample(name, 1).dim() == 4
    rows = []
    for mode in modes or ["f32"]:
        if mode not in ("f32", "f32-cl", "bf16", "bf16-cl"):
            sys.exit(f"there is no mode {mode}; there are f32, f32-cl, bf16, bf16-cl")
        if mode.endswith("-cl") and not images:
            continue
        rows.append(in_a_process(lambda: timed(name, batch, threads, seconds, mode)))
    print(json.dumps(min(rows, key=lambda row: row["ms"])))


if __name__ == "__main__":
    if sys.argv[1:2] == ["export"]:
        export(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["train"]:
        train(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6:])
    else:
        sys.exit(__doc__)
