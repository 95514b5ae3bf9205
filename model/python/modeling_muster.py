"""The detector that muster trained, in PyTorch and transformers alone.

    from transformers import AutoModel
    detector = AutoModel.from_pretrained(FOLDER, trust_remote_code=True)
    for picture in detector.detect(["street.jpg"], threshold=0.3):
        for found in picture:
            print(found["caption"], found["score"], found["box"])

`muster export` wrote this file beside the weights. The language model is transformers' own class,
`detector.backbone`; the detection head is written out below. Shapes stand beside tensors.
For transformers 4.49 and later (Qwen3-VL: 4.57), one picture at a time.
"""
import inspect
import json
import math
import unicodedata
from contextlib import contextmanager

import numpy
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import cached_file

# --- the detection head -------------------------------------------------------------------------


class Attention(nn.Module):
    """From x [batch, n, hidden] to memory [batch, m, hidden], with several heads."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.output = nn.Linear(hidden, hidden)
        self.heads = heads

    def forward(self, x, memory):
        return self.read(x, self.key_value(memory))

    def read(self, x, key_values):
        """key_values [batch, m, 2 * hidden]: the memory, projected already."""
        batch, n, hidden = x.shape
        q = self.query(x).view(batch, n, self.heads, -1).transpose(1, 2)
        kv = key_values.view(batch, key_values.shape[1], 2, self.heads, -1).transpose(1, 3)
        mixed = F.scaled_dot_product_attention(q, kv[:, :, 0], kv[:, :, 1])
        return self.output(mixed.transpose(1, 2).reshape(batch, n, hidden))


class Mlp(nn.ModuleList):
    """Linear layers with ReLU between them."""

    def __init__(self, *sizes):
        super().__init__(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        x = self[0](x)
        for layer in list(self)[1:]:
            x = layer(x.relu())
        return x


class BoxAttention(nn.Module):
    """From each query to a grid of points over its own box, a fifth wider than the box."""

    def __init__(self, hidden, heads, side=5, reach=1.2):
        super().__init__()
        self.query = nn.Linear(hidden, hidden)
        self.key_value = nn.Linear(hidden, 2 * hidden)
        self.output = nn.Linear(hidden, hidden)
        self.point = nn.Parameter(torch.zeros(side * side, hidden))
        self.heads, self.side, self.reach = heads, side, reach

    def forward(self, x, memory, boxes):
        """x [1, n, hidden]; memory a map [1, hidden, rows, columns]; boxes [1, n, 4] in [0,1]."""
        _, n, hidden = x.shape
        line = ((torch.arange(self.side, device=x.device) + 0.5) / self.side - 0.5) * self.reach
        offsets = torch.stack([line.repeat(self.side), line.repeat_interleave(self.side)], -1)
        where = boxes[0, :, None, :2] + offsets * boxes[0, :, None, 2:]   # [n, points, 2]
        seen = F.grid_sample(memory, (where * 2 - 1)[None].to(memory.dtype), padding_mode="border",
                             align_corners=False)[0].permute(1, 2, 0)   # [n, points, hidden]
        kv = self.key_value(seen + self.point).view(n, len(self.point), 2, self.heads, -1).transpose(1, 3)
        q = self.query(x).view(n, 1, self.heads, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, kv[:, :, 0], kv[:, :, 1])
        return self.output(mixed.reshape(1, n, hidden))


class ConvBlock(nn.Module):
    """x + out(silu(conv(silu(in(norm(x)))))) over a map [1, rows, columns, hidden]; the convolution has half the width."""

    def __init__(self, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.add_module("in", nn.Linear(hidden, hidden // 2))
        self.weight = nn.Parameter(torch.empty(hidden // 2, hidden // 2, 3, 3))
        self.bias = nn.Parameter(torch.empty(hidden // 2))
        self.out = nn.Linear(hidden // 2, hidden)

    def forward(self, x):
        narrow = F.silu(getattr(self, "in")(self.norm(x))).permute(0, 3, 1, 2)
        mixed = F.conv2d(narrow, self.weight, self.bias, padding=1).permute(0, 2, 3, 1)
        return x + self.out(F.silu(mixed))


class QueryLayer(nn.Module):
    """Self-attention among an image's queries, cross-attention to its memory, MLP; pre-norm."""

    def __init__(self, hidden, heads, mlp, box_attention):
        super().__init__()
        self.self_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(hidden) for _ in range(3))
        self.self_attention = Attention(hidden, heads)
        self.cross_attention = (BoxAttention if box_attention else Attention)(hidden, heads)
        self.box_attention = box_attention
        self.mlp = Mlp(hidden, mlp, hidden)

    def forward(self, x, position, memory, boxes):
        own = self.self_norm(x) + position
        x = x + self.self_attention(own, own)
        near = (boxes,) if self.box_attention else ()
        x = x + self.cross_attention(self.cross_norm(x) + position, memory, *near)
        return x + self.mlp(self.mlp_norm(x))


class CaptionLayer(nn.Module):
    """Causal self-attention and MLP, one position at a time."""

    def __init__(self, hidden, heads, mlp):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.attention = Attention(hidden, heads)
        self.mlp = Mlp(hidden, mlp, hidden)

    def forward(self, x, cache):
        """x [n, 1, hidden]; cache [n, positions before, 2 * hidden] or None: x, cache with x."""
        own = self.attention_norm(x)
        newest = self.attention.key_value(own)
        cache = newest if cache is None else torch.cat([cache, newest], 1)
        x = x + self.attention.read(own, cache)
        return x + self.mlp(self.mlp_norm(x)), cache


class CaptionDecoder(nn.Module):
    """A small transformer that starts from a query's state and shares the token embedding."""

    def __init__(self, config, text_hidden):
        super().__init__()
        hidden = config["hidden_size"]
        self.input, self.output = nn.Linear(text_hidden, hidden), nn.Linear(hidden, text_hidden)
        self.position = nn.Parameter(torch.zeros(config["caption_max_tokens"] + 1, hidden))
        self.layers = nn.ModuleList(CaptionLayer(hidden, config["num_heads"], config["mlp_size"])
                                    for _ in range(config["caption_layers"]))
        self.norm = nn.LayerNorm(hidden)
        self.classes = [tuple(name) for name in config.get("classes", [])]   # of a closed set
        self.tokens = config.get("caption_tokens", [])   # that can be said; none: all of the vocabulary

    def forward(self, queries, embedding, end_token):
        """queries [n, hidden]: ids and the log probability of each one's caption."""
        decode = self.likeliest_class if self.classes else self.greedy
        return decode(queries, embedding, end_token)

    def likeliest_class(self, queries, embedding, end_token):
        """A class is told by what may follow wherever its name and another's part."""
        log_p = torch.zeros(len(queries), len(self.classes), device=queries.device)
        for prefix in sorted({name[:i] for name in self.classes for i in range(len(name) + 1)}):
            after = {i: (*name, end_token)[len(prefix)] for i, name in enumerate(self.classes)
                     if name[:len(prefix)] == prefix}
            choices = sorted(set(after.values()))
            if len(choices) == 1:
                continue
            states = self.state_after(queries, prefix, embedding)
            chosen = F.linear(states, embedding[choices]).float().log_softmax(-1)
            for i, token in after.items():
                log_p[:, i] += chosen[:, choices.index(token)]
        best, index = log_p.max(-1)
        return [list(self.classes[i]) for i in index.tolist()], best.tolist()

    def state_after(self, queries, prefix, embedding):
        """[n, text hidden]: what is said after the ids of `prefix`."""
        caches, inputs = [None] * len(self.layers), queries
        for step in range(len(prefix) + 1):
            x = (inputs + self.position[step]).unsqueeze(1)
            for i, layer in enumerate(self.layers):
                x, caches[i] = layer(x, caches[i])
            if step < len(prefix):
                inputs = queries + self.input(embedding[prefix[step]])
        return self.output(self.norm(x.squeeze(1)))

    def greedy(self, queries, embedding, end_token):
        """Token by token, the likeliest each time."""
        captions, log_probs = [[] for _ in queries], [0.0] * len(queries)
        active = list(range(len(queries)))   # captions that still grow
        rows, inputs, caches = queries, queries, [None] * len(self.layers)
        said = embedding[self.tokens] if self.tokens else embedding
        last = len(self.position) - 1
        for step in range(last + 1):
            x = (inputs + self.position[step]).unsqueeze(1)
            for i, layer in enumerate(self.layers):
                x, caches[i] = layer(x, caches[i])
            ids, probs = likeliest(self.output(self.norm(x.squeeze(1))), said)
            ids = [self.tokens[i] for i in ids] if self.tokens else ids
            going = []
            for row, (caption, token, log_prob) in enumerate(zip(active, ids, probs)):
                if step == last and token != end_token:
                    continue   # nothing more fits
                log_probs[caption] += log_prob
                if token != end_token:
                    captions[caption].append(token)
                    going.append(row)
            if not going:
                break
            keep = torch.tensor(going, device=rows.device)
            rows, caches = rows[keep], [cache[keep] for cache in caches]
            active = [active[row] for row in going]
            newest = torch.tensor([captions[c][-1] for c in active], device=rows.device)
            inputs = rows + self.input(F.embedding(newest, embedding))
        return captions, log_probs


def likeliest(states, embedding, rows=512):
    """The best row of the embedding for each state [n, text hidden], and its log probability; `rows`
    states at a time."""
    ids, log_probs = [], []
    for chunk in states.split(rows):
        logits = F.linear(chunk, embedding).float()
        best, index = logits.max(-1)
        ids += index.tolist()
        log_probs += (best - logits.logsumexp(-1)).tolist()
    return ids, log_probs


class DetectionHead(nn.Module):
    """Vision tokens and language states of one image become a memory; queries (its best-scored
    tokens, or learned ones) read it and end as a box, an objectness and a caption."""

    def __init__(self, config, vision_hidden, text_hidden):
        super().__init__()
        self.config = config
        hidden = config["hidden_size"]
        self.vision, self.vision_norm = nn.Linear(vision_hidden, hidden), nn.LayerNorm(hidden)
        self.boxes = config.get("box_attention", False)
        self.neck = nn.ModuleList(ConvBlock(hidden) for _ in range(config.get("neck_layers", 0)))
        # One map, to which language states are added; else both stand side by side.
        self.one_map = self.boxes or len(self.neck) > 0 or config.get("use_patches", False)
        if config["use_language"]:
            self.language = nn.Linear(text_hidden, hidden)
            if not self.one_map:
                self.language_norm = nn.LayerNorm(hidden)
        if config.get("one_to_many", 0) > 0:   # training's; they have a place in the file
            self.many_score, self.many_box = nn.Linear(hidden, 1), Mlp(hidden, hidden, 4)
        if config["proposals"]:
            self.fused_norm, self.proposal_score = nn.LayerNorm(hidden), nn.Linear(hidden, 1)
            self.proposal_box, self.query = Mlp(hidden, hidden, 4), nn.Linear(hidden, hidden)
        else:
            self.learned_query = nn.Parameter(torch.zeros(config["num_queries"], hidden))
            self.learned_box = nn.Parameter(torch.zeros(config["num_queries"], 4))
            if config["denoising_groups"] > 0:   # training's; it has a place in the file
                self.denoising_query = nn.Parameter(torch.zeros(1, hidden))
        self.position = Mlp(2 * hidden, hidden, hidden)
        self.layers = nn.ModuleList(
            QueryLayer(hidden, config["num_heads"], config["mlp_size"], self.boxes)
            for _ in range(config["num_layers"]))
        self.norm, self.score = nn.LayerNorm(hidden), nn.Linear(hidden, 1)
        self.box = Mlp(hidden, hidden, hidden, 4)
        self.caption = CaptionDecoder(config, text_hidden)

    def forward(self, vision, language, rows, columns):
        """vision [rows * columns, vision hidden] and language [rows * columns, text hidden] of one
        image, language None where the head reads none: states [queries, hidden], boxes cx,cy,w,h
        in [0,1], objectness, fp32."""
        seen = self.vision(vision)[None]   # [1, tokens, hidden]
        centres = token_centres(rows, columns).to(seen.device)[None]
        where = sine_features(centres, seen.shape[-1] // 2).to(seen.dtype)
        read = self.language(language)[None] if self.config["use_language"] else None
        fused = seen if read is None else seen + read
        if self.one_map:
            fused, memory = self.map_memory(fused, where, rows, columns)
        else:
            memory = self.vision_norm(seen) + where
            if read is not None:
                memory = torch.cat([memory, self.language_norm(read) + where], 1)
        states, reference = self.first_queries(fused, centres, rows, columns)
        for layer in self.layers:
            before = reference.sigmoid()
            near = sine_features(before, seen.shape[-1] // 2).to(seen.dtype)
            states = layer(states, self.position(near), memory, before)
            final = self.norm(states)
            reference = reference + self.box(final).float()
        return final[0], reference.sigmoid()[0], self.score(final).squeeze(-1).float().sigmoid()[0]

    def map_memory(self, tokens, where, rows, columns):
        """What queries are made of, and what they read: the tokens, or their map."""
        x = tokens.view(1, rows, columns, -1)
        for block in self.neck:
            x = block(x)
        made = x.reshape(1, rows * columns, -1)
        normed = self.vision_norm(made)
        if self.boxes:
            return made, normed.view(x.shape).permute(0, 3, 1, 2)
        return made, normed + where

    def first_queries(self, fused, centres, rows, columns):
        """states [1, queries, hidden] and the logits of the boxes they start from, fp32."""
        if not self.config["proposals"]:
            return self.learned_query[None], self.learned_box.float()[None]
        fused = self.fused_norm(fused)
        side = torch.tensor([min(2 / columns, 0.5), min(2 / rows, 0.5)], device=fused.device)
        anchors = torch.cat([centres, side.expand_as(centres)], -1)
        boxes = torch.logit(anchors, 1e-4) + self.proposal_box(fused).float()
        states = self.query(fused)
        count = min(self.config["num_queries"], fused.shape[1])
        if count == fused.shape[1]:
            return states, boxes
        scores = self.proposal_score(fused).squeeze(-1).float()[0]
        best = scores.sort(stable=True, descending=True)[1][:count]
        return states[:, best], boxes[:, best]


def token_centres(rows, columns):
    """The centre of every token, x and y in [0,1]: [rows * columns, 2] fp32."""
    y = (torch.arange(rows, dtype=torch.float32) + 0.5) / rows
    x = (torch.arange(columns, dtype=torch.float32) + 0.5) / columns
    return torch.stack([x.repeat(rows), y.repeat_interleave(columns)], -1)


def sine_features(coordinates, size):
    """[..., n] in [0,1] -> [..., n * size]: from half a period across the image to sixteen."""
    half = size // 2
    step = torch.arange(half, dtype=torch.float32, device=coordinates.device)
    phase = coordinates.float().unsqueeze(-1) * (32.0 ** (step / max(1, half - 1)) * math.pi)
    return torch.cat([phase.sin(), phase.cos()], -1).flatten(-2)


# --- pictures and words -------------------------------------------------------------------------


class Pictures:
    """What training did with its pictures: sizes, normalisation, patches in Qwen's order."""

    def __init__(self, data, vision):
        self.patch, self.merge = vision.patch_size, vision.spatial_merge_size
        self.frames = vision.temporal_patch_size
        self.limits = int(data["min_pixels"]), int(data["max_pixels"])
        self.max_tokens, self.shrink = int(data["max_vision_tokens"]), data["over_budget"] == "resize"
        self.mean, self.std = (numpy.array(data[k], numpy.float64) for k in ("image_mean", "image_std"))

    def size(self, height, width):
        """Of the resized picture: multiples of a merged token, within the limits."""
        factor = self.patch * self.merge
        height_to, width_to = smart_resize(height, width, factor, *self.limits)
        tokens = height_to * width_to // factor**2
        if tokens <= self.max_tokens:
            return height_to, width_to
        most = self.max_tokens * factor**2
        if self.shrink:
            height_to, width_to = smart_resize(height, width, factor, min(self.limits[0], most), most)
        if not self.shrink or height_to * width_to > most:
            raise ValueError(f"a picture of {width} x {height} has {tokens} vision tokens, over "
                             f"data.max_vision_tokens = {self.max_tokens} of its training")
        return height_to, width_to

    def patches(self, image):
        """[patches, channels * frames * side * side] fp32, and the grid (1, rows, columns)."""
        height, width = self.size(image.height, image.width)
        # Widths first, as Pillow 11: later ones choose, and the order changes rounded values.
        wide = image.resize((width, image.height), Image.BICUBIC)
        resized = wide.resize((width, height), Image.BICUBIC)
        values = ((numpy.asarray(resized) / 255.0 - self.mean) / self.std).astype(numpy.float32)
        side, merge, rows, columns = self.patch, self.merge, height // self.patch, width // self.patch
        x = torch.from_numpy(values).view(rows // merge, merge, side, columns // merge, merge, side, 3)
        x = x.permute(0, 3, 1, 4, 6, 2, 5).unsqueeze(5)   # a still picture has equal frames
        x = x.expand(*x.shape[:5], self.frames, side, side)
        return x.reshape(rows * columns, -1), (1, rows, columns)


def smart_resize(height, width, factor, least, most):
    """Qwen's: multiples of `factor`, from `least` to `most` pixels, the aspect kept."""
    if max(height, width) / min(height, width) > 200:
        raise ValueError(f"a picture of {width} x {height} is over 200 times as long as wide")
    height_to, width_to = round(height / factor) * factor, round(width / factor) * factor
    if height_to * width_to > most:
        shrink = math.sqrt(height * width / most)
        return tuple(max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    if height_to * width_to < least:
        grow = math.sqrt(least / (height * width))
        return tuple(math.ceil(side * grow / factor) * factor for side in (height, width))
    return max(factor, height_to), max(factor, width_to)


def open_picture(image):
    """As stored: nothing is turned by EXIF."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image) if isinstance(image, numpy.ndarray) else Image.open(image)
    return image.convert("RGB")


class Words:
    """Qwen's chat with one picture, as ids; and ids as words."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
        self.end = tokenizer.token_to_id("<|im_end|>")

    def text(self, text):
        control = next((token for token in self.added if token in text), None)
        if control:
            raise ValueError(f"the text contains {control}, which would be read as control")
        return self.tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def question(self, system, prompt, picture_tokens):
        """The picture stands where the prompt says <image>, else before it."""
        token = self.tokenizer.token_to_id
        before, mark, after = prompt.replace("<image>\n", "<image>").partition("<image>")
        if not mark:
            before, after = "", prompt
        if "<image>" in after:
            raise ValueError("the prompt shows several pictures; one at a time is looked at")
        start, end, line = [token("<|im_start|>")], [self.end], self.text("\n")
        ids = start + self.text("system\n" + system) + end + line if system else []
        ids += start + self.text("user\n" + before) + [token("<|vision_start|>")]
        ids += [token("<|image_pad|>")] * picture_tokens + [token("<|vision_end|>")]
        return ids + self.text(after) + end + line + start + self.text("assistant\n")

    def caption(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def rope_positions(is_picture, rows, columns):
    """[3, 1, tokens]: time, row and column of every token of a text with one picture."""
    first = int(is_picture.nonzero()[0])
    after = len(is_picture) - first - rows * columns
    grid = torch.stack([torch.zeros(rows * columns, dtype=torch.long),
                        torch.arange(rows).repeat_interleave(columns),
                        torch.arange(columns).repeat(rows)])
    tail = torch.arange(after) + first + max(rows, columns)
    parts = [torch.arange(first).expand(3, -1), grid + first, tail.expand(3, -1)]
    return torch.cat(parts, 1).unsqueeze(1)


def folded(name):
    return unicodedata.normalize("NFC", name.strip(" \t\r\n").casefold())


# --- the detector -------------------------------------------------------------------------------


class MusterDetector(nn.Module):
    """A Qwen-VL model of transformers with muster's detection head."""

    def __init__(self, backbone, head, words, settings, classes):
        super().__init__()
        self.backbone, self.head, self.words = backbone, head, words
        self.config = backbone.config
        self.settings = settings   # the run's config.yaml
        self.category_ids = {folded(c["name"]): c["id"] for c in reversed(classes)}
        self.pictures = Pictures(settings["data"], self.config.vision_config)

    @classmethod
    def register_for_auto_class(cls, auto_class="AutoModel"):
        """Called by AutoModel.from_pretrained; there is nothing to note."""

    @classmethod
    def from_pretrained(cls, folder, *_, config=None, trust_remote_code=None, **options):
        """folder: what `muster export` wrote. Options go to the backbone: dtype (torch_dtype before
        transformers 4.56), device_map, attn_implementation ... Without a dtype: that of the files."""
        if not {"dtype", "torch_dtype"} & set(options):
            options["torch_dtype"] = "auto"
        backbone = AutoModelForImageTextToText.from_pretrained(folder, config=config, **options)
        hub = {k: options[k] for k in ("revision", "token", "cache_dir", "local_files_only") if k in options}
        file = lambda name: cached_file(folder, name, **hub)   # noqa: E731
        with open(file("config.yaml"), encoding="utf-8") as text:
            settings = yaml.safe_load(text)
        with open(file("class_map.json"), encoding="utf-8") as text:
            classes = json.load(text)["classes"]
        try:
            tokenizer = Tokenizer.from_file(file("tokenizer.json"))
        except OSError:   # vocab.json and merges.txt alone
            tokenizer = AutoTokenizer.from_pretrained(folder, **hub).backend_tokenizer
        head = load_head(file("detection_head.safetensors"), text_size(backbone))
        head = head.to(device=backbone.device, dtype=backbone.dtype)
        return cls(backbone, head, Words(tokenizer), settings, classes).eval()

    @property
    def device(self):
        return self.backbone.device

    @property
    def dtype(self):
        return self.backbone.dtype

    def generate(self, *arguments, **options):
        """The language model's answer in words: that of `backbone`. Boxes come from detect()."""
        return self.backbone.generate(*arguments, **options)

    def prepare_inputs_for_generation(self, *arguments, **options):
        return self.backbone.prepare_inputs_for_generation(*arguments, **options)

    @torch.inference_mode()
    def detect(self, images, prompt=None, threshold=None):
        """images: paths, PIL pictures or uint8 arrays [height, width, 3], or one of them. Returns per
        picture a list of {"box": [x1, y1, x2, y2] in its pixels, "score", "caption",
        "category_id"}, best first. prompt, threshold: training's where none is given."""
        if isinstance(images, (str, Image.Image, numpy.ndarray)) or hasattr(images, "__fspath__"):
            images = [images]
        if threshold is None:
            threshold = float(self.settings["detection"]["score_threshold"])
        prompt = prompt or self.settings["data"]["prompt"]
        return [self._detect_one(open_picture(image), prompt, threshold) for image in images]

    def _detect_one(self, image, prompt, threshold):
        pixels, grid = self.pictures.patches(image)
        vision, language = self._see(pixels, grid, prompt)
        merge = 1 if self.head.config.get("use_patches", False) else self.pictures.merge
        states, boxes, scores = self.head(vision, language, grid[1] // merge, grid[2] // merge)
        embedding = self.backbone.get_input_embeddings().weight
        captions, log_probs = self.head.caption(states, embedding, self.words.end)
        found = []
        for box, score, ids, log_prob in zip(boxes.tolist(), scores.tolist(), captions, log_probs):
            score *= math.exp(log_prob)
            if score < threshold:
                continue
            caption = self.words.caption(ids)
            found.append({"box": pixel_box(box, image.width, image.height), "score": score,
                          "caption": caption, "category_id": self.category_ids.get(folded(caption), -1)})
        return sorted(found, key=lambda one: -one["score"])

    def _see(self, pixels, grid, prompt):
        """The vision tokens, merged or patches as the head reads them, and the language states
        at them: [tokens, vision hidden], [tokens, text hidden]."""
        device, merge = self.device, self.pictures.merge
        rows, columns = grid[1] // merge, grid[2] // merge
        patches = self.head.config.get("use_patches", False)
        pixels, grid = pixels.to(device, self.dtype), torch.tensor([grid], device=device)
        with keeping_input(self._vision_tower().merger) as before_merging:
            vision, language = self._run(pixels, grid, prompt, rows, columns)
        if not patches:
            return vision, language
        order = visiting_order(rows, columns, self._vision_tower().config, merge)
        vision = raster_patches(before_merging[0], order, rows, columns, merge)
        if language is not None:   # every patch has its merged token's
            language = language.view(rows, columns, -1).repeat_interleave(merge, 0)
            language = language.repeat_interleave(merge, 1).flatten(0, 1)
        return vision, language

    def _run(self, pixels, grid, prompt, rows, columns):
        """The merged vision tokens and the language states at them, None where none are read."""
        device = self.device
        if not self.head.config["use_language"]:
            return merged_tokens(self._vision_tower()(pixels, grid_thw=grid)), None
        ids = self.words.question(self.settings["data"]["system_prompt"], prompt, rows * columns)
        ids = torch.tensor([ids], device=device)
        is_picture = ids[0] == self.config.image_token_id
        inputs = dict(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, use_cache=False,
                      attention_mask=torch.ones_like(ids),
                      position_ids=rope_positions(is_picture.cpu(), rows, columns).to(device))
        inner = self.backbone.model
        with keeping_output(self._vision_tower()) as seen:
            if hasattr(inner, "visual"):
                if "mm_token_type_ids" in inspect.signature(inner.forward).parameters:
                    inputs["mm_token_type_ids"] = is_picture.int()[None]
                states = inner(**inputs).last_hidden_state
            else:   # transformers 4.49: the vision tower stands beside the language model
                states = self.backbone(**inputs, output_hidden_states=True).hidden_states[-1]
        return merged_tokens(seen[0]), states[0][is_picture]

    def _vision_tower(self):
        inner = self.backbone.model
        return inner.visual if hasattr(inner, "visual") else self.backbone.visual


@contextmanager
def keeping_output(module):
    """What the module returns while this lasts, so that the vision tower runs once."""
    kept = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def keeping_input(module):
    """What the module is given while this lasts."""
    kept = []
    handle = module.register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0]))
    try:
        yield kept
    finally:
        handle.remove()


def visiting_order(rows, columns, vision, merge):
    """The merged token that the tower visits k-th: window by window where the family has them."""
    side = getattr(vision, "window_size", 0) // (vision.patch_size * merge) or max(rows, columns)
    return [row * columns + column
            for top in range(0, rows, side) for left in range(0, columns, side)
            for row in range(top, min(top + side, rows))
            for column in range(left, min(left + side, columns))]


def raster_patches(visited, order, rows, columns, merge):
    """Patches as visited, in groups of merged tokens, put row by row: [patches, vision hidden]."""
    groups = visited.reshape(rows * columns, merge, merge, -1)
    in_place = torch.empty_like(groups)
    in_place[torch.tensor(order, device=groups.device)] = groups
    return in_place.view(rows, columns, merge, merge, -1).transpose(1, 2).flatten(0, 3)


def merged_tokens(output):
    """The vision tower's answer in any version: a tensor, (tensor, levels), or an object."""
    if torch.is_tensor(output):
        return output
    merged = output.pooler_output if hasattr(output, "pooler_output") else output[0]
    return merged if torch.is_tensor(merged) else torch.cat(list(merged))   # 5.x cuts it by picture


def load_head(path, text_hidden):
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {name.removeprefix("detection_head."): file.get_tensor(name) for name in file.keys()}
    head = DetectionHead(config, tensors["vision.weight"].shape[1], text_hidden)
    head.load_state_dict(tensors, strict=True)
    return head


def text_size(backbone):
    return backbone.get_input_embeddings().weight.shape[1]


def pixel_box(box, width, height):
    """From cx,cy,w,h in [0,1] to x1,y1,x2,y2 in pixels, cut at the edges."""
    x, y, w, h = box
    corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    return [min(max(c, 0.0), float(side)) for c, side in zip(corners, (width, height) * 2)]
