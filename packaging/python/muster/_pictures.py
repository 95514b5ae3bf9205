"""Pictures of any kind as files that the program reads."""
import os
import struct
import zlib


def store_picture(image, folder, number):
    """A file in `folder` that holds the picture, under a name of its own: returns its path.

    A path is linked to, not copied. A PIL picture or an array is written as PNG, which loses nothing.
    """
    name = os.path.join(folder, f"{number:08d}")
    if isinstance(image, (str, os.PathLike)):
        source = os.path.abspath(os.fspath(image))
        name += os.path.splitext(source)[1] or ".jpg"
        os.symlink(source, name)   # one that is not there is told by the program, with the others
        return name
    name += ".png"
    if hasattr(image, "save") and hasattr(image, "convert"):
        image.convert("RGB").save(name)
    else:
        write_png(name, image)
    return name


def write_png(path, array):
    """array: uint8 [height, width, 3], C-contiguous or not: whatever gives a buffer or tobytes()."""
    shape = tuple(getattr(array, "shape", ()))
    if len(shape) != 3 or shape[2] != 3 or str(getattr(array, "dtype", "")) not in ("uint8", "torch.uint8"):
        raise TypeError(
            f"a picture is a path, a PIL picture or a uint8 array [height, width, 3], not "
            f"{type(array).__name__} {getattr(array, 'dtype', '')} {list(shape)}")
    height, width, _ = shape
    if hasattr(array, "numpy"):
        array = array.cpu().numpy()
    pixels = array.tobytes()
    row = 3 * width
    rows = b"".join(b"\0" + pixels[y * row:(y + 1) * row] for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) +
                   chunk(b"IEND", b""))
