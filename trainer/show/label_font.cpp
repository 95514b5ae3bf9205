#include <fmt/core.h>
#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "trainer/show/overlay.h"

namespace muster::trainer {
namespace {

// Latin first, then fonts with Chinese, Japanese and Korean, as Debian, Fedora and Arch place them.
constexpr std::array<const char*, 9> kUsualFonts = {
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/arphic/uming.ttc",
};

constexpr char32_t kReplacement = 0xfffd;

// The code point at `at`, which moves past it. Anything that is not UTF-8 yields one replacement
// per byte.
char32_t next_code_point(const std::string& text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0u;
  };
  const unsigned lead = byte(at);
  const std::size_t length = lead < 0x80         ? 1
                             : (lead >> 5) == 6  ? 2
                             : (lead >> 4) == 14 ? 3
                             : (lead >> 3) == 30 ? 4
                                                 : 0;
  char32_t code = length == 1 ? lead : lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return ++at, kReplacement;
    code = code << 6 | (byte(at + i) & 0x3f);
  }
  at += std::max<std::size_t>(length, 1);
  return length == 0 ? kReplacement : code;
}

void blend(RgbImage& image, int x, int y, Rgb color, unsigned coverage) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  std::uint8_t* pixel = &image.pixels[(static_cast<std::size_t>(y) * image.width + x) * 3];
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] =
        static_cast<std::uint8_t>((pixel[c] * (255 - coverage) + color[c] * coverage + 127) / 255);
}

void draw_glyph(RgbImage& image, const FT_GlyphSlot glyph, int pen_x, int baseline, Rgb color) {
  const FT_Bitmap& bitmap = glyph->bitmap;
  for (unsigned row = 0; row < bitmap.rows; ++row)
    for (unsigned column = 0; column < bitmap.width; ++column)
      blend(image, pen_x + glyph->bitmap_left + static_cast<int>(column),
            baseline - glyph->bitmap_top + static_cast<int>(row), color,
            bitmap.buffer[static_cast<int>(row) * bitmap.pitch + static_cast<int>(column)]);
}

}  // namespace

struct LabelFont::Fonts {
  FT_Library library = nullptr;
  std::vector<FT_Face> faces;

  Fonts() {
    if (FT_Init_FreeType(&library) != 0) library = nullptr;
  }
  ~Fonts() {
    for (const FT_Face face : faces) FT_Done_Face(face);
    FT_Done_FreeType(library);
  }
  bool add(const char* file) {
    FT_Face face = nullptr;
    if (library == nullptr || FT_New_Face(library, file, 0, &face) != 0) return false;
    faces.push_back(face);
    return true;
  }
  FT_Face with_glyph(char32_t code) const {
    const auto found = std::ranges::find_if(
        faces, [&](FT_Face face) { return FT_Get_Char_Index(face, code) != 0; });
    return found == faces.end() ? nullptr : *found;
  }
};

LabelFont::LabelFont(const std::filesystem::path& file) : fonts_(std::make_unique<Fonts>()) {
  if (!file.empty() && !fonts_->add(file.c_str()))
    throw UsageError(fmt::format(
        "--font {}: not a font FreeType can read; give a .ttf, .otf or .ttc file", file.string()));
  for (const char* usual : kUsualFonts) fonts_->add(usual);
  if (empty())
    log::warn(
        "no font found, labels are left out of pictures: pass --font FILE or install "
        "fonts-dejavu-core");
}

LabelFont::~LabelFont() = default;
LabelFont::LabelFont(LabelFont&&) noexcept = default;

bool LabelFont::empty() const { return fonts_->faces.empty(); }

int LabelFont::draw(RgbImage* image, int x, int y, int height_px, const std::string& text,
                    Rgb color) {
  int pen = x;
  const int baseline = y + height_px * 4 / 5;
  for (std::size_t at = 0; at < text.size() && !empty();) {
    const char32_t code = next_code_point(text, at);
    FT_Face face = fonts_->with_glyph(code);
    if (face == nullptr) {
      if (missing_.insert(code).second)
        log::warn(
            "no font has U+{:04X}: it is drawn as an empty frame; pass --font FILE or install "
            "fonts-noto-cjk",
            static_cast<std::uint32_t>(code));
      face = fonts_->faces.front();
    }
    FT_Set_Pixel_Sizes(face, 0, static_cast<FT_UInt>(height_px * 4 / 5));
    if (FT_Load_Char(face, code, FT_LOAD_RENDER) != 0) continue;
    if (image != nullptr) draw_glyph(*image, face->glyph, pen, baseline, color);
    constexpr int kSubpixels = 64;
    pen += static_cast<int>(face->glyph->advance.x / kSubpixels);
  }
  return pen - x;
}

}  // namespace muster::trainer
