#include "trainer/checkpoint/manifest/manifest.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace muster::trainer {
namespace {

using nlohmann::json;

constexpr std::int64_t kFormat = 2;
constexpr std::int64_t kFormatWithoutChecksum = 1;
constexpr std::int64_t kMostSteps = std::int64_t{1} << 53;  // exact in every reader of JSON
constexpr std::int64_t kMostRanks = 1 << 20;
constexpr std::string_view kChecksumKey = ",\n \"xxh128\": \"";
constexpr std::size_t kChecksumDigits = 32;

[[noreturn]] void fail(const std::string& what) { throw CheckpointError(what); }

std::string hash_of(std::string_view text) {
  return xxh128(std::as_bytes(std::span(text.data(), text.size())));
}

bool is_hash(std::string_view text) {
  return text.size() == kChecksumDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

const json& member(const json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) fail(fmt::format("{} is missing", key));
  return object.at(key);
}

std::int64_t whole(const json& object, const char* key, std::int64_t most) {
  const json& value = member(object, key);
  const bool in_range =
      value.is_number_integer() && value >= 0 && value <= static_cast<std::uint64_t>(most);
  if (!in_range) fail(fmt::format("{} is {}, allowed 0 to {}", key, value.dump(), most));
  return value.get<std::int64_t>();
}

double number(const json& object, const char* key) {
  const json& value = member(object, key);
  if (!value.is_number()) fail(fmt::format("{} is {}, no number", key, value.dump()));
  return value.get<double>();
}

std::string text(const json& object, const char* key) {
  const json& value = member(object, key);
  if (!value.is_string()) fail(fmt::format("{} is {}, no text", key, value.dump()));
  return value.get<std::string>();
}

HealthState read_health(const json& health) {
  HealthState state;
  const json& losses = member(health, "recent_losses");
  if (!losses.is_array()) fail("recent_losses is no list");
  for (const json& loss : losses) {
    if (!loss.is_number()) fail(fmt::format("recent_losses has {}, no number", loss.dump()));
    state.recent_losses.push_back(loss.get<double>());
  }
  state.skips_in_row = whole(health, "skips_in_row", kMostSteps);
  state.skips = whole(health, "skips", kMostSteps);
  state.lr_scale = number(health, "lr_scale");
  return state;
}

// Null where nothing was evaluated yet; manifests of 0.1 say -1.
std::optional<double> best_of(const json& plateau) {
  const json& best = member(plateau, "best");
  if (best.is_null() || best == -1) return std::nullopt;
  return number(plateau, "best");
}

Plateau read_plateau(const json& plateau) {
  return {.best = best_of(plateau),
          .stale = whole(plateau, "stale", kMostSteps),
          .factor = number(plateau, "factor")};
}

BaseModel read_base(const json& base) {
  BaseModel model{.path = text(base, "path"), .fingerprint = text(base, "fingerprint")};
  if (base.contains("seed"))
    model.seed =
        static_cast<std::uint64_t>(whole(base, "seed", std::numeric_limits<std::int64_t>::max()));
  return model;
}

std::map<std::string, Manifest::File> read_files(const json& files) {
  if (!files.is_object()) fail("files is no object");
  std::map<std::string, Manifest::File> all;
  for (const auto& [name, file] : files.items()) {
    if (!is_plain_name(name))
      fail(fmt::format("it names {}, outside its folder", json(name).dump()));
    Manifest::File entry{.bytes = whole(file, "bytes", std::numeric_limits<std::int64_t>::max()),
                         .xxh128 = text(file, "xxh128")};
    if (!is_hash(entry.xxh128)) fail(fmt::format("the checksum of {} is none", name));
    all[name] = std::move(entry);
  }
  return all;
}

Manifest read_all(const json& j) {
  Manifest m;
  m.state.step = whole(j, "step", kMostSteps);
  m.state.cursor = {whole(j, "epoch", kMostSteps), whole(j, "step_in_epoch", kMostSteps)};
  m.state.health = read_health(member(j, "health"));
  m.state.plateau = read_plateau(member(j, "plateau"));
  m.state.ended_early = member_or(j, "ended_early", false);
  m.world_size = static_cast<int>(whole(j, "world_size", kMostRanks));
  m.layout_hash = text(j, "layout_hash");
  if (!m.layout_hash.empty() && !is_hash(m.layout_hash)) fail("layout_hash is no hash");
  m.data_fingerprint = text(j, "data_fingerprint");
  m.muster_version = text(j, "muster_version");
  if (j.contains("base_model")) m.base = read_base(j["base_model"]);
  m.files = read_files(member(j, "files"));
  return m;
}

// The text as far as its checksum covers it; fails when there is none, or another.
void check_own_checksum(const std::string& text) {
  const std::size_t at = text.rfind(kChecksumKey);
  if (at == text.npos) fail("its own checksum is missing: it was cut or changed");
  const std::string_view written =
      std::string_view(text).substr(at + kChecksumKey.size(), kChecksumDigits);
  if (hash_of(std::string_view(text).substr(0, at)) != written ||
      text.substr(at + kChecksumKey.size() + kChecksumDigits) != "\"\n}\n")
    fail("it does not match its own checksum");
}

json files_as_json(const std::map<std::string, Manifest::File>& files) {
  json all = json::object();
  for (const auto& [name, file] : files)
    all[name] = {{"bytes", file.bytes}, {"xxh128", file.xxh128}};
  return all;
}

}  // namespace

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

std::string Manifest::to_json() const {
  json j;
  j["format"] = kFormat;
  j["step"] = state.step;
  j["epoch"] = state.cursor.epoch;
  j["step_in_epoch"] = state.cursor.step_in_epoch;
  j["health"] = {{"recent_losses", state.health.recent_losses},
                 {"skips_in_row", state.health.skips_in_row},
                 {"skips", state.health.skips},
                 {"lr_scale", state.health.lr_scale}};
  j["plateau"] = {{"best", state.plateau.best ? json(*state.plateau.best) : json()},
                  {"stale", state.plateau.stale},
                  {"factor", state.plateau.factor}};
  j["ended_early"] = state.ended_early;
  j["world_size"] = world_size;
  j["layout_hash"] = layout_hash;
  j["data_fingerprint"] = data_fingerprint;
  j["muster_version"] = muster_version;
  if (base) {
    j["base_model"] = {{"path", base->path}, {"fingerprint", base->fingerprint}};
    if (base->seed) j["base_model"]["seed"] = *base->seed;
  }
  j["files"] = files_as_json(files);
  std::string all = j.dump(1);
  all.resize(all.size() - std::string_view("\n}").size());
  const std::string checksum = hash_of(all);
  return fmt::format("{}{}{}\"\n}}\n", all, kChecksumKey, checksum);
}

Manifest Manifest::from_json(const std::string& text, const fs::path& where) {
  const auto named = [&](const std::string& what) {
    return CheckpointError(fmt::format("{}: not a checkpoint manifest: {}", where.string(), what));
  };
  try {
    const json j = parse_json(text);
    const std::int64_t format = whole(j, "format", std::numeric_limits<std::int64_t>::max());
    if (format != kFormat && format != kFormatWithoutChecksum)
      fail(fmt::format("format {}, this program reads {} and {}", format, kFormatWithoutChecksum,
                       kFormat));
    if (format == kFormat) check_own_checksum(text);
    return read_all(j);
  } catch (const json::exception& error) {
    throw named(json_fault(error));
  } catch (const CheckpointError& error) {
    throw named(error.what());
  }
}

Manifest read_manifest(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kManifestFile;
  std::error_code error;
  if (!fs::exists(file, error) && !error)
    throw CheckpointError(
        fmt::format("{}: no such file; the checkpoint is not whole", file.string()));
  return Manifest::from_json(read_text(file), file);
}

}  // namespace muster::trainer
