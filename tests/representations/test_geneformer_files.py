"""Folders of Hugging Face: what is read, what is refused and in which words."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

from cellwright.errors import RunError
from cellwright.representations.geneformer_files import load_encoder, write_checkpoint

IDS_T = torch.arange(1, 13)
LENGTHS = [7, 5]


def config(**changed):
    parts = {
        "vocab_size": 30,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
        "hidden_act": "relu",
        "pad_token_id": 0,
    }
    return BertConfig(**(parts | changed))


@pytest.fixture
def theirs():
    torch.manual_seed(0)
    return BertForMaskedLM(config()).eval()


@pytest.fixture
def folder(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def hidden(model):
    with torch.no_grad():
        return model(IDS_T, LENGTHS)[0]


def rewrite(folder, change):
    """Change the tensors of a folder."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def reconfigure(folder, **changed):
    settings = json.loads((folder / "config.json").read_text()) | changed
    settings = {key: value for key, value in settings.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(settings))


def as_bin(folder, values):
    torch.save(values, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_a_bin_gives_the_same_as_safetensors(folder, theirs):
    wanted = hidden(load_encoder(folder)[0])
    # As older checkpoints are: tied decoder and position buffers stored too.
    state = dict(theirs.state_dict())
    state["bert.embeddings.position_ids"] = torch.arange(20).unsqueeze(0)
    assert "cls.predictions.decoder.weight" in state
    as_bin(folder, state)
    torch.testing.assert_close(hidden(load_encoder(folder)[0]), wanted)


def test_without_the_prefix_and_with_a_pooler(tmp_path):
    torch.manual_seed(1)
    theirs = BertModel(config()).eval()
    theirs.save_pretrained(tmp_path)
    assert "pooler.dense.weight" in load_file(tmp_path / "model.safetensors")
    model, _ = load_encoder(tmp_path)
    assert model.head is None
    with torch.no_grad():
        wanted = theirs(IDS_T[:7].unsqueeze(0)).last_hidden_state[0]
    torch.testing.assert_close(hidden(model)[:7], wanted, atol=1e-5, rtol=0)


def test_half_precision_is_widened(folder, theirs):
    wanted = hidden(load_encoder(folder)[0])
    rewrite(folder, lambda weights: weights.update({n: t.half() for n, t in weights.items()}))
    found = load_encoder(folder)[0]
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    torch.testing.assert_close(hidden(found), wanted, atol=5e-3, rtol=0)


def test_written_tensors_are_the_read_ones_bit_by_bit(folder, tmp_path):
    model, settings = load_encoder(folder)
    (tmp_path / "again").mkdir()
    write_checkpoint(tmp_path / "again", model, settings)
    before = load_file(folder / "model.safetensors")
    after = load_file(tmp_path / "again" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    old = json.loads((folder / "config.json").read_text())
    new = json.loads((tmp_path / "again" / "config.json").read_text())
    assert old == new


def test_a_model_without_a_head_is_written_as_one(tmp_path):
    torch.manual_seed(1)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    BertModel(config(), add_pooling_layer=False).save_pretrained(tmp_path / "one")
    write_checkpoint(tmp_path / "two", load_encoder(tmp_path / "one")[0], {"pad_token_id": 0})
    again = BertModel.from_pretrained(tmp_path / "two", add_pooling_layer=False).eval()
    with torch.no_grad():
        wanted = again(IDS_T[:7].unsqueeze(0)).last_hidden_state[0]
    found = hidden(load_encoder(tmp_path / "one")[0])[:7]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


class Planted:
    """Runs code when unpickled; used only to see that it is not."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("protocol", ["zip", "legacy", "bare"])
def test_a_bin_that_holds_code_is_refused_unrun(protocol, folder, tmp_path):
    target = tmp_path / "planted"
    if protocol == "bare":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"w": Planted(target)}))
    else:
        torch.save(
            {"w": Planted(target)},
            folder / "pytorch_model.bin",
            _use_new_zipfile_serialization=protocol == "zip",
        )
        (folder / "model.safetensors").unlink()
    asked = "as weights alone" if protocol == "bare" else r"posix\.mkdir"
    with pytest.raises(RunError, match=rf"pytorch_model\.bin holds more.*{asked}.*run code"):
        load_encoder(folder)
    assert not target.exists()


def test_no_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(RunError, match=r"model has no config\.json.*pytorch_model\.bin"):
        load_encoder(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load_encoder(folder)


def test_another_architecture(tmp_path):
    torch.manual_seed(0)
    BertForSequenceClassification(config()).save_pretrained(tmp_path)
    with pytest.raises(RunError, match=r"BertForSequenceClassification.*BertForMaskedLM"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"model_type": "roberta"}, "'roberta'.*'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"is_decoder": True}, "is_decoder = True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False"),
        ({"hidden_size": ...}, "does not say hidden_size, expected a whole number"),
        ({"num_hidden_layers": "six"}, "'six' for num_hidden_layers"),
        ({"hidden_act": "mish"}, "'mish'"),
        ({"num_attention_heads": 3}, "width 16 does not divide by 3 heads"),
        ({"hidden_size": 32}, r"word_embeddings\.weight is 30 × 16, expected 30 × 32"),
        ({"vocab_size": 31}, r"word_embeddings\.weight is 30 × 16, expected 31 × 16"),
        ({"num_hidden_layers": 3}, r"lacks the tensor encoder\.layer\.2\.attention"),
        ({"num_hidden_layers": 1}, r"holds 16 tensors.*first is encoder\.layer\.1\.attention"),
        ({"intermediate_size": 25}, r"intermediate\.dense\.weight is 24 × 16, expected 25 × 16"),
    ],
)
def test_a_config_that_does_not_fit(changed, match, folder):
    reconfigure(folder, **changed)
    with pytest.raises(RunError, match=match):
        load_encoder(folder)


def test_files_that_are_no_such_files(folder):
    (folder / "config.json").write_text("[1]")
    with pytest.raises(RunError, match=r"config\.json holds a list"):
        load_encoder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json cannot be read as JSON"):
        load_encoder(folder)


def test_damaged_weights(folder, theirs):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"model\.safetensors does not hold tensors"):
        load_encoder(folder)
    as_bin(folder, theirs.state_dict())
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"pytorch_model\.bin"):
        load_encoder(folder)
    (folder / "pytorch_model.bin").write_bytes(b"hello")
    with pytest.raises(RunError, match=r"pytorch_model\.bin is damaged or was not written by"):
        load_encoder(folder)
    torch.save([torch.zeros(2)], folder / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"pytorch_model\.bin holds a list"):
        load_encoder(folder)


def test_a_missing_tensor_is_named(folder):
    rewrite(folder, lambda weights: weights.pop("cls.predictions.bias"))
    with pytest.raises(RunError, match=r"lacks the tensor cls\.predictions\.bias"):
        load_encoder(folder)
