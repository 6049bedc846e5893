"""Train the demo image classifier: a small vision transformer (ViT) on the 8x8 handwritten digits of scikit-learn.

Usage: train_demo_digits.py DIGITS_CSV_GZ OUT_DIR [EPOCHS]
DIGITS_CSV_GZ is sklearn/datasets/data/digits.csv.gz of the scikit-learn wheel. Writes config.json, preprocessor_config.json,
model.safetensors (F16), eval.safetensors, calib.safetensors, expected.json, expected_logits.safetensors, and prints the accuracy.
"""
import copy, json, math, sys, time
import numpy as np, safetensors, torch, transformers
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(0)
torch.set_num_threads(1)
CFG = dict(image_size=8, patch_size=2, num_channels=1, hidden_size=128, num_hidden_layers=4, num_attention_heads=4,
           intermediate_size=256, hidden_act="gelu", qkv_bias=True, layer_norm_eps=1e-6)
S, P, D, L, H, I = (CFG[k] for k in ("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"))
N, LABELS, HOLD, CALIB, EXPECTED = (S // P) ** 2, 10, 5, 256, 32
DROP, WEIGHT_DECAY, SMOOTHING, PEAK, BATCH, EMA = 0.1, 0.05, 0.05, 2e-3, 64, 0.998

def read(path):
    """Images [n, 1, 8, 8] in -1..1 (the value 0..16 divided by 8, minus 1) and their digits; then the indices of the two parts."""
    table = np.loadtxt(path, delimiter=",", dtype=np.int64)
    pixels = torch.from_numpy(table[:, :64].reshape(-1, 1, S, S)).float() / 8 - 1
    index = torch.arange(len(table))
    return pixels, torch.from_numpy(table[:, 64]), index[index % HOLD != HOLD - 1], index[index % HOLD == HOLD - 1]

def init(*shape, std=0.02):
    return torch.nn.init.trunc_normal_(torch.empty(shape), std=std)

def make():
    w = {"vit.embeddings.cls_token": init(1, 1, D), "vit.embeddings.position_embeddings": init(1, N + 1, D),
         "vit.embeddings.patch_embeddings.projection.weight": init(D, 1, P, P, std=0.2), "vit.embeddings.patch_embeddings.projection.bias": torch.zeros(D)}
    def linear(name, rows, columns):
        w[name + ".weight"], w[name + ".bias"] = init(rows, columns), torch.zeros(rows)
    def norm(name):
        w[name + ".weight"], w[name + ".bias"] = torch.ones(D), torch.zeros(D)
    for i in range(L):
        p = f"vit.encoder.layer.{i}."
        norm(p + "layernorm_before")
        for part in ("query", "key", "value"): linear(p + "attention.attention." + part, D, D)
        linear(p + "attention.output.dense", D, D)
        norm(p + "layernorm_after")
        linear(p + "intermediate.dense", I, D)
        linear(p + "output.dense", D, I)
    norm("vit.layernorm")
    linear("classifier", LABELS, D)
    return w

def forward(w, pixels, drop=0.0):
    def linear(name, x): return F.linear(x, w[name + ".weight"], w[name + ".bias"])
    def norm(name, x): return F.layer_norm(x, (D,), w[name + ".weight"], w[name + ".bias"], CFG["layer_norm_eps"])
    def noise(x): return F.dropout(x, drop) if drop else x
    B, e = len(pixels), "vit.embeddings."
    x = F.conv2d(pixels, w[e + "patch_embeddings.projection.weight"], w[e + "patch_embeddings.projection.bias"], stride=P).flatten(2).transpose(1, 2)
    x = noise(torch.cat([w[e + "cls_token"].expand(B, -1, -1), x], 1) + w[e + "position_embeddings"])
    for i in range(L):
        p = f"vit.encoder.layer.{i}."
        h = norm(p + "layernorm_before", x)
        q, k, v = (linear(p + "attention.attention." + part, h).view(B, N + 1, H, D // H).transpose(1, 2) for part in ("query", "key", "value"))
        a = noise(torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(D // H), -1))
        x = x + noise(linear(p + "attention.output.dense", (a @ v).transpose(1, 2).reshape(B, N + 1, D)))
        h = norm(p + "layernorm_after", x)
        x = x + noise(linear(p + "output.dense", F.gelu(linear(p + "intermediate.dense", h))))
    return linear("classifier", norm("vit.layernorm", x)[:, 0])

def move(pixels):
    """Each image moved by up to 0.6 pixels, turned by up to 8 degrees, scaled and sheared by up to 8 %; what comes in is empty."""
    B = len(pixels)
    def upto(limit): return (torch.rand(B) * 2 - 1) * limit
    angle, shift = upto(8 * math.pi / 180), torch.stack([upto(1.2 / S), upto(1.2 / S)], 1)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(B, 2, 2)
    scale = torch.stack([1 + upto(0.08), upto(0.08), torch.zeros(B), 1 + upto(0.08)], 1).view(B, 2, 2)
    grid = F.affine_grid(torch.cat([turn @ scale, shift[:, :, None]], 2), [B, 1, S, S], align_corners=False)
    return F.grid_sample(pixels + 1, grid, align_corners=False) - 1

def train(pixels, labels, epochs):
    w = make()
    for t in w.values(): t.requires_grad_()
    mean = {k: t.detach().clone() for k, t in w.items()}                        # moving average of the weights, which is kept
    matrices = [t for k, t in w.items() if t.dim() == 2]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=WEIGHT_DECAY),
                             dict(params=[t for t in w.values() if t.dim() != 2], weight_decay=0.0)], betas=(0.9, 0.98))
    per_epoch, t0 = len(pixels) // BATCH, time.time()
    steps = per_epoch * epochs
    for step in range(steps):
        if step % per_epoch == 0: order = torch.randperm(len(pixels))
        at = order[step % per_epoch * BATCH:][:BATCH]
        for g in opt.param_groups: g["lr"] = PEAK * min(1, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = F.cross_entropy(forward(w, move(pixels[at]), DROP), labels[at], label_smoothing=SMOOTHING)
        opt.zero_grad(); loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        opt.step()
        with torch.no_grad():
            for k, t in w.items(): mean[k].lerp_(t, 1 - min(EMA, step / (step + 10)))
        if (step + 1) % (per_epoch * 10) == 0: print(f"epoch {(step + 1) // per_epoch} {time.time() - t0:.0f}s loss {loss.item():.4f}", flush=True)
    return mean

@torch.no_grad()
def accuracy(w, pixels, labels):
    return (forward(w, pixels).argmax(1) == labels).float().mean().item()

def save(w, out):
    """As transformers writes it; returns the same model read again, in float32."""
    names = [str(i) for i in range(LABELS)]
    config = transformers.ViTConfig(**CFG, hidden_dropout_prob=DROP, attention_probs_dropout_prob=DROP, encoder_stride=P, id2label=dict(enumerate(names)),
                                    label2id={n: i for i, n in enumerate(names)}, architectures=["ViTForImageClassification"])
    config.save_pretrained(out)
    save_file({k: t.half().contiguous() for k, t in w.items()}, out + "/model.safetensors", {"format": "pt"})
    transformers.ViTForImageClassification.from_pretrained(out, dtype=torch.float16).save_pretrained(out)
    json.dump(dict(image_processor_type="ViTImageProcessor", do_resize=False, size=dict(height=S, width=S), do_rescale=True, rescale_factor=1 / 16,
                   do_normalize=True, image_mean=[0.5], image_std=[0.5]), open(out + "/preprocessor_config.json", "w"), indent=2)
    return transformers.ViTForImageClassification.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()

def main(path, out, epochs=250):
    pixels, labels, seen, held = read(path)
    w = train(pixels[seen], labels[seen], int(epochs))
    rounded = {k: t.half().float() for k, t in w.items()}
    model = save(w, out)
    with torch.no_grad(): logits = model(pixel_values=pixels[held]).logits
    difference = (logits - forward(rounded, pixels[held])).abs().max().item()
    assert difference < 1e-4, difference
    calib = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(1))[:CALIB].sort().values]
    for name, part in (("eval", held), ("calib", calib)):
        save_file({"pixel_values": pixels[part], "labels": labels[part]}, f"{out}/{name}.safetensors")
    save_file({"logits": logits[:EXPECTED].contiguous()}, out + "/expected_logits.safetensors")
    result = dict(accuracy=round((logits.argmax(1) == labels[held]).float().mean().item(), 6), correct=int((logits.argmax(1) == labels[held]).sum()), images=len(held),
                  majority_accuracy=round(labels[held].bincount().max().item() / len(held), 6),
                  mean_cross_entropy=round(F.cross_entropy(logits, labels[held]).item(), 6),
                  training_accuracy=round(accuracy(rounded, pixels[seen], labels[seen]), 6), parameters=sum(t.numel() for t in w.values()),
                  made_by=f"transformers {transformers.__version__}, eager attention, float32 with the F16 weights as stored; torch {torch.__version__}, "
                          f"safetensors {safetensors.__version__}, numpy {np.__version__}")
    json.dump(result, open(out + "/expected.json", "w"), indent=1)
    print(json.dumps(result, indent=1), "largest difference from transformers", difference)
    print("accuracy before rounding to F16", accuracy(w, pixels[held], labels[held]))

if __name__ == "__main__":
    main(*sys.argv[1:])
