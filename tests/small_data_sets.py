"""Small data sets of random pictures, in the formats of the published ones."""

import json

import numpy as np
import python2_pickle
from PIL import Image

TRAIN, TEST = ["001.Black_footed_Albatross", "002.Laysan_Albatross"], ["003.Sooty_Albatross"]


def picture(seed, width=40, height=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)


def save_jpeg(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def ten(what):
    """Ten captions as in Reed's files, with the irregularities of those."""
    captions = [f"this {what}  is number {number} ." for number in range(8)]
    return "\n".join([*captions, f"a {what}\ufffd\ufffdwith a tail", "", f"a {what} ", "\n"])


def cub(root, images=2):
    """CUB-200-2011 with three species, two of them for training; pictures of 40 x 30 pixels."""
    files, labels, boxes, number = [], [], [], 0
    for label, species in enumerate(TRAIN + TEST, 1):
        for image in range(images):
            number += 1
            stem = f"{species}/{species[4:]}_{image + 1:04d}_{number}"
            files.append(f"{number} {stem}.jpg")
            labels.append(f"{number} {label}")
            boxes.append(f"{number} 10.0 5.0 20.0 12.0")
            save_jpeg(root / "CUB_200_2011/images" / f"{stem}.jpg", picture(number))
            write(root / "cvpr2016_cub/text_c10" / f"{stem}.txt", ten(f"bird {number}"))
    tables = {"images": files, "image_class_labels": labels, "bounding_boxes": boxes}
    for name, lines in tables.items():
        write(root / "CUB_200_2011" / f"{name}.txt", "\n".join(lines) + "\n")
    class_lists(root / "cvpr2016_cub", TRAIN, TEST)
    return root


def class_lists(folder, train, test):
    lists = {"trainvalclasses": train, "testclasses": test, "allclasses": train + test}
    for name, classes in lists.items():
        write(folder / f"{name}.txt", "\n".join(classes) + "\n")


def oxford(root, images=2):
    """Oxford-102 with three classes of flowers, two of them for training."""
    number = 0
    for kind in ("class_00001", "class_00002", "class_00077"):
        for _ in range(images):
            number += 1
            save_jpeg(root / "jpg" / f"image_{number:05d}.jpg", picture(number))
            text = root / "cvpr2016_flowers/text_c10" / kind / f"image_{number:05d}.txt"
            write(text, ten(f"flower {number}"))
    class_lists(root / "cvpr2016_flowers", ["class_00001", "class_00077"], ["class_00002"])
    return root


def coco(root, images=3):
    """COCO 2014 with a few images per split, unordered, with five captions each."""
    for split in ("train2014", "val2014"):
        numbers = [9 + 16 * image for image in range(images)]
        listed = [
            {"id": number, "file_name": f"COCO_{split}_{number:012d}.jpg", "width": 40}
            for number in reversed(numbers)
        ]
        annotations = [
            {
                "image_id": number,
                "id": 1000 * place + number,
                "caption": f"Thing {number}, {place}.\n",
            }
            for place in reversed(range(5))
            for number in numbers
        ]
        for image in listed:
            save_jpeg(root / split / image["file_name"], picture(image["id"]))
        content = {"info": {}, "licenses": [], "images": listed, "annotations": annotations}
        write(root / "annotations" / f"captions_{split}.json", json.dumps(content))
    return root


def pickled_birds(root, protocol=2, images=3, width=16, texts=True, sizes=(76,)):
    """StackGAN's Data/birds: two training classes and a test class of `images` pictures each."""
    for split, classes in {"train": (1, 2), "test": (3,)}.items():
        labels = [label for label in classes for _ in range(images)]
        stems = [f"{(TRAIN + TEST)[c - 1]}/{split}_{i:04d}" for i, c in enumerate(labels)]
        rng = np.random.default_rng(len(split))
        contents = {
            "filenames": [stem.encode() for stem in stems],
            "class_info": labels,
            "char-CNN-RNN-embeddings": list(
                rng.normal(size=(len(labels), 10, width)).astype(np.float32)
            ),
        }
        for size in sizes:
            pictures = [picture(100 * size + i, size, size) for i in range(len(labels))]
            contents[f"{size}images"] = pictures
        for name, content in contents.items():
            write(root / split / f"{name}.pickle", python2_pickle.dumps(content, protocol))
        for stem in stems if texts else ():
            write(root / "text_c10" / f"{stem}.txt", ten(stem))
    return root
