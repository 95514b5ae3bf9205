#!/usr/bin/env bash
# make_seeds.sh BUILD OUT: the inputs that fuzzing starts from, one folder per target. From the tests' own files and the
# configs; what stands here in words is the smallest input that reaches a reader's end.
set -euo pipefail
readonly kBuild="$1" kOut="$2"
kHere=$(dirname "$(readlink -f "$0")")
readonly kHere
readonly kTree="$kHere/../.."

# seed TARGET NAME: standard input.
seed() {
  mkdir -p "$kOut/$1"
  cat >"$kOut/$1/$2"
}

# after BYTE FILE: the file behind the byte that chooses its reader.
after() {
  # shellcheck disable=SC2059  # the byte is written as an escape
  printf "\\x$1"
  cat "$2"
}

pictures() {
  mkdir -p "$kOut/picture"
  find "$kTree/tests/data/images/samples" -type f ! -name '*.txt' -exec cp -t "$kOut/picture" {} +
  "$kBuild/pack_seed" "$kBuild/seed.h5" "$kTree/tests/data/images/samples/gray.jpg"
  seed pack_file one.h5 <"$kBuild/seed.h5"
}

yaml_files() {
  local file name
  for file in "$kTree"/configs/*.yaml "$kTree"/configs/*/*.yaml; do
    if [ ! -f "$file" ]; then continue; fi
    name=$(basename "$file")
    seed config "$name" <"$file"
    seed yaml "$name" <"$file"
  done
  printf 'a: &x {b: [1, "two", ~]}\nc: [*x, *x]\n---\n- |\n  text\n- ? k\n  : v\n' | seed yaml aliases
}

tokenizers() {
  seed tokenizer tiny.json <<'TXT'
{"added_tokens": [{"id": 6, "content": "<|im_end|>", "single_word": false, "lstrip": false, "rstrip": false,
 "normalized": false, "special": true}], "normalizer": {"type": "NFC"},
 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
  {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+|\\s+"}, "behavior": "Isolated", "invert": false},
  {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]},
 "decoder": {"type": "ByteLevel"},
 "model": {"type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": false,
  "vocab": {"a": 0, "c": 1, "t": 2, "ca": 3, "cat": 4, "Ġ": 5}, "merges": ["c a", ["ca", "t"]]}}
TXT
}

annotations() {
  seed xml voc.xml <<'TXT'
<?xml version="1.0" encoding="utf-8"?>
<annotation><filename>a.jpg</filename><size><width>13</width><height>9</height><depth>3</depth></size>
<object><name><![CDATA[cat]]></name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object></annotation>
TXT
  seed voc voc.xml <"$kOut/xml/voc.xml"
  seed coco one.json <<'TXT'
{"images": [{"id": 1, "file_name": "a.jpg", "width": 13, "height": 9}],
 "categories": [{"id": 3, "name": "cat"}],
 "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 4, 4], "area": 16, "iscrowd": 0,
  "segmentation": [[1, 2, 5, 2, 5, 6]], "caption": "a cat"}]}
TXT
  seed jsonl boxes.jsonl <<'TXT'
{"image": "a.jpg", "objects": [{"bbox": [1, 2, 5, 6], "label": "dog", "caption": "a small dog"}], "width": 13, "height": 9}
{"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nfind"}, {"from": "gpt", "value": "```json\n[{\"bbox_2d\": [1, 2, 5, 6], \"label\": \"dog\"}]\n```"}]}
{"messages": [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "what?"}]}, {"role": "assistant", "content": "a dog"}]}
{"messages": [{"role": "user", "content": "<image>find <ref-object>"}, {"role": "assistant", "content": "<bbox>"}], "images": ["a.jpg"], "objects": {"ref": ["dog"], "bbox": [[1, 2, 5, 6]], "bbox_type": "real"}}
{"image": "a.jpg", "conversations": [{"from": "human", "value": "find"}, {"from": "gpt", "value": "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(100,200),(500,600)<|box_end|>"}]}
TXT
  seed csv metadata.csv <<'TXT'
file_name,objects,width
a.jpg,"{""bbox"": [[1, 2, 5, 6]], ""categories"": [""dog""]}",13
"a.jpg","[{'bbox': [1, 2, 5, 6], 'category': 'cat'}]",
TXT
  seed cvat annotations.xml <<'TXT'
<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>cat</name></label></labels></task></meta>
<image id="0" name="a.jpg" width="13" height="9"><box label="cat" xtl="1" ytl="2" xbr="5" ybr="6" rotation="30"/>
<polygon label="cat" points="1,2;5,2;5,6"/><mask label="cat" left="1" top="2" width="3" height="4" rle="1"/>
<ellipse label="cat" cx="5" cy="5" rx="2" ry="1" rotation="10"/><points label="cat" points="1,2"/></image></annotations>
TXT
  seed yolo data.yaml < <(printf '\x01names:\n  0: cat\n  1: "dog"\nnc: 2\ntrain: images\n')
  seed yolo classes < <(printf '\x02cat\ndog\n')
  seed yolo labels < <(printf '\x000 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.3 0.1 0.3 0.3\n')
}

answers() {
  # shellcheck disable=SC2016  # backticks as answers have them
  seed answer fenced < <(printf 'Here:\n```json\n[{"bbox_2d": [1, 2, 5, 6], "label": "dog"}]\n```\n')
  seed answer python < <(printf "[{'bbox_2d': (1, 2, 5, 6), 'label': 'dog', 'ok': True}, None,]")
  seed answer tokens < <(printf '<|object_ref_start|>dog<|object_ref_end|><|box_start|>(100,200),(500,600)<|box_end|>')
  seed answer point < <(printf '[{"point_2d": [4, 5], "label": "dog"}]')
  seed answer lengths < <(printf 'PQ12')
  seed label_studio one.json <<'TXT'
[{"id": 1, "data": {"image": "/data/upload/1/a.jpg"}, "annotations": [{"result": [{"type": "rectanglelabels",
 "from_name": "label", "to_name": "image", "original_width": 13, "original_height": 9,
 "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}}]}]}]
TXT
}

# A change of a column is a few bytes: which, how, what.
packs() {
  seed pack changes < <(printf '\x01\x02\x03\x04\x05\x06\x07\x08\x09')
}

json_files() {
  seed json values.json <<'TXT'
{"a": [1, -2.5e3, true, null, "text \u00e9 \ud83d\ude00"], "b": {"c": {}}, "d": []}
TXT
  seed side_file class_map < <(printf '\x00{"classes": [{"index": 0, "id": 3, "name": "cat"}]}')
  seed side_file preprocessor < <(printf '\x01{"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
 "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "min_pixels": 3136, "max_pixels": 1003520}')
  seed side_file metrics < <(printf '\x03{"step": 1, "loss": 2.5, "lr.model": 1e-4}\n')
}

run_folders() {
  seed run_folder launch < <(printf '\x00{"ranks": 2, "attempt": 1, "host": "x", "pid": 1, "exit_code": 70,
 "attempts": [{"ending": "failed", "what": "rank 1"}], "changes": [{"what": "bucket"}], "command": ["muster", "train", "x"]}')
  seed run_folder metrics < <(printf '\x01{"step": 1, "loss": 2.5, "seconds": 0.1}\n{"step": 2, "loss": null}\n')
  seed run_folder config < <(after 02 "$kTree/configs/demo.yaml")
  seed run_folder status < <(printf '\x04{"rank": 0, "world_size": 1, "host": "x", "pid": 1, "attempt": 0, "start_unix": 1.5,
 "end_unix": 2.5, "exit_code": 70, "signal": 0, "last_step": 3, "error": "out of memory", "error_unix": 2.0}')
  seed run_folder log < <(printf '\x05[2026-01-01 00:00:00.000] [error] [rank 0/1 x] terminate called\n')
  seed run_folder error < <(printf '\x06{"rank": 0, "time_unix": 2.0, "what": "x", "consequence": false}')
  seed run_folder beats < <(printf '\x07muster-beats 0 1 1.5\nmuster-beat kept b 0 1 5 250 7 0 3 9 1 -1 5 83 1024 1000 4 -1 -1 -1\n')
}

checkpoints() {
  seed manifest format_1 <<'TXT'
{"format": 1, "step": 3, "epoch": 1, "step_in_epoch": 2, "health": {"recent_losses": [1.5, 2], "skips_in_row": 0, "skips": 1, "lr_scale": 0.5},
 "plateau": {"best": 0.25, "stale": 1, "factor": 0.1}, "ended_early": false, "world_size": 2,
 "layout_hash": "0123456789abcdef0123456789abcdef", "data_fingerprint": "x", "muster_version": "0.1",
 "base_model": {"path": "/m", "fingerprint": "", "seed": 7}, "files": {"part-0": {"bytes": 5, "xxh128": "0123456789abcdef0123456789abcdef"}}}
TXT
  seed manifest no_checksum < <(printf '{\n "format": 2,\n "step": 3,\n "xxh128": "0123456789abcdef0123456789abcdef"\n}\n')
  seed best one.json < <(printf '{"checkpoint": "step-000004", "metric": 0.5, "name": "ap", "before": ["step-000002", "../x"]}\n')
}

forms() {
  seed form picture < <(printf 'boundary="b"\n--b\r\nContent-Disposition: form-data; name="image"; filename="a \\"b\\".jpg"\r\nContent-Type: image/jpeg\r\n\r\nbytes\r\n--b\r\ncontent-disposition: form-data; name=prompt\r\n\r\nred\r\n--b--\r\n')
}

rm -rf "$kOut"
pictures
yaml_files
tokenizers
annotations
answers
packs
json_files
run_folders
checkpoints
forms
