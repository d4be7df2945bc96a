"""A language model of random weights, generated in about a second: nothing is downloaded, and the same parameters give
the same file.

The format is Qwen2 as llama.cpp reads it. Its text is random words of the simulated engines' list. The rest is real: the
tokenizer, the context that fills, the time per token.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from embedded.engine.words import WORDS

END, PAD = "<|im_end|>", "<|endoftext|>"
SPECIALS = (PAD, "<|im_start|>", END)
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD = 256, 4, 4, 2, 512
LONGEST = 262_144  # tokens of context that the model file declares; the server gives it less

# The first channel of the residual stream is constant, so the output layer's first column is a bias.
CONSTANT = 4.0
NEVER = -8.0  # bias of a token that no sampler draws


def at(folder: Path, seed: int, eos_bias: float) -> Path:
    """The path of the model file in `folder`; creates the file if it is missing. Raises OSError."""
    recipe = (Path(__file__).read_bytes(), WORDS, seed, eos_bias)  # another recipe gets another file name
    path = folder / f"random-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        write(fresh, seed, eos_bias)
        fresh.replace(path)  # if two processes create it at the same time, either file is correct
    return path


def vocabulary() -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """(tokens, merges, words): the tokens are the 256 bytes, and each word with its leading space, built letter by letter.

    A byte pair encoding. A word that is not in the list is split into its known beginning and letters.
    """
    tokens, merges, words = list(_byte_letters()), [], []
    known = set(tokens)
    for word in WORDS:
        grown = _SPACE
        for letter in word:
            if grown + letter not in known:
                known.add(grown + letter)
                tokens.append(grown + letter)
                merges.append((grown, letter))
            grown += letter
        words.append(grown)
    return tokens, merges, words


def weights(tokens: list[str], words: Iterable[str], seed: int, eos_bias: float) -> dict[str, Any]:
    """Name → array; the names are llama.cpp's."""
    random = np.random.default_rng(seed)

    def drawn(*shape: int, scale: float = 1.0) -> Any:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(scale / np.sqrt(shape[-1]))

    embedding = random.standard_normal((len(tokens), WIDTH), dtype=np.float32)
    embedding[:, 0] = CONSTANT
    output = drawn(len(tokens), WIDTH, scale=1.5)
    output[:, 0] = NEVER
    for word in words:
        output[tokens.index(word), 0] = 0.0
    output[tokens.index(END)] = 0.0
    output[tokens.index(END), 0] = eos_bias
    found = {"token_embd": embedding, "output_norm": np.ones(WIDTH, np.float32), "output": output}
    kv_width = WIDTH // HEADS * KV_HEADS
    for n in range(LAYERS):
        block = f"blk.{n}."
        for norm in ("attn_norm", "ffn_norm"):
            found[block + norm] = np.ones(WIDTH, np.float32)
        for name, rows in (("attn_q", WIDTH), ("attn_k", kv_width), ("attn_v", kv_width)):
            found[block + name] = drawn(rows, WIDTH)
            found[block + name + ".bias"] = np.zeros(rows, np.float32)
        found[block + "attn_output"] = drawn(WIDTH, WIDTH)
        found[block + "ffn_gate"], found[block + "ffn_up"] = (
            drawn(FEED_FORWARD, WIDTH), drawn(FEED_FORWARD, WIDTH),
        )  # fmt: skip
        found[block + "ffn_down"] = drawn(WIDTH, FEED_FORWARD)
        found[block + "attn_output"][0] = found[block + "ffn_down"][0] = 0.0
    return found


def write(path: Path, seed: int, eos_bias: float) -> None:
    """Writes the model as GGUF."""
    import gguf  # only here: not needed when the model file exists

    plain, merges, words = vocabulary()
    tokens = [*plain, *SPECIALS]
    kinds = [gguf.TokenType.NORMAL] * len(plain) + [gguf.TokenType.CONTROL] * len(SPECIALS)
    out = gguf.GGUFWriter(path, "qwen2")
    out.add_name("random")
    out.add_context_length(LONGEST)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(FEED_FORWARD)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV_HEADS)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_freq_base(10_000.0)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges([" ".join(pair) for pair in merges])
    out.add_bos_token_id(tokens.index(PAD))
    out.add_eos_token_id(tokens.index(END))
    out.add_pad_token_id(tokens.index(PAD))
    out.add_add_bos_token(False)
    out.add_chat_template(TEMPLATE)
    for name, array in weights(tokens, words, seed, eos_bias).items():
        out.add_tensor(name if name.endswith(".bias") else f"{name}.weight", array)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _byte_letters() -> Iterable[str]:
    """One printable letter for each of the 256 bytes, as in GPT-2."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return (letters[byte] for byte in range(256))


_SPACE = list(_byte_letters())[ord(" ")]
