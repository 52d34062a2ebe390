"""Toy models for the vision modules: random weights (written-out ones for Moondream2), built without a network, saved as
published ones are. The same call makes the same model. Each builder makes `folder` where it is missing.
"""

import math
import shutil
from pathlib import Path
from typing import Any

MOONDREAM_SNAPSHOT = Path(__file__).parent / "moondream_snapshot"
TOKENIZER_TEXT = "Describe shortly this image considering it will be used as input to a sound generation model"


def make_yolov9(folder: Path) -> Path:
    """A checkpoint of YOLOv9's smallest size (2 M parameters, 5 MB), for `ObjectDetectionSettings(weights=str(path))`.

    In every picture it finds a few persons (score 0.5) and dogs (score 0.4), which fill the frame.
    """
    from models.object_detection import import_ultralytics

    ultralytics = import_ultralytics()
    import torch
    from ultralytics.utils import YAML, checks

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ultralytics.YOLO("yolov9t.yaml", verbose=False).model
    network.names = YAML.load(checks.check_yaml("coco.yaml"))["names"]
    head = network.model[-1]
    # Random weights find nothing: the last layers are set to say the same everywhere, whatever the picture. Boxes that reach
    # far out of the frame overlap, so that only a few are kept.
    says: tuple[dict[int, float], ...] = (
        {},
        {16: math.log(0.4 / 0.6)},
        {0: 0},
    )  # label → logit; 0 is a person, 16 a dog
    head.dfl.conv.weight.data.mul_(8)
    for labels, boxes, logits in zip(head.cv3, head.cv2, says, strict=True):
        with torch.no_grad():
            for layer in (labels[-1], boxes[-1]):
                layer.weight.zero_()
                layer.bias.fill_(-20)
            boxes[-1].bias[head.reg_max - 1 :: head.reg_max] = 20  # every edge as far from the middle as it can be
            for label, logit in logits.items():
                labels[-1].bias[label] = logit
    path = folder / "toy_yolov9t.pt"
    torch.save({"model": network.half(), "train_args": {}}, path)
    return path


def make_resnet18(folder: Path) -> Path:
    """A state dict of torchvision's resnet18 (45 MB), for `FrameSelectionSettings(weights=path)`."""
    import torch
    from torchvision.models import resnet18

    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = resnet18(weights=None)
    path = folder / "toy_resnet18.pth"
    torch.save(network.state_dict(), path)
    return path


def make_moondream(folder: Path) -> Path:
    """A snapshot in Moondream2's layout, with code of our own: `Moondream2Settings(weights=str(folder), tokenizer=str(folder))`.

    Of a picture that is mostly red, green or blue it says "a red picture", "a green picture" or "a blue picture".
    """
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    from tests.toys.moondream_snapshot.config import VOCABULARY

    folder.mkdir(parents=True, exist_ok=True)
    for file in MOONDREAM_SNAPSHOT.glob("*.py"):
        shutil.copyfile(file, folder / file.name)
    place = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(place, unk_token="<bos>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))

    follows = torch.zeros(len(VOCABULARY), 3 + len(VOCABULARY))  # of the colour and the last word, onto the next word
    follows[place["a"], 3 + place["<bos>"]] = 10
    for channel, colour in enumerate(("red", "green", "blue")):
        follows[place[colour], 3 + place["a"]] = 10
        follows[place[colour], channel] = 5
        follows[place["picture"], 3 + place[colour]] = 10
    follows[place["<eos>"], 3 + place["picture"]] = 10
    weights = {
        "model.proj.weight": torch.eye(3),
        "model.proj.bias": torch.zeros(3),
        "model.lm_head.weight": follows,
        "model.lm_head.bias": torch.zeros(len(VOCABULARY)),
    }
    save_file(weights, folder / "model.safetensors")
    return folder


def make_llava(folder: Path) -> Path:
    """LLaVA (a CLIP vision tower and a Llama, 2 layers each, under 1 MB), for `ImageTextSettings(weights=str(folder))`.

    Its answers are gibberish, but depend on the picture.
    """
    import torch
    import transformers as tf

    tokenizer = _byte_tokenizer()
    vision = tf.CLIPVisionConfig(
        hidden_size=32, image_size=56, patch_size=14, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        projection_dim=32,
    )  # fmt: skip
    text = tf.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.5,
    )  # fmt: skip
    config = tf.LlavaConfig(
        vision_config=vision, text_config=text, image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=16, vision_feature_layer=-1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = tf.LlavaForConditionalGeneration(config)
    processor = tf.LlavaProcessor(
        image_processor=tf.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=(
            "{% for message in messages %}{{ message.role }}:"
            "{% for part in message.content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}"
            "{% endfor %}{% if add_generation_prompt %} assistant:{% endif %}"
        ),
    )
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _byte_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytewise.train_from_iterator([TOKENIZER_TEXT], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
    )
