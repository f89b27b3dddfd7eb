"""Tiny real models that do not chat: an embedder, a reranker, ears, a voice, a painter.

The embedder and the ears are computed, so that tests know what they say: words of one topic of
`TOPICS` lie close together, and every clip is heard as `HEARD`. The others have random weights.
"""

import importlib
import io
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tests import tiny

TOPICS = {
    "cat": "cat cats kitten kittens feline kitty",
    "rest": "sit sits sat rest rests lies sleeps naps",
    "floor": "mat rug carpet floor blanket cushion",
    "market": "market markets stock stocks shares bonds",
    "fall": "fell fall falls drop dropped sank declined",
    "weather": "rain rainy snow sunny clouds storm wind",
}
PLAIN = ["a", "an", "the", "this", "is", "are", "was", "in", "on", "at", "of", "to", "and", "it"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CONTEXT = 128
HEARD = " Hello from the zoo."
VOICES = ("default", "zebra")
SPEECH_RATE = 16_000


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def write_weights(file: Path, weights: dict[str, np.ndarray], format: str = "pt") -> None:
    from safetensors.numpy import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    save_file(whole, str(file), metadata={"format": format})


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    from mlx.utils import tree_flatten

    return {name: tuple(array.shape) for name, array in tree_flatten(network.parameters())}


def random_weights(
    shapes: dict[str, tuple[int, ...]], gains: dict[str, float] | None = None
) -> dict[str, np.ndarray]:
    """By a tensor's name alone, so that the same model is the same each time."""
    made = {}
    for name, shape in shapes.items():
        random = np.random.default_rng(zlib.crc32(name.encode()))
        gain = next((gain for part, gain in (gains or {}).items() if part in name), 1.0)
        if name.endswith("bias"):
            made[name] = np.zeros(shape, np.float32)
        elif len(shape) == 1:
            made[name] = np.ones(shape, np.float32)
        else:
            scale = gain / math.sqrt(math.prod(shape[1:]))
            made[name] = (random.standard_normal(shape) * scale).astype(np.float32)
    return made


# -- BERT: vectors and scores ---------------------------------------------------------------------


def bert_words() -> list[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    topics = [word for words in TOPICS.values() for word in words.split()]
    ends = [f"##{letter}" for letter in letters]
    return list(dict.fromkeys([*SPECIALS, *".,!?", *letters, *ends, *PLAIN, *topics]))


def write_bert_tokenizer(folder: Path) -> list[str]:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = bert_words()
    ids = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=CONTEXT,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    return words


def bert_config(words: list[str], architecture: str, width: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "vocab_size": len(words),
        "hidden_size": width,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": width,
        "max_position_embeddings": CONTEXT,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        **more,
    }


def bert_shapes(config: dict[str, Any], name: str) -> dict[str, tuple[int, ...]]:
    bert = importlib.import_module("mlx_vlm.models.bert")
    return shapes_of(getattr(bert, name)(bert.ModelConfig.from_dict(config)))


def make_embedder(folder: Path) -> Path:
    """A direction for each topic; axis 0 says nothing, and every norm deletes it."""
    folder.mkdir(parents=True)
    words, width = write_bert_tokenizer(folder), 64
    config = bert_config(words, "BertModel", width)
    random = np.random.default_rng(1)
    rows = [np.eye(1, width), np.ones((1, width)), random.standard_normal((width - 2, width))]
    basis = np.linalg.qr(np.vstack(rows).T)[0].T[2:]
    topics = dict(zip(TOPICS, basis, strict=False))
    vectors = np.zeros((len(words), width))
    for number, word in enumerate(words):
        of = [topic for topic, members in TOPICS.items() if word in members.split()]
        noise = random.standard_normal(width)
        noise[0] = 0.0
        noise /= np.linalg.norm(noise)
        if of:
            vectors[number] = np.mean([topics[topic] for topic in of], axis=0) + 0.3 * noise
        elif word in PLAIN or not word.isalnum():
            vectors[number, 0] = 1.0
        else:
            vectors[number] = noise
    weights = {n: np.zeros(s, np.float32) for n, s in bert_shapes(config, "Model").items()}
    weights["embeddings.word_embeddings.weight"] = (8 * vectors).astype(np.float32)
    keep = np.ones(width, np.float32)
    keep[0] = 0.0
    for name in weights:
        if name.endswith("LayerNorm.weight"):
            weights[name] = keep.copy()
    write_json(folder / "config.json", config)
    write_weights(folder / "model.safetensors", weights)
    pooling = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True}
    write_json(folder / "1_Pooling" / "config.json", pooling)
    return folder


def make_reranker(folder: Path) -> Path:
    """A cross-encoder with one label."""
    folder.mkdir(parents=True)
    labels = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    config = bert_config(
        write_bert_tokenizer(folder), "BertForSequenceClassification", 16, **labels
    )
    shapes = bert_shapes({**config, "num_labels": 1}, "SequenceClassificationModel")
    gains = {"word_embeddings": 4.0, "query": 3.0, "key": 3.0, "classifier": 3.0}
    weights = random_weights(shapes, gains)
    named = {n if n.startswith("classifier") else f"bert.{n}": w for n, w in weights.items()}
    write_json(folder / "config.json", config)
    write_weights(folder / "model.safetensors", named)
    return folder


# -- Whisper: ears --------------------------------------------------------------------------------


def whisper_marks() -> list[str]:
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    names = ["endoftext", "startoftranscript", "en", "de", "fr", *tasks]
    times = [f"{step * 0.02:.2f}" for step in range(1501)]
    return [f"<|{name}|>" for name in [*names, *times]]


def write_whisper_tokenizer(folder: Path) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([HEARD] * 100, trainer)
    marks = [AddedToken(mark, normalized=False, special=True) for mark in whisper_marks()]
    tokenizer.add_special_tokens(marks)
    end = "<|endoftext|>"
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, unk_token=end, pad_token=end
    )
    fast.save_pretrained(folder)
    learnt = json.loads(tokenizer.to_str())["model"]
    write_json(folder / "vocab.json", learnt["vocab"])
    merges = [" ".join(merge) for merge in learnt["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "WhisperTokenizer", "processor_class": "WhisperProcessor"}
    write_json(folder / "tokenizer_config.json", config)
    listening = {"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    kind = {"feature_extractor_type": "WhisperFeatureExtractor"}
    write_json(folder / "preprocessor_config.json", {**listening, **kind, "chunk_length": 30})
    return fast


def make_ears(folder: Path, *, languages: bool = True) -> Path:
    """In mlx's own Whisper layout. The place in the answer alone decides on the next token: each
    place is a direction far larger than what the layers add, and a token's row holds the places
    after which it is due."""
    whisper = importlib.import_module("mlx_audio.stt.models.whisper.whisper")
    folder.mkdir(parents=True)
    tokenizer = write_whisper_tokenizer(folder)
    width, places = 64, 64
    rows = 51_865 if languages else len(tokenizer)  # by which Whisper tells the two apart
    config = {"model_type": "whisper", "n_mels": 80, "n_audio_ctx": 1500, "n_vocab": rows}
    config |= {f"n_{side}_{what}": n for side in ("audio", "text") for what, n in
               (("state", width), ("head", 2), ("layer", 1))}  # fmt: skip
    config["n_text_ctx"] = places
    shapes = shapes_of(whisper.Model(whisper.ModelDimensions.from_dict(config)))
    weights = random_weights(shapes)
    ids = tokenizer.convert_tokens_to_ids
    said = tokenizer.encode(HEARD, add_special_tokens=False)
    due = [ids("<|0.00|>"), *said, ids("<|29.98|>")]  # one mark at the end: all of the window
    due = [ids("<|endoftext|>")] * (2 if languages else 0) + due
    due += [ids("<|endoftext|>")] * (places - len(due))
    codes = np.linalg.qr(np.random.default_rng(2).standard_normal((width, width)))[0]
    codes -= codes.mean(axis=1, keepdims=True)  # a norm takes the mean away
    table = np.zeros((rows, width), np.float32)
    table[len(tokenizer) :] = -codes.sum(axis=0)  # rows without a token are never due
    for place, token in enumerate(due):
        table[token] += codes[place]
    weights["decoder.token_embedding.weight"] = 4 * table
    weights["decoder.positional_embedding"] = (200 * codes).astype(np.float32)
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"alignment_heads": [[0, 0], [0, 1]]})
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    write_weights(folder / "model.safetensors", halves, "mlx")
    return folder


def clip(
    seconds: float, format: str = "WAV", *, rate: int = 16_000, subtype: str | None = None,
    loud: float = 0.3,
) -> bytes:  # fmt: skip
    """A tone as the bytes of a file."""
    import soundfile

    tone = loud * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    file = io.BytesIO()
    soundfile.write(file, tone, rate, format=format, subtype=subtype)
    return file.getvalue()


def contained(seconds: float, kind: str, codec: str, *, rate: int = 48_000) -> bytes:
    """The same tone as telephones and browsers send it, in two channels."""
    import av

    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        planes = np.stack([tone, tone]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for given in (frame, None):
            container.mux(stream.encode(given))
    return file.getvalue()


# -- Pocket-TTS: a voice --------------------------------------------------------------------------


def voice_config(tokens: int) -> dict[str, Any]:
    width, codec, latent = 32, 32, 8
    blocks = {"num_heads": 2, "num_layers": 1, "max_period": 10000}
    return {
        "model_type": "pocket_tts",
        "flow_lm": {
            "dtype": "float32",
            "flow": {"dim": 32, "depth": 1},
            "transformer": {"hidden_scale": 2, "d_model": width, **blocks},
            "lookup_table": {
                "dim": width,
                "n_bins": tokens,
                "tokenizer": "huggingface",
                "tokenizer_path": "tokenizer.json",
            },
        },
        "mimi": {
            "dtype": "float32",
            "sample_rate": SPEECH_RATE,
            "channels": 1,
            "frame_rate": 12.5,
            "seanet": {
                "dimension": codec, "channels": 1, "n_filters": 4, "n_residual_layers": 1,
                "ratios": [8, 5, 4], "kernel_size": 7, "residual_kernel_size": 3,
                "last_kernel_size": 3, "dilation_base": 2, "pad_mode": "constant", "compress": 2,
            },
            "transformer": {
                "d_model": codec, "input_dimension": codec, "output_dimensions": [codec],
                "layer_scale": 0.01, "context": 250, "dim_feedforward": 64, **blocks,
            },
            "quantizer": {"dimension": latent, "output_dimension": codec},
        },
    }  # fmt: skip


def make_voice(folder: Path) -> Path:
    """It never ends of itself: what it says lasts (words + 2) seconds."""
    pocket = importlib.import_module("mlx_audio.tts.models.pocket_tts.pocket_tts")
    folder.mkdir(parents=True)
    config = voice_config(len(tiny.write_tokenizer(folder, [])))
    write_json(folder / "config.json", config)
    made = pocket.ModelConfig.from_dict({**config, "model_path": str(folder)})
    weights = random_weights(shapes_of(pocket.Model(made)))
    for name, array in weights.items():
        if name.endswith(".freqs"):
            steps = np.arange(array.shape[0]) / array.shape[0]
            weights[name] = np.exp(-math.log(10000) * steps).astype(np.float32)
    weights["flow_lm.out_eos.weight"] *= 0
    weights["flow_lm.out_eos.bias"] = np.full((1,), -10.0, np.float32)
    write_weights(folder / "model.safetensors", weights, "mlx")
    for number, name in enumerate(VOICES):
        prompt = np.random.default_rng(number).standard_normal((1, 5, 32)).astype(np.float32)
        write_weights(folder / "voices" / f"{name}.safetensors", {"audio_prompt": prompt}, "mlx")
    return folder


# -- Z-Image: a painter ---------------------------------------------------------------------------

PAINTER: dict[str, dict[str, Any]] = {
    "transformer": {
        "dim": 64, "n_heads": 2, "n_kv_heads": 2, "intermediate_size": 64, "in_channels": 16,
        "cap_feat_dim": 32, "n_layers": 1, "n_refiner_layers": 1, "axes_dims": [8, 12, 12],
        "adaln_embed_dim": 32,
    },
    "text_encoder": {
        "model_type": "qwen3", "vocab_size": tiny.VOCABULARY, "hidden_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "intermediate_size": 64, "head_dim": 16,
    },
    "vae": {"block_out_channels": [32, 32, 32, 32], "layers_per_block": 1, "latent_channels": 16},
}  # fmt: skip


def make_painter(folder: Path) -> Path:
    """All of a Z-Image pipeline, in the layout of its repository."""
    config = importlib.import_module("mlx_vlm.models.z_image.config")
    parts = importlib.import_module("mlx_vlm.models.z_image.weights")
    made = {
        "transformer": parts.ZImageTransformer(
            config.ZImageTransformerConfig.from_dict(PAINTER["transformer"])
        ),
        "text_encoder": parts.ZImageTextEncoder(
            config.ZImageTextEncoderConfig.from_dict(PAINTER["text_encoder"])
        ),
        "vae": parts.ZImageVAE(config.ZImageVAEConfig.from_dict(PAINTER["vae"])),
    }
    (folder / "tokenizer").mkdir(parents=True)
    tiny.write_tokenizer(folder / "tokenizer", [])
    for name, network in made.items():
        write_json(folder / name / "config.json", PAINTER[name])
        weights = random_weights(shapes_of(network))
        write_weights(folder / name / "model.safetensors", weights, "mlx")
        index = {"metadata": {"mlx_vlm_format": "z_image"}, "weight_map": {}}
        write_json(folder / name / "model.safetensors.index.json", index)
    write_json(folder / "scheduler" / "scheduler_config.json", {"shift": 3.0})
    write_json(folder / "model_index.json", {"_class_name": "ZImagePipeline"})
    return folder


def picture(width: int = 64, height: int = 48, color: Any = (200, 30, 30), **kind: Any) -> bytes:
    """A plain picture as the bytes of a file; PNG unless `format` says otherwise."""
    from PIL import Image

    file = io.BytesIO()
    mode = "RGBA" if len(color) == 4 else "RGB"
    Image.new(mode, (width, height), color).save(file, format=kind.get("format", "PNG"))
    return file.getvalue()
