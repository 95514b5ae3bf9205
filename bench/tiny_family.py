"""tiny_family.py FAMILY FOLDER [nested]: the demo's model as qwen2_vl, qwen2_5_vl or qwen3_vl: FOLDER/config.json.

With `nested` in the layout of transformers 5 (text_config, rope_parameters, dtype), else as published. Beside Qwen2.5-VL's lie a
processor_config.json and a template as transformers 5 saves them, with other limits than the run's.
"""
import json
import os
import sys


def main(family, folder, layout="published"):
    with open("configs/models/demo/config.json") as file:
        config = json.load(file)
    vision, text = config["vision_config"], config["text_config"]
    config["model_type"] = family
    if family != "qwen2_5_vl":
        for key in ("window_size", "fullatt_block_indexes", "tokens_per_second"):
            vision.pop(key, None)
    if family == "qwen2_vl":
        vision.update(embed_dim=vision["hidden_size"], hidden_size=vision.pop("out_hidden_size"), mlp_ratio=2,
                      hidden_act="quick_gelu")
        vision.pop("intermediate_size")
    if family == "qwen3_vl":
        vision.update(patch_size=16, num_position_embeddings=64, deepstack_visual_indexes=[0, 1], hidden_act="gelu_pytorch_tanh")
        text.update(head_dim=32, attention_bias=False)
        text["rope_parameters"].update(mrope_section=[6, 5, 5], mrope_interleaved=True)
    if layout == "nested":
        vision["model_type"], text["model_type"] = f"{family}_vision", f"{family}_text"
    else:
        as_published(config)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    if family == "qwen2_5_vl":
        write_processor(folder)


def as_published(config):
    """What every version reads: rope_scaling, and flat where 4.49 knows no text_config."""
    vision, text = config["vision_config"], config["text_config"]
    for section in (vision, text):
        section.pop("model_type", None)
    rope = text.pop("rope_parameters")
    text["rope_theta"] = rope.pop("rope_theta")
    text["rope_scaling"] = rope
    if config["model_type"] != "qwen3_vl":
        rope["type"] = "mrope"
        config.update(config.pop("text_config"))


def write_processor(folder):
    images = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2, "temporal_patch_size": 2,
              "do_resize": True, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3,
              "rescale_factor": 1 / 255, "image_mean": [0.48145466, 0.4578275, 0.40821073],
              "image_std": [0.26862954, 0.26130258, 0.27577711], "size": {"shortest_edge": 3136, "longest_edge": 12845056}}
    videos = images | {"video_processor_type": "Qwen2VLVideoProcessor", "max_frames": 768, "min_frames": 4}
    del videos["image_processor_type"]
    with open(os.path.join(folder, "processor_config.json"), "w") as file:
        json.dump({"image_processor": images, "video_processor": videos, "processor_class": "Qwen2_5_VLProcessor"}, file, indent=1)
    with open(os.path.join(folder, "chat_template.jinja"), "w") as file:
        file.write("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}")


main(*sys.argv[1:])
