#!/usr/bin/env python3
"""What scripts/bench-encoder.sh does in Python: an encoder of MiniLM's shape, and the same one in
onnxruntime.

    encoder.py make DIR                     random weights and inputs; the standard library is enough
    encoder.py export DIR                   onnx/: the graph in float32 and with dynamic int8
    encoder.py time DIR --threads N         tokens per second of both, and cosines, as JSON
    encoder.py cosine DIR FILE.safetensors  of what `pare logits` wrote, to PyTorch's embeddings
    encoder.py table ROUNDS                 the medians of all rounds, as Markdown

An embedding is the mean of a sentence's last states. Cosines are to the float model's.
"""

import argparse
import array
import json
import math
import random
import statistics
import struct
import sys
import time
from pathlib import Path

SENTENCES, LENGTH = 32, 128
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 2000,  # a real one has more rows, of which as few are read
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


# ---- the model ------------------------------------------------------------------------------

def write_safetensors(path, tensors):
    """tensors: name -> (dtype, shape, bytes)"""
    header, end = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            file.write(data)


def little_endian(kind, values):
    data = array.array(kind, values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def make(directory):
    rng = random.Random(1)
    width, hidden = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    tensors = {}

    def normal(name, shape, deviation, mean=0.0):
        values = [rng.gauss(mean, deviation) for _ in range(math.prod(shape))]
        tensors[name] = ("F32", shape, little_endian("f", values))

    def norm(name):
        normal(name + ".weight", [width], 0.1, 1.0)
        normal(name + ".bias", [width], 0.1)

    def linear(name, rows, cols):
        # Outputs vary as inputs do: attention looks somewhere, nothing grows from layer to layer.
        normal(name + ".weight", [rows, cols], cols**-0.5)
        normal(name + ".bias", [rows], 0.1)

    for name, key in (("word", "vocab_size"), ("position", "max_position_embeddings"),
                      ("token_type", "type_vocab_size")):
        normal(f"embeddings.{name}_embeddings.weight", [CONFIG[key], width], 0.05)
    norm("embeddings.LayerNorm")
    for i in range(CONFIG["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for name in ("query", "key", "value"):
            linear(layer + "attention.self." + name, width, width)
        linear(layer + "attention.output.dense", width, width)
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", hidden, width)
        linear(layer + "output.dense", width, hidden)
        norm(layer + "output.LayerNorm")

    directory.mkdir(parents=True)
    write_safetensors(directory / "model.safetensors", tensors)
    (directory / "config.json").write_text(json.dumps(CONFIG, indent=2))
    (directory / "modules.json").write_text(json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling",
         "type": "sentence_transformers.models.Pooling"}]))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}))
    shape = [SENTENCES, LENGTH]
    for name in ("calib", "eval"):
        ids = [rng.randrange(1, CONFIG["vocab_size"]) for _ in range(SENTENCES * LENGTH)]
        write_safetensors(directory / f"{name}.safetensors", {
            "input_ids": ("I64", shape, little_endian("q", ids)),
            "attention_mask": ("I64", shape, little_endian("q", [1] * len(ids)))})


# ---- onnxruntime ----------------------------------------------------------------------------

def export(directory):
    import numpy as np
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from safetensors.torch import load_file
    from transformers import BertModel

    class Embedder(torch.nn.Module):
        def __init__(self, bert):
            super().__init__()
            self.bert = bert

        def forward(self, input_ids, attention_mask):
            states = self.bert(input_ids=input_ids, attention_mask=attention_mask)
            mask = attention_mask.unsqueeze(-1).to(torch.float32)
            return (states.last_hidden_state * mask).sum(1) / mask.sum(1)

    # "eager": onnxruntime fuses its attention, but not what PyTorch's own kernel is exported as.
    embedder = Embedder(BertModel.from_pretrained(
        directory, add_pooling_layer=False, attn_implementation="eager")).eval()
    inputs = load_file(directory / "eval.safetensors")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    out = directory / "onnx"
    out.mkdir(exist_ok=True)
    with torch.inference_mode():
        sentence = embedder(ids, mask)
    np.savez(out / "inputs.npz", input_ids=ids.numpy(), attention_mask=mask.numpy(),
             sentence=sentence.numpy())
    torch.onnx.export(
        embedder, (ids, mask), str(out / "float32.onnx"), dynamo=False, opset_version=17,
        input_names=["input_ids", "attention_mask"], output_names=["sentence"],
        dynamic_axes={"input_ids": {0: "sentences", 1: "tokens"},
                      "attention_mask": {0: "sentences", 1: "tokens"},
                      "sentence": {0: "sentences"}})
    # Written last, and whole: its presence says that the others are there.
    quantize_dynamic(out / "float32.onnx", out / "int8.partial", weight_type=QuantType.QInt8,
                     per_channel=True)
    (out / "int8.partial").rename(out / "int8.onnx")


def mean_cosine(a, b):
    import numpy as np
    products = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float(products.mean())


def time_onnxruntime(directory, threads, runs):
    import numpy as np
    import onnxruntime as ort

    data = np.load(directory / "onnx/inputs.npz")
    feed = {name: data[name] for name in ("input_ids", "attention_mask")}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    report = {"version": ort.__version__}
    for kind in ("float32", "int8"):
        # One session at a time: the threads of another would go on spinning.
        session = ort.InferenceSession(
            str(directory / f"onnx/{kind}.onnx"), options, providers=["CPUExecutionProvider"])
        embeddings = session.run(None, feed)[0]
        session.run(None, feed)
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            session.run(None, feed)
            seconds.append(time.perf_counter() - start)
        report[kind] = {
            "tokens_per_second": feed["input_ids"].size / statistics.median(seconds),
            "cosine": mean_cosine(embeddings, data["sentence"])}
        del session
    json.dump(report, sys.stdout)


def cosine(directory, answers):
    import numpy as np
    from safetensors.numpy import load_file

    states = load_file(answers)["last_hidden_state"]
    print(mean_cosine(states.mean(axis=1), np.load(directory / "onnx/inputs.npz")["sentence"]))


# ---- the table ------------------------------------------------------------------------------

def table(rounds):
    """ROUNDS/pare-<n>.json: reports of `pare compare`; ROUNDS/onnxruntime-<n>.json, if there are
    any, of `time`; ROUNDS/cosine, if there, of `cosine`."""
    def read(name):
        return [json.loads(path.read_text()) for path in sorted(rounds.glob(name))]

    pare = [report["rows"] for report in read("pare-*.json")]
    theirs = read("onnxruntime-*.json")
    floats = [rows[0]["prefill_tokens_per_second"] for rows in pare]
    agreement = rounds / "cosine"
    table = [("pare float32", floats, [1.0] * len(floats),
              float(agreement.read_text()) if agreement.exists() else rows_cosine(pare, 0)),
             # The ratio of runs that took turns with the float model's.
             ("pare W8A8", [rows[1]["prefill_tokens_per_second"] for rows in pare],
              [rows[1]["prefill_speed_up"] for rows in pare], rows_cosine(pare, 1))]
    for kind, name in (("float32", "float32"), ("int8", "dynamic int8")):
        if not theirs:
            break
        speeds = [report[kind]["tokens_per_second"] for report in theirs]
        table.append((f"onnxruntime {theirs[0]['version']} {name}", speeds,
                      [a / b for a, b in zip(speeds, floats)],
                      statistics.median(report[kind]["cosine"] for report in theirs)))
    rival = table[-1][1] if theirs else None
    line = "| {:32} | {:>8} | {:>15} | {:>13} | {:>22} | {:>8} |"
    print(line.format("", "tokens/s", "least, most", "times float32", "times onnxruntime int8",
                      "cosine"))
    print("|---|--:|--:|--:|--:|--:|")
    for name, speeds, ratios, similarity in table:
        over = [a / b for a, b in zip(speeds, rival)] if rival else []
        print(line.format(
            name, f"{statistics.median(speeds):.0f}", f"{min(speeds):.0f}, {max(speeds):.0f}",
            f"{statistics.median(ratios):.2f}x", f"{statistics.median(over):.2f}x" if over else "",
            f"{similarity:.5f}"))


def rows_cosine(pare, row):
    return statistics.median(rows[row]["cosine"] for rows in pare)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "export", "time", "cosine", "table"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("answers", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    directory = arguments.directory
    if arguments.command == "make":
        make(directory)
    elif arguments.command == "export":
        export(directory)
    elif arguments.command == "time":
        time_onnxruntime(directory, arguments.threads, arguments.runs)
    elif arguments.command == "cosine":
        if arguments.answers is None:
            parser.error("cosine needs FILE.safetensors")
        cosine(directory, arguments.answers)
    else:
        table(directory)


if __name__ == "__main__":
    main()
