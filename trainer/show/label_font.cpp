#include <fmt/core.h>
#include <fontconfig/fontconfig.h>
#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/source_files.h"
#include "base/utf8.h"
#include "trainer/show/overlay.h"

namespace muster::trainer {
namespace {

struct FontFile {
  std::string path;
  FT_Long face = 0;  // of a file that holds several
};

// A machine without fontconfig's own file has no fonts it knows of, and loading would complain.
FcConfig* machine_fonts() {
  const bool configured =
      std::getenv("FONTCONFIG_FILE") != nullptr || std::filesystem::exists("/etc/fonts/fonts.conf");
  return configured ? FcInitLoadConfigAndFonts() : FcConfigCreate();
}

// The machine's scalable fonts, and the one that is shipped, as fontconfig sorts them for plain
// text: together they have every character that any of them has. Empty when there is none.
std::vector<FontFile> usual_fonts() {
  std::vector<FontFile> fonts;
  const std::unique_ptr<FcConfig, decltype(&FcConfigDestroy)> config(machine_fonts(),
                                                                     &FcConfigDestroy);
  const std::unique_ptr<FcPattern, decltype(&FcPatternDestroy)> wanted(
      FcNameParse(reinterpret_cast<const FcChar8*>("DejaVu Sans,sans:scalable=true")),
      &FcPatternDestroy);
  if (config == nullptr || wanted == nullptr) return fonts;
  if (const auto shipped = shipped_path("fonts"))
    FcConfigAppFontAddDir(config.get(), reinterpret_cast<const FcChar8*>(shipped->c_str()));
  FcConfigSubstitute(config.get(), wanted.get(), FcMatchPattern);
  FcDefaultSubstitute(wanted.get());
  FcResult result = FcResultNoMatch;
  const std::unique_ptr<FcFontSet, decltype(&FcFontSetDestroy)> sorted(
      FcFontSort(config.get(), wanted.get(), /*trim=*/FcTrue, nullptr, &result), &FcFontSetDestroy);
  for (int i = 0; sorted != nullptr && i < sorted->nfont; ++i) {
    FcChar8* path = nullptr;
    int face = 0;
    FcPatternGetInteger(sorted->fonts[i], FC_INDEX, 0, &face);
    if (FcPatternGetString(sorted->fonts[i], FC_FILE, 0, &path) == FcResultMatch)
      fonts.push_back({reinterpret_cast<const char*>(path), face});
  }
  return fonts;
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
  Fonts() {
    if (FT_Init_FreeType(&library_) != 0) library_ = nullptr;
  }
  ~Fonts() {
    for (const FT_Face face : faces_) FT_Done_Face(face);
    FT_Done_FreeType(library_);
  }

  bool add(const FontFile& font) {
    FT_Face face = nullptr;
    if (library_ == nullptr || FT_New_Face(library_, font.path.c_str(), font.face, &face) != 0)
      return false;
    faces_.push_back(face);
    return true;
  }

  // A machine may have hundreds: each is opened when those before it lack a character.
  void add_when_needed(std::vector<FontFile> fonts) {
    waiting_.assign(fonts.rbegin(), fonts.rend());
    while (faces_.empty() && open_next()) continue;
  }

  bool empty() const { return faces_.empty(); }
  FT_Face first() const { return faces_.front(); }
  std::mutex& mutex() { return mutex_; }

  FT_Face with_glyph(char32_t code) {
    for (std::size_t i = 0; i < faces_.size() || open_next();) {
      if (i == faces_.size()) continue;
      if (FT_Get_Char_Index(faces_[i], code) != 0) return faces_[i];
      ++i;
    }
    return nullptr;
  }

 private:
  // False when none is left.
  bool open_next() {
    if (waiting_.empty()) return false;
    add(waiting_.back());
    waiting_.pop_back();
    return true;
  }

  std::mutex mutex_;  // a face draws one letter at a time
  FT_Library library_ = nullptr;
  std::vector<FT_Face> faces_;
  std::vector<FontFile> waiting_;  // the next one last
};

LabelFont::LabelFont(const std::filesystem::path& file) : fonts_(std::make_unique<Fonts>()) {
  if (!file.empty() && !fonts_->add({file.string(), 0}))
    throw UsageError(fmt::format(
        "--font {}: not a font FreeType can read; give a .ttf, .otf or .ttc file", file.string()));
  fonts_->add_when_needed(usual_fonts());
  if (empty())
    log::warn(
        "no font found, labels are left out of pictures: pass --font FILE or install "
        "fonts-dejavu-core");
}

LabelFont::~LabelFont() = default;
LabelFont::LabelFont(LabelFont&&) noexcept = default;

bool LabelFont::empty() const { return fonts_->empty(); }

int LabelFont::draw(RgbImage* image, int x, int y, int height_px, const std::string& text,
                    Rgb color) {
  const std::lock_guard lock(fonts_->mutex());
  int pen = x;
  const int baseline = y + height_px * 4 / 5;
  for (std::size_t at = 0; at < text.size() && !empty();) {
    const CodePoint point = first_code_point(std::string_view(text).substr(at));
    const char32_t code = point.value;
    at += point.bytes;
    FT_Face face = fonts_->with_glyph(code);
    if (face == nullptr) {
      if (missing_.insert(code).second)
        log::warn(
            "no font has U+{:04X}: it is drawn as an empty frame; pass --font FILE or install "
            "fonts-noto-cjk",
            static_cast<std::uint32_t>(code));
      face = fonts_->first();
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
