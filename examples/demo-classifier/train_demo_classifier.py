"""Train the demo text classifier: a small BERT encoder that tells from one verse of the King James Bible the kind of its book.

Usage: train_demo_classifier.py KJV_TXT OUT_DIR [STEPS]
KJV_TXT is what `bible -f Ge1:1-Rev22:21` prints (Debian's packages bible-kjv and bible-kjv-text): "Ge1:1 In the beginning ...".
Writes config.json, tokenizer.json, tokenizer_config.json, model.safetensors (F16), eval.safetensors, eval.txt, calib.safetensors,
expected.json, expected_logits.safetensors, and prints the accuracy.
"""
import json, math, os, re, sys, time
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import numpy as np, safetensors, tokenizers, torch, transformers
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

torch.manual_seed(0)
torch.set_num_threads(1)
CFG = dict(vocab_size=3072, hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, hidden_act="gelu",
           max_position_embeddings=64, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0)
V, D, L, H, I, T = (CFG[k] for k in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings"))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
KINDS = {"law": "Ge Exo Lev Num Deu", "history": "Josh Jdgs Ruth 1Sm 2Sm 1Ki 2Ki 1Chr 2Chr Ezra Neh Est", "poetry": "Job Psa Prv Eccl SSol",
         "prophets": "Isa Jer Lam Eze Dan Hos Joel Amos Obad Jonah Mic Nahum Hab Zep Hag Zec Mal", "gospels": "Mat Mark Luke John",
         "letters": "Rom 1Cor 2Cor Gal Eph Phi Col 1Th 2Th 1Tim 2Tim Titus Phmn Heb Jas 1Pet 2Pet 1Jn 2Jn 3Jn Jude Rev"}
NAMES = list(KINDS)
KIND = {book: NAMES.index(kind) for kind, books in KINDS.items() for book in books.split()}
HOLD, EVERY, CALIB, EXPECTED = 10, 4, 256, 32
DROP, WEIGHT_DECAY, SMOOTHING, PEAK, BATCH, POOL, HIDE, MLM, EMA = 0.1, 0.05, 0.1, 1.5e-3, 64, 16, 0.15, 0.3, 0.998

def read(path):
    """Verses (reference, text, kind) by chapter, in the order of the book; Acts apart."""
    chapters, acts, last = [], [], None
    for line in open(path):
        book, chapter, text = re.fullmatch(r"(\d?[A-Za-z]+)(\d+):\d+ (.*)\n", line).groups()
        verse = (line.split(" ")[0], text, KIND.get(book))
        if book == "Acts": acts.append(verse); continue
        if (book, chapter) != last: chapters.append([])
        chapters[-1].append(verse)
        last = (book, chapter)
    return chapters, acts

def make_tokenizer(vocabulary=None):
    t = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=True)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(prefix="##")
    return t

def train_tokenizer(texts):
    t = make_tokenizer()
    letters = sorted({c for text in texts for c in t.normalizer.normalize_str(text)} - {" "})
    # The trainer numbers "##a" as it happens, and decides ties by numbers; naming them among the special ones fixes both.
    t.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=V, min_frequency=2, show_progress=False,
                                                           special_tokens=SPECIAL + letters + ["##" + c for c in letters if c.isalpha()]))
    assert t.get_vocab_size() == V
    t = make_tokenizer(t.get_vocab())
    t.add_special_tokens(SPECIAL)
    t.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
                                                     special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)])
    return t

def tensors(rows, length=T):
    """Pieces of each row cut to length - 2, between [CLS] and [SEP], padded to length."""
    ids = torch.full((len(rows), length), PAD)
    for i, row in enumerate(rows):
        row = [CLS] + row[:length - 2] + [SEP]
        ids[i, :len(row)] = torch.tensor(row)
    return ids, (ids != PAD).long()

def init(*shape):
    return torch.nn.init.trunc_normal_(torch.empty(shape), std=0.02)

def make():
    w = {}
    def linear(name, rows, columns):
        w[name + ".weight"], w[name + ".bias"] = init(rows, columns), torch.zeros(rows)
    def norm(name):
        w[name + ".weight"], w[name + ".bias"] = torch.ones(D), torch.zeros(D)
    for name, rows in (("word", V), ("position", T), ("token_type", CFG["type_vocab_size"])): w[f"bert.embeddings.{name}_embeddings.weight"] = init(rows, D)
    norm("bert.embeddings.LayerNorm")
    for i in range(L):
        p = f"bert.encoder.layer.{i}."
        for part in ("query", "key", "value"): linear(p + "attention.self." + part, D, D)
        linear(p + "attention.output.dense", D, D)
        norm(p + "attention.output.LayerNorm")
        linear(p + "intermediate.dense", I, D)
        linear(p + "output.dense", D, I)
        norm(p + "output.LayerNorm")
    linear("bert.pooler.dense", D, D)
    linear("classifier", len(KINDS), D)
    linear("cls.predictions.transform.dense", D, D)                            # used while training only
    norm("cls.predictions.transform.LayerNorm")
    w["cls.predictions.bias"] = torch.zeros(V)
    return w

def kept(name):
    return not name.startswith("cls.")

def linear(w, name, x): return F.linear(x, w[name + ".weight"], w[name + ".bias"])
def norm(w, name, x): return F.layer_norm(x, (D,), w[name + ".weight"], w[name + ".bias"], CFG["layer_norm_eps"])

def encode(w, ids, mask, drop=0.0):
    def noise(x): return F.dropout(x, drop) if drop else x
    (B, n), e = ids.shape, "bert.embeddings."
    x = F.embedding(ids, w[e + "word_embeddings.weight"]) + w[e + "position_embeddings.weight"][:n] + w[e + "token_type_embeddings.weight"][0]
    x = noise(norm(w, e + "LayerNorm", x))
    bias = (1 - mask[:, None, None, :].float()) * -1e9
    for i in range(L):
        p = f"bert.encoder.layer.{i}."
        q, k, v = (linear(w, p + "attention.self." + part, x).view(B, n, H, D // H).transpose(1, 2) for part in ("query", "key", "value"))
        a = noise(torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(D // H) + bias, -1))
        x = norm(w, p + "attention.output.LayerNorm", x + noise(linear(w, p + "attention.output.dense", (a @ v).transpose(1, 2).reshape(B, n, D))))
        x = norm(w, p + "output.LayerNorm", x + noise(linear(w, p + "output.dense", F.gelu(linear(w, p + "intermediate.dense", x)))))
    return x

def classify(w, x, drop=0.0):
    pooled = torch.tanh(linear(w, "bert.pooler.dense", x[:, 0]))
    return linear(w, "classifier", F.dropout(pooled, drop) if drop else pooled)

def predict(w, x):
    """Logits of the hidden pieces, by the embedding transposed."""
    h = norm(w, "cls.predictions.transform.LayerNorm", F.gelu(linear(w, "cls.predictions.transform.dense", x)))
    return F.linear(h, w["bert.embeddings.word_embeddings.weight"], w["cls.predictions.bias"])

def batches(rows, labels, texts, kinds):
    """For ever: half of the rows are verses, half are stretches of 8 to 62 pieces from anywhere in a chapter; similar lengths share a batch."""
    sizes = torch.tensor([float(len(t)) for t in texts])
    while True:
        pool = []
        for i in torch.randint(0, len(rows), (BATCH * POOL // 2,)).tolist(): pool.append((rows[i][:T - 2], labels[i]))
        for i in torch.multinomial(sizes, BATCH * POOL // 2, True).tolist():
            n = min(len(texts[i]), int(torch.randint(8, T - 1, ())))
            at = int(torch.randint(0, len(texts[i]) - n + 1, ()))
            pool.append((texts[i][at:at + n], kinds[i]))
        pool.sort(key=lambda r: len(r[0]))
        for b in torch.randperm(POOL).tolist():
            part = pool[b * BATCH:(b + 1) * BATCH]
            yield *tensors([r for r, _ in part], max(len(r) for r, _ in part) + 2), torch.tensor([l for _, l in part])

def train(rows, labels, texts, kinds, steps, watch=None):
    w = make()
    for t in w.values(): t.requires_grad_()
    mean = {k: t.detach().clone() for k, t in w.items()}                        # moving average of the weights, which is kept
    opt = torch.optim.AdamW([dict(params=[t for t in w.values() if t.dim() == 2], weight_decay=WEIGHT_DECAY),
                             dict(params=[t for t in w.values() if t.dim() == 1], weight_decay=0.0)], betas=(0.9, 0.98))
    t0, stream = time.time(), batches(rows, labels, texts, kinds)
    for step in range(steps):
        ids, mask, y = next(stream)
        hidden = (torch.rand(ids.shape) < HIDE) & (ids >= len(SPECIAL))
        x = encode(w, torch.where(hidden, MASK, ids), mask, DROP)
        told = F.cross_entropy(classify(w, x, DROP), y, label_smoothing=SMOOTHING)
        loss = told + MLM * F.cross_entropy(predict(w, x[hidden]), ids[hidden])
        for g in opt.param_groups: g["lr"] = PEAK * min(1, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        opt.zero_grad(); loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        opt.step()
        with torch.no_grad():
            for k, t in w.items(): mean[k].lerp_(t, 1 - min(EMA, step / (step + 10)))
        if (step + 1) % 100 == 0: print(f"{step + 1} {time.time() - t0:.0f}s loss {loss.item():.4f} of kinds {told.item():.4f}", flush=True)
        if watch and (step + 1) % 500 == 0: watch(mean)
    return {k: t for k, t in mean.items() if kept(k)}

@torch.no_grad()
def logits_of(w, ids, mask):
    return torch.cat([classify(w, encode(w, i, m)) for i, m in zip(ids.split(128), mask.split(128))])

def share(logits, labels):
    return round((logits.argmax(1) == labels).float().mean().item(), 6)

def majority(labels):
    return round(labels.bincount().max().item() / len(labels), 6)

def save(w, tokenizer, out):
    """As transformers writes it; returns the same model read again, in float32."""
    transformers.BertConfig(**CFG, hidden_dropout_prob=DROP, attention_probs_dropout_prob=DROP, id2label=dict(enumerate(NAMES)),
                            label2id={n: i for i, n in enumerate(NAMES)}, architectures=["BertForSequenceClassification"]).save_pretrained(out)
    save_file({k: t.half().contiguous() for k, t in w.items()}, out + "/model.safetensors", {"format": "pt"})
    transformers.BertForSequenceClassification.from_pretrained(out, dtype=torch.float16).save_pretrained(out)
    tokenizer.save(out + "/tokenizer.json")
    transformers.BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=True, model_max_length=T, **dict(zip(
        ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))).save_pretrained(out)
    return transformers.BertForSequenceClassification.from_pretrained(out, dtype=torch.float32, attn_implementation="eager").eval()

def main(path, out, steps=3000):
    chapters, acts = read(path)
    seen = [v for i, c in enumerate(chapters) if i % HOLD != HOLD - 1 for v in c]
    held = [v for i, c in enumerate(chapters) if i % HOLD == HOLD - 1 for v in c]
    tokenizer = train_tokenizer([text for _, text, _ in seen])
    def pieces(verses): return [e.ids for e in tokenizer.encode_batch([v[1] for v in verses], add_special_tokens=False)]
    def labels(verses): return torch.tensor([v[2] for v in verses])
    rows, taught = pieces(seen), [c for i, c in enumerate(chapters) if i % HOLD != HOLD - 1]
    w = train(rows, labels(seen).tolist(), [sum(pieces(c), []) for c in taught], [c[0][2] for c in taught], int(steps))
    rounded = {k: t.half().float() for k, t in w.items()}
    model = save(w, tokenizer, out)

    ids, mask = tensors(pieces(held))
    with torch.no_grad(): logits = torch.cat([model(input_ids=i, attention_mask=m, token_type_ids=torch.zeros_like(i)).logits for i, m in zip(ids.split(128), mask.split(128))])
    difference = (logits - logits_of(rounded, ids, mask)).abs().max().item()
    assert difference < 1e-4, difference
    again = transformers.AutoTokenizer.from_pretrained(out)([v[1] for v in held], truncation=True, padding="max_length", return_tensors="pt")
    assert torch.equal(again["input_ids"], ids) and torch.equal(again["attention_mask"], mask) and not again["token_type_ids"].any()
    part = held[EVERY - 1::EVERY]
    part_logits, kinds = logits[EVERY - 1::EVERY], labels(held)
    some = [seen[i] for i in torch.randperm(len(seen), generator=torch.Generator().manual_seed(1))[:CALIB].sort().values]
    for name, verses in (("eval", part), ("calib", some)):
        i, m = tensors(pieces(verses))
        save_file({"input_ids": i, "attention_mask": m, "token_type_ids": torch.zeros_like(i), "labels": labels(verses)}, f"{out}/{name}.safetensors")
    open(out + "/eval.txt", "w").writelines(f"{ref}\t{NAMES[kind]}\t{text}\n" for ref, text, kind in part)
    save_file({"logits": part_logits[:EXPECTED].contiguous()}, out + "/expected_logits.safetensors")
    told = logits_of(rounded, *tensors(pieces(acts))).argmax(1)
    result = dict(accuracy=share(part_logits, labels(part)), correct=int((part_logits.argmax(1) == labels(part)).sum()), verses=len(part),
                  majority_accuracy=majority(labels(part)), mean_cross_entropy=round(F.cross_entropy(part_logits, labels(part)).item(), 6),
                  all_held_out=dict(accuracy=share(logits, kinds), verses=len(held), majority_accuracy=majority(kinds),
                                    recall={n: share(logits[kinds == i], kinds[kinds == i]) for i, n in enumerate(NAMES)}),
                  acts_told_as={n: int((told == i).sum()) for i, n in enumerate(NAMES)}, training_accuracy=share(logits_of(rounded, *tensors(rows)), labels(seen)),
                  cut_to_length_percent=round(100 * sum(len(r) > T - 2 for r in pieces(held)) / len(held), 2),
                  parameters=sum(t.numel() for t in w.values()),
                  made_by=f"transformers {transformers.__version__}, eager attention, float32 with the F16 weights as stored; torch {torch.__version__}, "
                          f"tokenizers {tokenizers.__version__}, safetensors {safetensors.__version__}, numpy {np.__version__}")
    json.dump(result, open(out + "/expected.json", "w"), indent=1)
    print(json.dumps(result, indent=1), "largest difference from transformers", difference)
    print("accuracy of all held-out verses before rounding to F16", share(logits_of(w, ids, mask), kinds))

if __name__ == "__main__":
    main(*sys.argv[1:])
