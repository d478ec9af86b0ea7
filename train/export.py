"""From a checkpoint to a model file: ONNX with the card inside, checked against torch before it gets its name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxscript
import torch
from onnxscript import optimizer
from torch import nn

from models.architectures import build
from models.atomic_write import replacing
from models.errors import ModelFileError
from models.heads import Heads
from models.model_file import CARD_KEY, input_names
from models.scorer import WindowBatch, load_scorer
from models.scorer_kind import ScorerKind
from models.seal import require_unbroken, sealed
from models.spec import ModelCard

OPSET = 20
PARITY = 1e-4
"""Greatest difference between torch's and ONNX Runtime's probabilities for a model to be written."""

NETWORK_PREFIX = "network."
"""Of the network's weights in a checkpoint. Others are of training only: what listens to a teacher."""


def load_checkpoint(path: Path) -> tuple[nn.Module, ModelCard]:
    """The network with its trained weights, ready to score, and its card.

    Raises:
        ModelFileError: missing, not a checkpoint of ours, or damaged. Nothing in the file is run.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        card_json, weights = checkpoint[CARD_KEY], checkpoint["state_dict"]
    except OSError as error:
        raise ModelFileError(f"checkpoint {path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged or foreign file fails anywhere inside the unpickler
        # Not in torch's words, which end with the advice to run whatever the file holds.
        raise ModelFileError(
            f"checkpoint {path}: expected one written by `genrescope train`, this one is damaged or of another program"
        ) from error
    card = ModelCard.from_json(card_json)
    network = build(card)
    try:
        # Others are of training only: what listens to a teacher.
        ours = {
            name.removeprefix(NETWORK_PREFIX): values
            for name, values in weights.items()
            if name.startswith(NETWORK_PREFIX)
        }
        network.load_state_dict(ours)
    except RuntimeError as error:
        raise ModelFileError(f"checkpoint {path}: its weights do not fit {card.architecture.name}: {error}") from error
    return network.eval(), card


def without_heads(network: nn.Module, card: ModelCard, names: Collection[str]) -> tuple[nn.Module, ModelCard]:
    """The network and its card without the heads of these ``names``; the network is changed."""
    network.heads = cast(Heads, network.heads).without(names)
    return network, card.model_copy(update={"heads": tuple(head for head in card.heads if head.name not in names)})


def export(network: nn.Module, card: ModelCard, path: Path, *, windows: WindowBatch) -> float:
    """Write the model file; return the greatest difference in probability between torch and ONNX Runtime.

    Args:
        network: takes (batch, bands, frames) for each input, gives a dict of logits by head name.
        windows: features of sound, to compare both runtimes on.

    Raises:
        ModelFileError: the two runtimes differ by more than ``PARITY``. The file is not written then.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(sealed(to_onnx(network, card).SerializeToString()))
        # Through the product's own scorers: what is compared is what will run.
        onnx_scores = load_scorer(temporary, ScorerKind.ONNX).score(windows)
        torch_scores = load_scorer(temporary, ScorerKind.TORCH).score(windows)
        difference = max(float(np.abs(onnx_scores[h.name] - torch_scores[h.name]).max()) for h in card.heads)
        if not difference <= PARITY:
            raise ModelFileError(
                f"export to {path}: expected torch and ONNX Runtime to agree within {PARITY:g}, "
                f"their probabilities differ by {difference:g}"
            )
    return difference


def put_card(path: Path, card: ModelCard) -> None:
    """Give a model file another card of the same network: other thresholds, or figures measured with the file."""
    data = path.read_bytes()
    require_unbroken(data)  # a new seal must not vouch for old damage
    model = onnx.load_model_from_string(data)
    onnx.helper.set_model_props(model, {CARD_KEY: card.to_json()})
    with replacing(path) as temporary:
        temporary.write_bytes(sealed(model.SerializeToString()))


def _is_no_weight_changed(node: onnxscript.ir.Node) -> bool | None:
    """False for what makes another weight of the network's own, which then would not be in the file."""
    of_weights = any(value is not None and value.is_initializer() for value in node.inputs)
    return False if of_weights and node.op_type != "Shape" else None


def _forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """Leave out the exporter's notes, which are stack traces with the paths of the machine that made the model."""
    noted = (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info)
    for part in (model.graph, *noted, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def to_onnx(network: nn.Module, card: ModelCard) -> onnx.ModelProto:
    """The network as an ONNX graph that has all of its weights by their names, with the card; nothing is compared."""
    network = network.eval()
    examples = tuple(torch.zeros(2, *shape) for shape in card.input_shapes)
    with warnings.catch_warnings():
        # torch's own exporter uses what torch deprecates, and logs every package that it does without.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network,
            examples,
            input_names=input_names(card),
            output_names=[head.name for head in card.heads],
            dynamic_shapes=({0: torch.export.Dim("batch")},) * len(examples),
            opset_version=OPSET,
            # It leaves weights out that change nothing (a bias of zeros); the torch scorer wants all of them.
            optimize=False,
            verbose=False,
        )
    if program is None:
        raise ModelFileError("torch.onnx.export gave no model")
    # The exporter writes a convolution's missing bias as zeros worked out in the graph, and ONNX Runtime then does not
    # join the convolution with the normalisation behind it: it takes half as long again.
    optimizer.fold_constants(program.model, onnx_shape_inference=True, should_fold=_is_no_weight_changed)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _forget_where_it_was_made(model)
    onnx.helper.set_model_props(model, {CARD_KEY: card.to_json()})
    onnx.checker.check_model(model, full_check=True)
    return model
