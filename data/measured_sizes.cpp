#include "data/measured_sizes.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/process/atomic_file.h"

namespace muster::data {
namespace {

// Goes up when the encoder counts otherwise, or the rows change.
constexpr int kSizesVersion = 1;
constexpr std::size_t kDigits = 32;  // of XXH3-128
// Per folder, the newest: configs come and go. An epoch's are of use until the next begins.
constexpr std::size_t kFilesKept = 8, kEpochsKept = 2;
constexpr std::string_view kEpoch = "epoch-";

// One sample's row; native byte order, as the machine that reads it is of the kind that wrote it
// (the key says so).
struct Row {
  std::int32_t tokens = 0, vision_tokens = 0, labels = 0, boxes = 0, caption_tokens = 0;
  std::int32_t flags = 0;  // 1: dropped, 2: resized
};
constexpr std::int32_t kDropped = 1, kResized = 2;

bool fits(std::int64_t value) {
  return value >= 0 && value <= std::numeric_limits<std::int32_t>::max();
}

std::optional<Row> to_row(const SampleSize& size) {
  const Denominators& d = size.denominators;
  for (const std::int64_t value :
       {size.tokens, size.vision_tokens, d.tokens, d.boxes, d.caption_tokens})
    if (!fits(value)) return std::nullopt;
  const std::int32_t flags = (size.dropped ? kDropped : 0) | (size.resized ? kResized : 0);
  return Row{
      static_cast<std::int32_t>(size.tokens),      static_cast<std::int32_t>(size.vision_tokens),
      static_cast<std::int32_t>(d.tokens),         static_cast<std::int32_t>(d.boxes),
      static_cast<std::int32_t>(d.caption_tokens), flags};
}

SampleSize to_size(const Row& row) {
  return {(row.flags & kDropped) != 0,
          (row.flags & kResized) != 0,
          row.tokens,
          row.vision_tokens,
          {row.labels, row.boxes, row.caption_tokens}};
}

std::string hash_of(std::string_view text) { return xxh128(std::as_bytes(std::span(text))); }

std::string key_of(const std::string& fingerprint, std::int64_t samples,
                   const SampleEncoder& encoder, const SizesOptions& options) {
  const EncodeOptions& e = encoder.options();
  const PatchOptions& p = e.patches;
  const std::uint32_t byte_order = 0x01020304;
  const std::string_view order(reinterpret_cast<const char*>(&byte_order), sizeof byte_order);
  const std::string system = hash_of(e.system_prompt);
  const std::string prompt = hash_of(e.prompt);
  return hash_of(fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", kSizesVersion,
                             order, fingerprint, samples, options.tokenizer_identity, p.patch_size,
                             p.merge_size, p.temporal_patch_size, p.min_pixels, p.max_pixels,
                             system, prompt, static_cast<int>(e.answer), e.max_vision_tokens,
                             e.resize_over_budget, e.vocab_size));
}

// Folders to look in and to write to, the best first.
std::vector<fs::path> folders_of(const fs::path& pack) {
  std::vector<fs::path> folders{fs::path(pack.string() + ".sizes")};
  const auto from = [&](const char* variable, const fs::path& below) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0' || folders.size() > 1) return;
    folders.push_back(fs::path(value) / below / "sizes");
  };
  from("MUSTER_CACHE", "");
  from("XDG_CACHE_HOME", "muster");
  from("HOME", ".cache/muster");
  return folders;
}

// A file is its key, its rows, and the checksum of both.
std::optional<std::vector<SampleSize>> read_sizes(const fs::path& file, const std::string& key,
                                                  std::int64_t samples) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  try {
    const MappedFile mapped(file);
    const std::span<const std::byte> bytes = mapped.bytes();
    const std::size_t row_bytes = static_cast<std::size_t>(samples) * sizeof(Row);
    if (bytes.size() != 2 * kDigits + row_bytes) return std::nullopt;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.substr(0, kDigits) != key) return std::nullopt;
    if (text.substr(kDigits + row_bytes) != xxh128(bytes.first(kDigits + row_bytes)))
      return std::nullopt;
    std::vector<SampleSize> sizes(static_cast<std::size_t>(samples));
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      Row row;
      std::memcpy(&row, bytes.data() + kDigits + i * sizeof(Row), sizeof(Row));
      sizes[i] = to_size(row);
    }
    return sizes;
  } catch (const IoError&) {
    return std::nullopt;  // another process may have put a new file in its place
  }
}

std::optional<std::string> file_text(const std::string& key, std::span<const SampleSize> sizes) {
  std::string text = key;
  text.reserve(2 * kDigits + sizes.size() * sizeof(Row));
  for (const SampleSize& size : sizes) {
    const std::optional<Row> row = to_row(size);
    if (!row) return std::nullopt;
    text.append(reinterpret_cast<const char*>(&*row), sizeof(Row));
  }
  text += hash_of(text);
  return text;
}

// Files of configs long gone, and what a killed process left.
void remove_oldest(const fs::path& folder, bool epochs) {
  std::error_code ignored;
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename().string().starts_with(kEpoch) == epochs)
      files.emplace_back(fs::last_write_time(entry.path(), ignored), entry.path());
  std::ranges::sort(files, std::ranges::greater());
  for (std::size_t i = epochs ? kEpochsKept : kFilesKept; i < files.size(); ++i)
    fs::remove(files[i].second, ignored);
}

bool write_sizes(const fs::path& folder, const std::string& name, const std::string& text) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return false;
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  const fs::path aside = folder / fmt::format("{}.{}.{}", name, ::getpid(), now);
  try {
    write_text(aside, text);
    fs::rename(aside, folder / name);
  } catch (const std::exception& failed) {
    log::debug("sizes are not kept in {}: {}", folder.string(), failed.what());
    fs::remove(aside, error);
    return false;
  }
  remove_oldest(folder, name.starts_with(kEpoch));
  return true;
}

struct PackRange {
  const Pack& pack;
  std::int64_t first = 0, samples = 0;  // of the set
};

std::vector<SampleSize> measure_range(const SampleSet& set, const SampleEncoder& encoder,
                                      const PackRange& range, int threads) {
  std::vector<SampleSize> sizes(static_cast<std::size_t>(range.samples));
  parallel_for("measuring samples", range.samples, threads, [&](std::int64_t i) {
    sizes[static_cast<std::size_t>(i)] = encoder.measure(set.sample(range.first + i));
  });
  return sizes;
}

// What a file beside the pack has under the name and key, else what `measure` finds, which is then
// written there.
template <typename Measure>
std::vector<SampleSize> kept_or_measured(const fs::path& pack, const std::string& name,
                                         const std::string& key, std::int64_t samples,
                                         Measure&& measure) {
  const std::vector<fs::path> folders = folders_of(pack);
  for (const fs::path& folder : folders)
    if (auto sizes = read_sizes(folder / name, key, samples)) return std::move(*sizes);
  std::vector<SampleSize> sizes = measure();
  const std::optional<std::string> text = file_text(key, sizes);
  if (text) {
    std::ignore = std::ranges::any_of(
        folders, [&](const fs::path& folder) { return write_sizes(folder, name, *text); });
  }
  return sizes;
}

std::vector<SampleSize> sizes_of(const SampleSet& set, const SampleEncoder& encoder,
                                 const PackRange& range, const SizesOptions& options) {
  const auto measure = [&] { return measure_range(set, encoder, range, options.threads); };
  if (range.samples < options.smallest_kept) return measure();
  const std::string key = key_of(range.pack.fingerprint(), range.samples, encoder, options);
  return kept_or_measured(range.pack.path(), key, key, range.samples, measure);
}

}  // namespace

std::vector<SampleSize> measured_sizes(const SampleSet& set, const SampleEncoder& encoder,
                                       const SizesOptions& options) {
  std::vector<SampleSize> all;
  all.reserve(static_cast<std::size_t>(set.size()));
  for (std::size_t p = 0; p < set.packs().size(); ++p) {
    const PackRange range{*set.packs()[p], static_cast<std::int64_t>(all.size()), set.used(p)};
    const std::vector<SampleSize> sizes = sizes_of(set, encoder, range, options);
    all.insert(all.end(), sizes.begin(), sizes.end());
  }
  return all;
}

std::vector<SampleSize> measured_epoch(const TrainingSamples& samples, std::int64_t epoch,
                                       const SizesOptions& options) {
  const SampleSet& set = samples.set();
  const auto measure = [&] { return samples.measure_all(epoch, options.threads); };
  if (set.size() < options.smallest_kept) return measure();
  const std::string stored = key_of(set.fingerprint(), set.size(), samples.encoder(), options);
  const std::string key = hash_of(fmt::format("{} {} {}", stored, samples.drawn_by(), epoch));
  return kept_or_measured(set.packs().front()->path(), std::string(kEpoch) + key, key, set.size(),
                          measure);
}

}  // namespace muster::data
