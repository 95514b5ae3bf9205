"""The peers of ./run bench data, one thread each; one JSON object per command.

  images DIR               JPEG files in memory through Pillow and transformers' fast Qwen2-VL processor
  tokenizer FILE TEXT      Hugging Face tokenizers
  scan DIR                 Ultralytics' scan of a YOLO data set (verify_image_label of every picture, as its cache is made)
"""
import contextlib
import glob
import io
import json
import sys
import time


def best_of(rounds, work):
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def images(folder):
    import torch
    import transformers
    from PIL import Image
    torch.set_num_threads(1)
    name = "Qwen2VLImageProcessorFast" if hasattr(transformers, "Qwen2VLImageProcessorFast") else "Qwen2VLImageProcessor"
    processor = getattr(transformers, name)(size={"shortest_edge": 3136, "longest_edge": 150528})
    files = []
    for path in sorted(glob.glob(f"{folder}/*.jpg"))[:64]:
        with open(path, "rb") as file:
            files.append(file.read())

    def work():
        for data in files:
            processor(images=Image.open(io.BytesIO(data)).convert("RGB"), return_tensors="pt")

    work()
    return {"pictures_per_s": len(files) / best_of(5, work), "processor": name}


def tokenizer(path, text_file):
    from tokenizers import Tokenizer
    loaded = Tokenizer.from_file(path)
    with open(text_file, encoding="utf-8") as file:
        text = file.read()
    seconds = best_of(5, lambda: loaded.encode(text))
    return {"mb_per_s": len(text.encode()) / seconds / 1e6, "tokens": len(loaded.encode(text).ids)}


def scan(folder):
    """YOLODataset.get_labels scans in a pool of threads: here one, as ours."""
    with contextlib.redirect_stdout(sys.stderr):
        import ultralytics.data.dataset as dataset
        from ultralytics.data.utils import check_det_dataset
        dataset.NUM_THREADS = 1
        data = check_det_dataset(f"{folder}/data.yaml")

        def work():
            for cache in glob.glob(f"{folder}/*.cache"):
                __import__("os").remove(cache)
            dataset.YOLODataset(img_path=f"{folder}/images", data=data, task="detect", augment=False)

        seconds = best_of(2, work)
    return {"seconds": seconds}


if __name__ == "__main__":
    print(json.dumps({"images": images, "tokenizer": tokenizer, "scan": scan}[sys.argv[1]](*sys.argv[2:])))
