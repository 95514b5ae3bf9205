#include "launcher/serve/run_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/files.h"
#include "base/json.h"
#include "base/utf8.h"
#include "launcher/serve/inside.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kMostNames = 2000;
constexpr std::size_t kMostPicture = 64 << 20;
constexpr std::size_t kMostDetections = 64 << 20;

std::string type_of(const std::string& name) {
  const std::string extension = lower_extension(name);
  if (extension == ".png") return "image/png";
  if (extension == ".jpg" || extension == ".jpeg") return "image/jpeg";
  return "";
}

bool is_log(const std::string& name) {
  const std::string extension = lower_extension(name);
  return extension == ".log" || extension == ".out" || extension == ".err";
}

template <typename Wanted>
std::vector<std::string> names_in(const fs::path& folder, const Wanted& wanted) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; it != end && !error; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    const bool plain = it->symlink_status(ignored).type() == fs::file_type::regular;
    if (plain && wanted(name) && to_valid_utf8(name) == name) names.push_back(name);
    if (names.size() >= kMostNames) break;
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

std::vector<std::string> log_names(const fs::path& run) { return names_in(run / "logs", is_log); }

std::vector<std::string> picture_names(const fs::path& run) {
  return names_in(run / "predictions",
                  [](const std::string& name) { return !type_of(name).empty(); });
}

std::optional<std::string> log_tail(const fs::path& run, const std::string& name,
                                    std::size_t most_bytes) {
  if (!is_log(name)) return std::nullopt;
  const auto file = open_inside(run, "logs/" + name);
  if (!file) return std::nullopt;
  const std::int64_t bytes = facts_of(*file).bytes;
  const std::int64_t from =
      std::max<std::int64_t>(0, bytes - static_cast<std::int64_t>(most_bytes));
  std::string text = read_at(*file, from, most_bytes);
  if (from > 0) text.erase(0, text.find('\n') + 1);
  return printable(text);
}

json pictures(const fs::path& run) {
  json shown = json::array();
  const auto text = read_inside(run, "predictions/detections.json", kMostDetections);
  const json all = text ? parse_json_or_null(*text) : json();
  const std::vector<std::string> names = picture_names(run);
  if (!all.is_array()) {
    for (const std::string& name : names) shown.push_back({{"picture", name}});
    return shown;
  }
  for (const json& one : all) {
    const std::string overlay = member_or(one, "overlay", std::string());
    if (!std::ranges::binary_search(names, overlay)) continue;
    shown.push_back(
        {{"picture", overlay}, {"detections", member_or(one, "detections", json::array())}});
  }
  return shown;
}

std::optional<PictureBytes> picture(const fs::path& run, const std::string& name) {
  const std::string type = type_of(name);
  if (type.empty()) return std::nullopt;
  auto bytes = read_inside(run, "predictions/" + name, kMostPicture);
  if (!bytes) return std::nullopt;
  return PictureBytes{type, std::move(*bytes)};
}

}  // namespace muster::launcher
