#!/usr/bin/env python3
"""PyTorch on the CPU: GPTQ, SparseGPT and ALPS of one linear layer.

  gptq       4-bit codes, symmetric, a scale per group found as the sweep reaches it; columns in
             order, 1 % damping, lazy updates of 128 columns
  sparsegpt  half of the weights go, chosen in blocks of 128 columns; 1 % damping
  alps       70 % of the weights go; at most 50 iterations, then ten of conjugate gradients

Timed is what follows from the Hessian, as in pare: its factor, then the sweep. The algorithms are
written from Frantar et al., "GPTQ", 2022, Algorithm 1, Frantar and Alistarh, "SparseGPT", 2023,
Algorithm 1, and Meng et al., "ALPS", 2024, in float32 (what is decomposed into eigenvectors in
float64) and in operations on whole tensors, the way PyTorch programs run them.
"""

import sys
import time

import torch

BLOCK = 128
LEVELS = 15  # between the least and the largest of 16 codes
DAMPING = 0.01


class Unsupported(Exception):
    pass


def inverse_factor(hessian):
    """The upper triangular factor of the damped inverse."""
    damped = hessian.clone()
    damped.diagonal().add_(DAMPING * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def nearest(column, scale):
    codes = torch.clamp(torch.round(column / scale), -(LEVELS + 1) // 2, LEVELS // 2)
    return codes, codes * scale


def gptq(weight, hessian, group):
    weight = weight.clone()
    factor = inverse_factor(hessian)
    codes = torch.empty(weight.shape, dtype=torch.int8)
    columns = weight.shape[1]
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        block, upper = weight[:, begin:end].clone(), factor[begin:end, begin:end]
        errors = torch.empty_like(block)
        for k in range(end - begin):
            if (begin + k) % group == 0:
                largest = weight[:, begin + k:begin + k + group].abs().amax(dim=1)
                scale = torch.where(largest == 0, 1.0, 2 * largest / LEVELS)
            codes[:, begin + k], kept = nearest(block[:, k], scale)
            errors[:, k] = (block[:, k] - kept) / upper[k, k]
            block[:, k + 1:].addr_(errors[:, k], upper[k, k + 1:], alpha=-1)
        weight[:, end:].addmm_(errors, factor[begin:end, end:], alpha=-1)
    return codes


def sparsegpt(weight, hessian, sparsity=0.5):
    weight = weight.clone()
    factor = inverse_factor(hessian)
    columns = weight.shape[1]
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        block, upper = weight[:, begin:end].clone(), factor[begin:end, begin:end]
        cost = (block / upper.diagonal()) ** 2
        threshold = cost.flatten().sort().values[int(cost.numel() * sparsity)]
        removed = cost <= threshold
        errors = torch.empty_like(block)
        for k in range(end - begin):
            kept = torch.where(removed[:, k], 0.0, block[:, k])
            errors[:, k] = (block[:, k] - kept) / upper[k, k]
            block[:, k:].addr_(errors[:, k], upper[k, k:], alpha=-1)
            block[:, k] = kept
        weight[:, begin:end] = block
        weight[:, end:].addmm_(errors, factor[begin:end, end:], alpha=-1)
    return weight


def alps(weight, hessian, sparsity=0.7, iterations=50):
    damped = hessian.clone()
    damped.diagonal().add_(DAMPING * hessian.diagonal().mean())
    scale = damped.diagonal().sqrt()
    g = damped / scale.outer(scale)
    values, vectors = torch.linalg.eigh(g.double())
    values, vectors = values.float(), vectors.float()
    w = (weight * scale).T
    target = g @ w
    kept = w.numel() - round(w.numel() * sparsity)

    def largest(b):
        order = b.abs().flatten().topk(kept).indices
        mask = torch.zeros(b.numel(), dtype=torch.bool)
        mask[order] = True
        return mask.view(b.shape)

    rho, raised = 0.1, False
    inverse = vectors @ ((1.0 / (values + rho))[:, None] * vectors.T)
    d, v = w.clone(), torch.zeros_like(w)
    support = before = largest(w)
    for i in range(iterations):
        b = inverse @ (target - v + rho * d)
        z = b + v / rho
        support = largest(z)
        d = torch.where(support, z, 0.0)
        v += rho * (b - d)
        if (i + 1) % 3:
            continue
        change = (support != before).sum().item() / kept
        before = support
        if i > 30 and change < 0.0003:
            break
        grown = 1.3 if change > 0.1 else 1.2 if change > 0.005 else 1.1 if change > 0 else 0.0
        if grown == 0.0 and raised:
            break
        rho = rho * grown if grown else rho / 5
        raised = raised or grown > 0.0
        inverse = vectors @ ((1.0 / (values + rho))[:, None] * vectors.T)
    support = largest(b)
    x = torch.where(support, b, 0.0)
    r = torch.where(support, target - g @ x, 0.0)
    p, squared = r.clone(), (r * r).sum(0)
    for _ in range(10):
        q = torch.where(support, g @ p, 0.0)
        step = squared / (p * q).sum(0).clamp(min=1e-30)
        x += step * p
        r -= step * q
        new = (r * r).sum(0)
        p = r + new / squared.clamp(min=1e-30) * p
        squared = new
    return x.T / scale


class Task:
    def __init__(self, request):
        self.operation = request["op"]
        if self.operation not in ("gptq", "sparsegpt", "alps"):
            raise Unsupported(f"no operation {self.operation}")
        if self.operation == "gptq" and request["group"] < 1:
            raise Unsupported("gptq needs groups")
        torch.set_num_threads(request["threads"])
        torch.manual_seed(1)
        self.group = request["group"]
        x = torch.randn(request["tokens"], request["in"])
        self.hessian = 2.0 / request["tokens"] * (x.T @ x)
        self.weights = [0.02 * torch.randn(request["out"], request["in"])
                        for _ in range(request["copies"])]
        self.bytes_per_copy = 4 * request["out"] * request["in"]
        self.used = 0

    def run(self):
        self.used = (self.used + 1) % len(self.weights)
        begin = time.perf_counter()
        weight = self.weights[self.used]
        if self.operation == "gptq":
            gptq(weight, self.hessian, self.group)
        else:
            (sparsegpt if self.operation == "sparsegpt" else alps)(weight, self.hessian)
        return time.perf_counter() - begin

    def seconds(self, n):
        return [self.run() for _ in range(n)]


def parse_request(words):
    request = {"op": "", "out": 0, "in": 0, "tokens": 1, "group": -1, "threads": 1, "copies": 1}
    for word in words:
        key, _, value = word.partition("=")
        if key not in request:
            raise ValueError(f"unknown key: {key}")
        request[key] = value if key == "op" else int(value)
    if min(request[k] for k in ("out", "in", "tokens", "threads", "copies")) < 1:
        raise ValueError("out, in, tokens, threads and copies must be at least 1")
    return request


def answer(line, task):
    """The reply to a line, and the task prepared from now on."""
    command, *words = line.split() or [""]
    if command == "prepare":
        try:
            task = Task(parse_request(words))
            return f"ready {task.bytes_per_copy}", task
        except Exception as error:  # whatever the library throws: it does not do this case
            return "unsupported " + " ".join(str(error).split()), None
    if command == "run":
        if task is None:
            return "error run before a successful prepare", None
        if len(words) != 1 or not words[0].isdigit() or words[0] == "0":
            return "error run needs a count", task
        return "seconds " + " ".join(f"{t:.9g}" for t in task.seconds(int(words[0]))), task
    return f"error unknown command: {command}", task


def main():
    print(f"peer pytorch {torch.__version__}", flush=True)
    task = None
    with torch.inference_mode():
        for line in sys.stdin:
            if line.strip() == "quit":
                return
            reply, task = answer(line, task)
            print(reply, flush=True)


if __name__ == "__main__":
    main()
