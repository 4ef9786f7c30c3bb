"""Where models come from, and one sentence where they cannot."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from string import ascii_letters
from typing import Any

import psutil
import pytest
from safetensors.torch import load_file, save_file
from transformers import (
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    PreTrainedModel,
)

from inference.engine import Engine, LoadError
from inference.engine.limits.limits import Limit
from inference.engine.loading.weights import read_tokenizer
from inference.events import Failed, Finished
from inference.policies import ContextPolicy
from inference.requests import GenerationRequest
from inference.worker.heap import give_back
from tests.engine.conftest import request_for, text_of
from tests.engine.loading.gguf_file import write_gguf
from tests.models import tiny_model, tiny_tokenizer


def load_fails(engine: Engine, source: Path | str) -> str:
    """The sentence of a load that fails; the engine goes on."""
    with pytest.raises(LoadError) as failure:
        engine.load("other", str(source))
    assert [model.id for model in engine.models()] == ["tiny"]
    sentence = str(failure.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_folder_loads_and_says_what_it_is(engine: Engine, tmp_path: Path) -> None:
    said: list[str] = []
    facts = engine.load("other", str(tiny_model(tmp_path / "m", "llama")), progress=said.append)
    assert facts.architecture == "LlamaForCausalLM"
    assert facts.dtype == "bfloat16"
    assert facts.parameters > 50_000
    assert facts.maximum_context_tokens == 2048
    assert (facts.chat_template, facts.tool_call, facts.reasoning) == ("model", True, False)
    assert facts.capabilities == ["text"]
    assert said == ["reading weights"]
    assert {model.limit for model in engine.models()} == {Limit(2048, 1536, 512, "model")}
    assert {model.id for model in engine.models()} == {"tiny", "other"}


def test_a_tokenizer_keeps_nothing_of_the_words_that_it_reads(tmp_path: Path) -> None:
    tokenizer, dice = read_tokenizer(tiny_model(tmp_path / "m")), random.Random(1)
    give_back()
    before = psutil.Process().memory_info().rss
    for _ in range(500):
        tokenizer(" ".join("".join(dice.choices(ascii_letters, k=250)) for _ in range(20)))
    give_back()
    assert psutil.Process().memory_info().rss - before < 16 * 2**20


def test_without_a_derived_limit_prompts_of_16384_tokens_are_taken(tmp_path: Path) -> None:
    engine = Engine("cpu", context=ContextPolicy(derive=False), kv_tokens=40_000)
    try:
        engine.load("tiny", str(tiny_model(tmp_path / "m", max_position_embeddings=131072)))
        (status,) = engine.models()
        assert (status.facts.maximum_context_tokens, status.limit) == (131072, None)
        (refused,) = engine.stream(GenerationRequest(id="over", model="tiny", prompts=[[1] * 16385]))
        assert isinstance(refused, Failed)
        assert refused.diagnostics["max"] == 16384
    finally:
        engine.close()


def test_a_base_model_gets_the_plain_template_and_says_so(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    facts = engine.load("base", str(tiny_model(tmp_path / "m", chat_template=False)))
    assert (facts.chat_template, facts.tool_call) == ("default", False)
    assert "base has no chat template of its own" in caplog.text
    assert isinstance(list(engine.stream(request_for("one", model="base", max_tokens=5)))[-1], Finished)


def test_a_thinking_template_is_noticed(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + "{% if enable_thinking %}<think>\n{% endif %}")
    assert engine.load("other", str(folder)).reasoning


def test_loading_what_is_loaded_keeps_it(engine: Engine) -> None:
    (status,) = engine.models()
    assert engine.load("tiny", "/nowhere/else") == status.facts


def test_an_unloaded_model_can_be_loaded_again(engine: Engine, endless: Path) -> None:
    engine.unload("tiny")
    assert engine.models() == []
    engine.load("tiny", str(endless))
    assert isinstance(list(engine.stream(request_for("one", max_tokens=3)))[-1], Finished)


def test_a_load_while_a_request_runs_leaves_it_whole(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", "gemma3")
    alone = text_of(list(engine.stream(request_for("alone", max_tokens=200))))
    stream = engine.stream(request_for("beside", max_tokens=200))
    events = [next(stream)]
    engine.load("other", str(folder))
    assert text_of([*events, *stream]) == alone


def test_a_gguf_file_is_converted_once_and_answers_like_its_folder(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m", eos=False, head_dim=128)
    file = write_gguf(folder, tmp_path / "tiny.gguf")
    said: list[str] = []
    engine = Engine("cpu", cache=tmp_path / "cache")
    try:
        engine.load("folder", str(folder))
        engine.load("file", str(file), progress=said.append)
        engine.load("again", str(file), progress=said.append)
        answers = [
            text_of(list(engine.stream(request_for(name, model=name, max_tokens=40))))
            for name in ("folder", "file", "again")
        ]
    finally:
        engine.close()
    assert said == ["converting tiny.gguf, once", "reading weights", "reading weights"]
    assert answers[0] == answers[1] == answers[2]
    assert not list((tmp_path / "cache").glob("*.new"))


def test_a_broken_gguf_file_says_so_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF and then nothing of the kind")
    engine = Engine("cpu", cache=tmp_path / "cache")
    try:
        with pytest.raises(LoadError, match=r"broken\.gguf cannot be converted \(.+\): give a safetensors folder"):
            engine.load("file", str(file))
    finally:
        engine.close()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_folder_that_is_missing(engine: Engine, tmp_path: Path) -> None:
    assert "There is no folder" in load_fails(engine, tmp_path / "nowhere")
    assert "There is no folder" in load_fails(engine, "a" * 5000)


def test_a_gguf_file_that_is_missing(engine: Engine, tmp_path: Path) -> None:
    assert "There is no file" in load_fails(engine, tmp_path / "nowhere.gguf")


def test_a_folder_that_is_no_model(engine: Engine, tmp_path: Path) -> None:
    assert "holds no config.json" in load_fails(engine, tmp_path)


def test_a_folder_without_safetensors(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    assert "holds no .safetensors weights" in load_fails(engine, folder)


def test_a_folder_without_a_tokenizer(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "holds no tokenizer.json" in load_fails(engine, folder)


def test_weights_that_are_missing_are_never_made_up(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    lost = weights.popitem()[0]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"lacks 1 weights, {lost} among them" in load_fails(engine, folder)


def test_weights_that_are_cut_short(engine: Engine, tmp_path: Path) -> None:
    file = tiny_model(tmp_path / "m") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "cannot be loaded" in load_fails(engine, file.parent)


@pytest.mark.parametrize(
    "change",
    [{"model_type": "unheard_of"}, {"model_type": "unheard_of", "auto_map": {"AutoConfig": "code.Config"}}],
    ids=["unknown", "own code"],
)
def test_an_architecture_that_is_unknown_or_brings_its_own_code(
    engine: Engine, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tiny_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    (folder / "code.py").write_text("raise SystemExit('this must never run')")
    load_fails(engine, folder)


def _changed(folder: Path, **change: object) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    return folder


def test_weights_of_other_sizes_than_the_configuration_says(engine: Engine, tmp_path: Path) -> None:
    folder = _changed(tiny_model(tmp_path / "m"), vocab_size=100)
    assert "weights of other sizes than its config.json says, lm_head.weight among them" in load_fails(engine, folder)


def test_weights_that_are_no_numbers(engine: Engine, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "its weights make logits that are no numbers" in load_fails(engine, folder)


def test_what_a_library_does_not_know_is_said_in_words(engine: Engine, tmp_path: Path) -> None:
    assert "('mystery' is not known)" in load_fails(engine, _changed(tiny_model(tmp_path / "m"), hidden_act="mystery"))


def _saved(network: PreTrainedModel, folder: Path) -> Path:
    network.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


_SIZES: dict[str, Any] = {"vocab_size": 384, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def test_layers_that_are_not_known_are_served_where_they_compute_the_same(tmp_path: Path) -> None:
    network = GPT2LMHeadModel(GPT2Config(**_SIZES, n_embd=64, n_layer=2, n_head=4, initializer_range=0.2))
    engine = Engine("cpu", kv_tokens=512)
    assert engine.load("other", str(_saved(network, tmp_path / "m"))).architecture == "GPT2LMHeadModel"
    engine.close()


def test_layers_that_compute_something_else_with_our_attention(engine: Engine, tmp_path: Path) -> None:
    """These call it twice in a layer, each time with other values, of which only the last would be remembered."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    network = DiffLlamaForCausalLM(DiffLlamaConfig(**_SIZES, **sizes, num_key_value_heads=2, initializer_range=0.2))
    assert "computes something else than with its own" in load_fails(engine, _saved(network, tmp_path / "m"))


def test_layers_that_cannot_be_told_to_use_our_attention(engine: Engine, tmp_path: Path) -> None:
    network = GPTJForCausalLM(GPTJConfig(**_SIZES, n_embd=64, n_layer=2, n_head=4, rotary_dim=16))
    assert "cannot be served: its layers have an attention of their own" in load_fails(
        engine, _saved(network, tmp_path / "m")
    )


def test_an_engine_that_is_closed_loads_nothing(endless: Path) -> None:
    engine = Engine("cpu")
    engine.close()
    with pytest.raises(LoadError, match="closing"):
        engine.load("tiny", str(endless))
