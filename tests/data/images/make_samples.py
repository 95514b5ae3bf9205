#!/usr/bin/env python3
"""Makes samples/: small pictures of every kind, and pillow.txt with what Pillow reads in each.

One line per file: name, width, height, FNV-1a of the RGB bytes (alpha over white), or "refused".
Needs Pillow; run it to add a kind. The tests read only what is checked in."""
import io
import pathlib
import struct
import zlib

from PIL import Image

OUT = pathlib.Path(__file__).parent / "samples"
W, H = 13, 9


def picture():
    image = Image.new("RGB", (W, H))
    image.putdata([((x * 19 + y * 3) % 256, (y * 27 + x * x) % 256, (x * y * 5 + 40) % 256)
                   for y in range(H) for x in range(W)])
    return image


def noise(count, seed):
    values = []
    for _ in range(count):
        seed = (seed * 1103515245 + 12345) % 2**31
        values.append(seed >> 16 & 255)
    return bytes(values)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def png(bits, color_type, rows):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", W, H, bits, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(bits, compression, data, palette=b"", masks=b"", size=40, height=H):
    begin = 14 + size + len(masks) + len(palette)
    inner = masks if size > 40 else b""
    if inner:
        begin -= len(masks)
    header = struct.pack("<IiiHHIIiiII", size, W, height, 1, bits, compression, len(data), 0, 0,
                         len(palette) // 4, 0)
    header += inner.ljust(size - 40, b"\0")
    outer = b"" if inner else masks
    return (b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) + header + outer + palette + data)


def os2_bmp(bits, data, palette=b""):
    begin = 26 + len(palette)
    return (b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) +
            struct.pack("<IHHHH", 12, W, H, 1, bits) + palette + data)


def runs(four_bits):
    """A run, single values and a move in each row but the third, which ends early."""
    out = b""
    for y in range(H):
        out += bytes([5, 0x21 + y])
        if y != 3:
            singles = noise(3 if four_bits else 5, y + 1)
            out += bytes([0, 5]) + singles + b"\0" + bytes([0, 2, 1, 0]) + bytes([2, 0x17])
        out += b"\0\0"
    return out + b"\0\x01"


def jpegs(image):
    yield from ((f"sub{n}.jpg", encoded(image, "JPEG", subsampling=n, quality=85)) for n in (0, 1, 2))
    progressive = encoded(image, "JPEG", progressive=True)
    yield "progressive.jpg", progressive
    yield "gray.jpg", encoded(image.convert("L"), "JPEG")
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG")
    yield "rgb.jpg", encoded(image, "JPEG", keep_rgb=True)
    yield "restarts.jpg", encoded(image, "JPEG", restart_marker_blocks=1)
    yield "exif6.jpg", encoded(image, "JPEG", exif=exif(6))
    plain = encoded(image, "JPEG")
    yield "extraneous.jpg", plain[:-2] + b"\x11\x22\x33" + plain[-2:]
    yield "cut.jpg", plain[:-12]
    yield "progressive_cut.jpg", progressive[:-12]
    table = plain.index(b"\xff\xc4") + 5
    yield "bad_table.jpg", plain[:table] + b"\xff\xff\xff" + plain[table + 3:]


def pngs(image, with_alpha):
    yield "palette.png", encoded(image.quantize(7), "PNG")
    yield "gray_alpha.png", encoded(with_alpha.convert("LA"), "PNG")
    yield "rgba.png", encoded(with_alpha, "PNG")
    yield "exif8.png", encoded(image, "PNG", exif=exif(8))
    yield "rgb16.png", png(16, 2, [noise(6 * W, y) for y in range(H)])
    for bits in (1, 2, 4):
        yield f"gray{bits}.png", png(bits, 0, [noise((bits * W + 7) // 8, y) for y in range(H)])


def webps(image, with_alpha):
    yield "lossy.webp", encoded(image, "WEBP", quality=70)
    yield "lossless.webp", encoded(image, "WEBP", lossless=True)
    yield "alpha.webp", encoded(with_alpha, "WEBP", quality=70)
    yield "exif3.webp", encoded(image, "WEBP", quality=70, exif=exif(3))
    yield "cut.webp", encoded(image, "WEBP", quality=70)[:-20]


def bmps(image):
    for mode in ("1", "L", "P", "RGB"):
        yield f"{mode.lower()}.bmp", encoded(image.convert(mode), "BMP")
    yield "b4.bmp", bmp(4, 0, noise(8 * H, 1), palette=noise(64, 2))
    yield "b555.bmp", bmp(16, 0, noise(28 * H, 3))
    yield "b565.bmp", bmp(16, 3, noise(28 * H, 4), masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F))
    yield "b32.bmp", bmp(32, 0, noise(4 * W * H, 5))
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield "b32alpha.bmp", bmp(32, 3, noise(4 * W * H, 6), masks=masks, size=108)
    yield "top_down.bmp", bmp(24, 0, noise(40 * H, 7), height=-H)
    yield "rle8.bmp", bmp(8, 1, runs(False), palette=noise(1024, 8))
    yield "rle4.bmp", bmp(4, 2, runs(True), palette=noise(64, 9))
    yield "os2.bmp", os2_bmp(24, noise(40 * H, 10))
    yield "os2_4.bmp", os2_bmp(4, noise(8 * H, 11), palette=noise(48, 12))
    yield "cut.bmp", encoded(image, "BMP")[:-9]


def tiffs(image, with_alpha):
    for mode in ("1", "L", "P", "RGB", "CMYK"):
        yield f"{mode.lower()}.tif", encoded(image.convert(mode), "TIFF")
    yield "rgba.tif", encoded(with_alpha, "TIFF", compression="tiff_lzw")
    yield "gray_alpha.tif", encoded(with_alpha.convert("LA"), "TIFF", compression="packbits")
    yield "lzw_predictor.tif", encoded(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "deflate.tif", encoded(image, "TIFF", compression="tiff_adobe_deflate")
    yield "jpeg.tif", encoded(image, "TIFF", compression="jpeg")
    yield "group4.tif", encoded(image.convert("1"), "TIFF", compression="group4")
    yield "strips.tif", encoded(image, "TIFF", compression="tiff_lzw", strip_size=100)
    yield "cut.tif", encoded(image, "TIFF")[:-100]


def what_pillow_reads(data):
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except OSError:
        return "refused"
    if image.mode in ("RGBA", "LA"):
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("RGB")
    digest = 0xCBF29CE484222325
    for byte in image.tobytes():
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return f"{image.width} {image.height} {digest:016x}"


def main():
    image = picture()
    with_alpha = image.copy()
    with_alpha.putalpha(image.convert("L").rotate(180))
    OUT.mkdir(exist_ok=True)
    lines = []
    for made in (jpegs(image), pngs(image, with_alpha), webps(image, with_alpha), bmps(image),
                 tiffs(image, with_alpha)):
        for name, data in made:
            (OUT / name).write_bytes(data)
            lines.append(f"{name} {what_pillow_reads(data)}\n")
    (OUT / "pillow.txt").write_text("".join(lines))


main()
