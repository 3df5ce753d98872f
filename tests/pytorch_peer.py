"""StackGAN's training step as a PyTorch user would write and tune it: the benchmark's other side.

Reads a JSON object a line: first the description of the networks, then {"steps": n}; answers each
with one. It is spared what the step it is compared with also does: cropping and mirroring pictures,
the generator's moving average, metrics. Like that step it draws once for both updates, encodes real
pictures once for the right and the wrong pair, and computes no gradient for nothing.
"""

import json
import shutil
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    print(json.dumps({"error": "PyTorch is not installed; install torch (README)."}), flush=True)
    sys.exit(1)

WARM = 2


def activation(slope):
    if slope is None:
        return nn.Identity()
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


def conv(inputs, outputs, kernel, stride=1, bias=False, padding=None):
    padding = {1: 0, 3: 1, 4: 1}[kernel] if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias)


def block(inputs, outputs, kernel=3, stride=1, slope=0.0, normalise=True, upsample=False):
    layers = [nn.Upsample(scale_factor=2, mode="nearest")] if upsample else []
    layers.append(conv(inputs, outputs, kernel, stride))
    layers += [nn.BatchNorm2d(outputs)] if normalise else []
    return nn.Sequential(*layers, activation(slope))


class Shortcut(nn.Module):
    def __init__(self, slope, *blocks):
        super().__init__()
        self.blocks, self.slope = nn.Sequential(*blocks), slope

    def forward(self, x):
        x = x + self.blocks(x)
        return functional.leaky_relu(x, self.slope) if self.slope else functional.relu(x)


def bottleneck(width, slope):
    small = width // 4
    return Shortcut(
        slope,
        block(width, small, 1, slope=slope),
        block(small, small, slope=slope),
        block(small, width, slope=None),
    )


class Augmentation(nn.Module):
    def __init__(self, embedding, fields):
        super().__init__()
        self.dense = nn.Linear(embedding, 2 * fields["condition"])
        self.slope, self.log_variance = fields["condition_slope"], fields["log_variance"]

    def forward(self, embedding, epsilon):
        x = functional.leaky_relu(self.dense(embedding).float(), self.slope)
        mu, log_sigma = x.chunk(2, 1)
        log_sigma = 0.5 * log_sigma if self.log_variance else log_sigma
        return mu + log_sigma.exp() * epsilon, mu, log_sigma


class Stage1(nn.Module):
    def __init__(self, embedding, noise, f):
        super().__init__()
        times = f["size"].bit_length() - 3
        self.noise_first, self.width = f["noise_first"], f["features"] << (times - 1)
        self.conditioning = Augmentation(embedding, f)
        inputs = noise + f["condition"]
        self.dense = nn.Linear(inputs, 16 * self.width, bias=f["dense_bias"])
        self.norm = nn.BatchNorm1d(16 * self.width)
        residual = f["residual"]
        layers = [bottleneck(self.width, 0.0) if residual else nn.ReLU(inplace=True)]
        width = self.width
        for i in range(1, times + (not f["image_upsamples"])):
            special = residual and i == 1
            layers.append(block(width, width // 2, slope=None if special else 0.0, upsample=True))
            width //= 2
            layers += [bottleneck(width, 0.0)] if special else []
        layers += [nn.Upsample(scale_factor=2, mode="nearest")] if f["image_upsamples"] else []
        self.layers = nn.Sequential(*layers, conv(width, 3, 3))

    def forward(self, embedding, z, epsilon):
        c, mu, log_sigma = self.conditioning(embedding, epsilon)
        x = self.dense(torch.cat([z, c] if self.noise_first else [c, z], 1))
        x = self.norm(x).view(-1, self.width, 4, 4)
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.layers(x).float()), mu, log_sigma


class Stage2(nn.Module):
    def __init__(self, embedding, f):
        super().__init__()
        width = f["features"]
        self.conditioning = Augmentation(embedding, f)
        self.encode = nn.Sequential(
            block(3, width, normalise=False),
            block(width, 2 * width, 4, 2),
            block(2 * width, 4 * width, 4, 2),
        )
        layers = [block(4 * width + f["condition"], 4 * width)]
        for _ in range(f["residual_blocks"]):
            first = block(4 * width, 4 * width)
            layers.append(Shortcut(0.0, first, block(4 * width, 4 * width, slope=None)))
        for i in range(4):
            layers.append(block(4 * width >> i, 2 * width >> i, upsample=True))
        self.decode = nn.Sequential(*layers, conv(width // 4, 3, 3))

    def forward(self, small, embedding, epsilon):
        c, mu, log_sigma = self.conditioning(embedding, epsilon)
        return torch.tanh(self.decode(joined(self.encode(small), c)).float()), mu, log_sigma


class Discriminator(nn.Module):
    def __init__(self, embedding, f):
        super().__init__()
        times, residual = f["size"].bit_length() - 3, f["residual"]
        linear = {times - 2} if f.get("linear_before_last") else set()
        second = "reduce_kernel" in f
        linear |= {times - 1} if residual and not second else set()
        layers, inputs = [], 3
        for i in range(times):
            slope = None if i in linear else 0.2
            layers.append(block(inputs, f["features"] << i, 4, 2, slope, normalise=i > 0))
            inputs = f["features"] << i
        if second:
            kernel = f["reduce_kernel"]
            layers.append(block(inputs, inputs // 2, kernel, slope=0.2))
            last = None if residual else 0.2
            layers.append(block(inputs // 2, inputs // 4, kernel, slope=last))
            inputs //= 4
        self.encode = nn.Sequential(*layers, *([bottleneck(inputs, 0.2)] if residual else []))
        self.project = nn.Linear(embedding, f["condition"]) if f["project"] else None
        self.joint = block(inputs + f["condition"], inputs, f["joint_kernel"], slope=0.2)
        self.logit = conv(inputs, 1, 4, bias=f["logit_bias"], padding=0)
        alone = f["unconditional_head"]
        self.alone = conv(inputs, 1, 4, bias=f["logit_bias"], padding=0) if alone else None

    def judge(self, features, condition):
        if self.project:
            condition = functional.leaky_relu(self.project(condition), 0.2)
        return self.logit(self.joint(joined(features, condition))).flatten().float()


def joined(features, condition):
    _, _, h, w = features.shape
    condition = condition.to(features.dtype)[:, :, None, None].expand(-1, -1, h, w)
    return torch.cat([features, condition], 1)


def cross_entropy(logits, target):
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Networks(nn.Module):
    """Those that a description asks for; `prior` is the Stage I that a Stage II goes on from."""

    def __init__(self, about):
        super().__init__()
        width, z = about["embedding"], about["training"]["z_features"]
        self.prior = None
        if about["kind"] == "stage2":
            self.prior = Stage1(width, z, about["prior"]).requires_grad_(False)
            self.generator = Stage2(width, about["generator"])
        else:
            self.generator = Stage1(width, z, about["generator"])
        self.discriminator = Discriminator(width, about["discriminator"])


class Trainer:
    """Networks, optimisers and a batch on the device; `step` is one step of training."""

    def __init__(self, about, compiled):
        self.about, self.device = about, "cuda" if torch.cuda.is_available() else "cpu"
        width = about["embedding"]
        networks = Networks(about).to(self.device, memory_format=torch.channels_last)
        self.generator, self.discriminator = networks.generator, networks.discriminator
        self.prior = networks.prior
        options = {"lr": 2e-4, "betas": (0.5, 0.999), "fused": True}
        self.g_optimiser = torch.optim.Adam(self.generator.parameters(), **options)
        self.d_optimiser = torch.optim.Adam(self.discriminator.parameters(), **options)
        wrap = torch.compile if compiled else lambda function: function
        self.draw, self.encode = wrap(self.generator), wrap(self.discriminator.encode)
        self.judge = wrap(self.discriminator.judge)
        self.small = wrap(self.prior) if self.prior else None
        b, size = about["batch_size"], about["discriminator"]["size"]
        image = torch.rand(b, 3, size, size, device=self.device) * 2 - 1
        self.image = image.contiguous(memory_format=torch.channels_last)
        self.embedding = torch.randn(b, width, device=self.device)

    def _normal(self, width):
        return torch.randn(len(self.image), width, device=self.device)

    def step(self):
        with torch.autocast(self.device, torch.bfloat16, enabled=self.about["bfloat16"]):
            inputs = (self.embedding, self._normal(self.about["training"]["z_features"]))
            condition = self.about["generator"]["condition"]
            if self.prior:
                with torch.no_grad():
                    epsilon = self._normal(self.about["prior"]["condition"])
                    small, _, _ = self.small(*inputs, epsilon)
                inputs = (small, self.embedding)
            fake, mu, log_sigma = self.draw(*inputs, self._normal(condition))
            text = self.embedding if self.discriminator.project else mu.detach()
            self.discriminator.requires_grad_(True)
            loss = self._discriminator_loss(fake.detach(), text)
        self.d_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.d_optimiser.step()
        self.discriminator.requires_grad_(False)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.about["bfloat16"]):
            features = self.encode(fake)
            loss = cross_entropy(self.judge(features, text), 1.0)
            if self.discriminator.alone:
                loss = loss + cross_entropy(self._alone(features), 1.0)
            kl = (-log_sigma + 0.5 * ((2 * log_sigma).exp() + mu**2 - 1)).mean()
            loss = loss + self.about["training"]["kl_weight"] * kl
        self.g_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.g_optimiser.step()

    def _discriminator_loss(self, fake, text):
        real, fake = self.encode(self.image), self.encode(fake)
        if self.about["training"]["mismatch"] == "shifted_text":
            wrong = self.judge(real[:-1], text[1:])
        else:
            partner = torch.randperm(len(real), device=self.device)
            wrong = self.judge(real[partner], text)
        right = cross_entropy(self.judge(real, text), 1.0)
        wrong = cross_entropy(wrong, 0.0)
        drawn = cross_entropy(self.judge(fake, text), 0.0)
        if not self.discriminator.alone:
            return right + (wrong + drawn) / 2
        right = right + cross_entropy(self._alone(real), 1.0)
        return right / 2 + (wrong + drawn + cross_entropy(self._alone(fake), 0.0)) / 3

    def _alone(self, features):
        return self.discriminator.alone(features).flatten().float()

    def run(self, n):
        """Seconds of n steps."""
        began = time.perf_counter()
        for _ in range(n):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began


def fastest(about):
    """The faster of the eager and the compiled trainer, and its name."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(about["threads"])
    choices = [False]
    if about["try_compiled"] and (torch.cuda.is_available() or shutil.which("g++")):
        choices.append(True)
    tried = {}
    for compiled in choices:
        name = "torch.compile" if compiled else "eager"
        try:
            trainer = Trainer(about, compiled)
            trainer.run(WARM)
            tried[name] = (min(trainer.run(1) for _ in range(3)), trainer)
        except Exception as error:  # torch.compile fails in many ways; eager must not
            if not compiled:
                raise
            print(f"torch.compile is left out: {str(error)[:200]}", file=sys.stderr)
    name = min(tried, key=lambda name: tried[name][0])
    return name, tried[name][1], {n: round(1e3 * t, 2) for n, (t, _) in tried.items()}


def main():
    about = json.loads(sys.stdin.readline())
    try:
        name, trainer, tried = fastest(about)
    except RuntimeError as error:
        print(json.dumps({"error": f"PyTorch failed: {str(error).splitlines()[0]}"}), flush=True)
        sys.exit(1)
    device = torch.cuda.get_device_name() if trainer.device == "cuda" else "cpu"
    answer = {
        "program": "pytorch",
        "version": torch.__version__,
        "device": device,
        "form": f"channels_last, {name}" + (", autocast bfloat16" if about["bfloat16"] else ""),
        "milliseconds_tried": tried,
    }
    print(json.dumps(answer), flush=True)
    for line in sys.stdin:
        print(json.dumps({"seconds": trainer.run(json.loads(line)["steps"])}), flush=True)


if __name__ == "__main__":
    main()
