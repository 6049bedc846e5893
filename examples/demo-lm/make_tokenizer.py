"""Writes the demo model's tokenizer: byte b is token b, without special tokens.

Usage: make_tokenizer.py DIR
Writes DIR/tokenizer.json and DIR/tokenizer_config.json, for tools that ask for a tokenizer before they load a model.
"""
import json, sys
from pathlib import Path

# A byte-level vocabulary spells a byte as a character: itself where it is printed, else one from 256 on.
PRINTED = [b for b in range(256) if 33 <= b <= 126 or (161 <= b and b != 173)]
HIDDEN = [b for b in range(256) if b not in PRINTED]
SPELLING = {**{b: chr(b) for b in PRINTED}, **{b: chr(256 + i) for i, b in enumerate(HIDDEN)}}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}

tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": BYTES, "post_processor": None, "decoder": BYTES,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
              "vocab": {SPELLING[b]: b for b in range(256)}, "merges": []}}
config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 256,
          "clean_up_tokenization_spaces": False}

for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
    Path(sys.argv[1], name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
