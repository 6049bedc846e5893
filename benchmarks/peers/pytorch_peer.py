#!/usr/bin/env python3
"""PyTorch on the CPU: GPTQ of one linear layer.

  gptq  4-bit codes, symmetric, a scale per group found as the sweep reaches it; columns in order,
        1 % damping, lazy updates of 128 columns

Timed is what follows from the Hessian, as in pare: its factor, then the sweep. The algorithm is
written from Frantar et al., "GPTQ", 2022, Algorithm 1, in float32 and in operations on whole
tensors, the way PyTorch programs run it.
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


class Task:
    def __init__(self, request):
        if request["op"] != "gptq":
            raise Unsupported(f"no operation {request['op']}")
        if request["group"] < 1:
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
        gptq(self.weights[self.used], self.hessian, self.group)
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
