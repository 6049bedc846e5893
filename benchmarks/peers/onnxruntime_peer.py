#!/usr/bin/env python3
"""onnxruntime on the CPU: one-operator models, built here, run through IOBinding.

  w4a8          MatMulNBits, accuracy_level 4: int8 activations, quantized inside
  w4_float      MatMulNBits, accuracy_level 0: float32 activations
  w8a8_dynamic  DynamicQuantizeMatMul, a scale per output channel

With several copies the model has a node for each, and every one is reported with its share of the
time of the whole: the session's cost per run is spread over them, in the peer's favour.
"""

import math
import sys
import time

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

# Threads spin this long after a run, by default ten times as long; the answer is held back until
# they are asleep.
SPIN_MICROSECONDS = 2000
BLOCK_SIZES = (16, 32, 64, 128, 256)


class Unsupported(Exception):
    pass


def tensor(name, array):
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)


def nbits_node(request, index, rng, accuracy_level):
    out, width, block = request["out"], request["in"], request["group"]
    if block not in BLOCK_SIZES:
        raise Unsupported(f"MatMulNBits has no groups of {block}")
    blocks = -(-width // block)
    codes = rng.integers(0, 256, (out, blocks, block // 2), dtype=np.uint8)
    scales = rng.uniform(0.005, 0.02, out * blocks).astype(np.float32)
    node = helper.make_node(
        "MatMulNBits", ["x", f"w{index}", f"s{index}"], [f"y{index}"], domain="com.microsoft",
        K=width, N=out, bits=4, block_size=block, accuracy_level=accuracy_level)
    return node, {f"w{index}": codes, f"s{index}": scales}


def dynamic_node(request, index, rng):
    if request["group"] != -1:
        raise Unsupported("DynamicQuantizeMatMul has one scale per channel: group=-1")
    codes = rng.integers(-127, 128, (request["in"], request["out"]), dtype=np.int8)
    scales = rng.uniform(0.005, 0.02, request["out"]).astype(np.float32)
    node = helper.make_node("DynamicQuantizeMatMul", ["x", f"w{index}", f"s{index}"],
                            [f"y{index}"], domain="com.microsoft")
    return node, {f"w{index}": codes, f"s{index}": scales}


OPERATORS = {
    "w4a8": lambda *args: nbits_node(*args, accuracy_level=4),
    "w4_float": lambda *args: nbits_node(*args, accuracy_level=0),
    "w8a8_dynamic": dynamic_node,
}


class Product:
    def __init__(self, request):
        if request["op"] not in OPERATORS:
            raise Unsupported(f"op {request['op']}")
        self.copies = request["copies"]
        rng = np.random.default_rng(1)
        made = [OPERATORS[request["op"]](request, i, rng) for i in range(self.copies)]
        self.bytes_per_copy = sum(a.nbytes for a in made[0][1].values())

        options = ort.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.spin_duration_us",
                                         str(SPIN_MICROSECONDS))
        options.log_severity_level = 3
        self.session = ort.InferenceSession(
            self.model(request, made), options, providers=["CPUExecutionProvider"])
        self.bind(request, rng)

    def model(self, request, made):
        def value(name, width):
            shape = [request["tokens"], width]
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            [node for node, _ in made], "products", [value("x", request["in"])],
            [value(f"y{i}", request["out"]) for i in range(self.copies)],
            [tensor(name, array) for _, arrays in made for name, array in arrays.items()])
        return helper.make_model(
            graph, ir_version=8,
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ).SerializeToString()

    def bind(self, request, rng):
        x = rng.standard_normal((request["tokens"], request["in"]), dtype=np.float32)
        self.x = ort.OrtValue.ortvalue_from_numpy(x)
        self.y = [
            ort.OrtValue.ortvalue_from_numpy(
                np.zeros((request["tokens"], request["out"]), np.float32))
            for _ in range(self.copies)
        ]
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("x", self.x)
        for i, y in enumerate(self.y):
            self.binding.bind_ortvalue_output(f"y{i}", y)

    def seconds(self, runs):
        run, binding = self.session.run_with_iobinding, self.binding
        run(binding)
        result = []
        for _ in range(math.ceil(runs / self.copies)):
            start = time.perf_counter()
            run(binding)
            result += [(time.perf_counter() - start) / self.copies] * self.copies
        time.sleep(2e-6 * SPIN_MICROSECONDS)
        return result[:runs]


def parse_request(words):
    request = {"op": "", "out": 0, "in": 0, "tokens": 0, "group": -1, "threads": 1, "copies": 1}
    for word in words:
        key, _, value = word.partition("=")
        if key not in request:
            raise ValueError(f"unknown key: {key}")
        request[key] = value if key == "op" else int(value)
    if min(request[k] for k in ("out", "in", "tokens", "threads", "copies")) < 1:
        raise ValueError("out, in, tokens, threads and copies must be at least 1")
    return request


def answer(line, product):
    """The reply to a line, and the product prepared from now on."""
    command, *words = line.split() or [""]
    if command == "prepare":
        try:
            product = Product(parse_request(words))
            return f"ready {product.bytes_per_copy}", product
        except Exception as error:  # whatever the library throws: it does not do this case
            return "unsupported " + " ".join(str(error).split()), None
    if command == "run":
        if product is None:
            return "error run before a successful prepare", None
        if len(words) != 1 or not words[0].isdigit() or words[0] == "0":
            return "error run needs a count", product
        times = product.seconds(int(words[0]))
        return "seconds " + " ".join(f"{t:.9g}" for t in times), product
    return f"error unknown command: {command}", product


def main():
    print(f"peer onnxruntime {ort.__version__}", flush=True)
    product = None
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        if line.startswith("prepare"):
            product = None  # first: two sets of cold weights may not fit the memory
        reply, product = answer(line, product)
        print(reply, flush=True)


if __name__ == "__main__":
    main()
