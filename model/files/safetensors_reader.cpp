#include "model/files/safetensors_reader.h"

#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/files/foreign_model.h"
#include "model/files/safetensors_dtype.h"

namespace muster::model {
namespace {

using Json = nlohmann::json;

struct Entry {
  at::ScalarType dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the data section
  std::size_t file = 0;
};

[[noreturn]] void fail(const fs::path& file, const std::string& tensor, const std::string& what) {
  throw CheckpointError(file.string() + (tensor.empty() ? "" : ": tensor " + tensor) + ": " + what +
                        "; the file is damaged or not safetensors, fetch or write it again");
}

at::ScalarType parse_dtype(const fs::path& file, const std::string& name, const Json& json) {
  const auto text = json.is_string() ? json.get<std::string>() : json.dump();
  const auto dtype = dtype_of_name(text);
  for (const char* packed : {"F4", "F6", "F8"})
    if (!dtype && text.starts_with(packed))
      throw CheckpointError(file.string() + ": tensor " + name + ": " + quantised_advice(text));
  if (!dtype) fail(file, name, "unknown dtype " + text);
  return *dtype;
}

bool is_unsigned_list(const Json& json) {
  return json.is_array() && std::all_of(json.begin(), json.end(),
                                        [](const Json& j) { return j.is_number_unsigned(); });
}

// Returns the bytes of a tensor; fails when the product does not fit 63 bits.
std::uint64_t byte_size(const fs::path& file, const std::string& name, const Entry& entry) {
  std::uint64_t bytes = c10::elementSize(entry.dtype);
  for (const std::int64_t n : entry.shape)
    if (n < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(n), &bytes) ||
        bytes > INT64_MAX)
      fail(file, name, "its shape overflows");
  return bytes;
}

Entry parse_entry(const fs::path& file, const std::string& name, const Json& json,
                  std::uint64_t data_bytes) {
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets"))
    fail(file, name, "its header entry needs dtype, shape and data_offsets");
  if (!is_unsigned_list(json["shape"])) fail(file, name, "bad shape " + json["shape"].dump());
  const Json& offsets = json["data_offsets"];
  if (!is_unsigned_list(offsets) || offsets.size() != 2)
    fail(file, name, "bad data_offsets " + offsets.dump());
  Entry entry{parse_dtype(file, name, json["dtype"]),
              json["shape"].get<std::vector<std::int64_t>>(), offsets[0].get<std::uint64_t>(),
              offsets[1].get<std::uint64_t>()};
  if (entry.begin > entry.end || entry.end > data_bytes)
    fail(file, name,
         fmt::format("its bytes {}..{} lie outside the file's {} data bytes", entry.begin,
                     entry.end, data_bytes));
  if (const auto bytes = byte_size(file, name, entry); bytes != entry.end - entry.begin)
    fail(file, name,
         fmt::format("its shape and dtype need {} bytes, its range holds {}", bytes,
                     entry.end - entry.begin));
  return entry;
}

// Parses JSON and refuses a key given twice, which the library would silently merge.
Json parse_header(const fs::path& file, std::string_view text) {
  std::set<std::string> seen;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth == 1 && event == Json::parse_event_t::key &&
        !seen.insert(parsed.get<std::string>()).second)
      fail(file, parsed.get<std::string>(), "given twice in the header");
    return true;
  };
  try {
    Json json = parse_json(text, check);
    if (!json.is_object()) fail(file, "", "the header is not a JSON object");
    return json;
  } catch (const Json::exception& error) {
    fail(file, "", std::string("the header is not valid JSON (") + json_fault(error) + ")");
  }
}

// The data section must be covered exactly once.
void check_cover(const fs::path& file, const std::map<std::string, Entry>& entries,
                 std::uint64_t data_bytes) {
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [name, entry] : entries)
    if (entry.begin != entry.end) order.emplace_back(entry.begin, name);
  std::sort(order.begin(), order.end());
  std::uint64_t covered = 0;
  for (const auto& [begin, name] : order) {
    if (begin < covered) fail(file, name, "overlaps the tensor before it");
    if (begin > covered)
      fail(file, name, fmt::format("{} bytes before it belong to no tensor", begin - covered));
    covered = entries.at(name).end;
  }
  if (covered != data_bytes)
    fail(file, "", fmt::format("its last {} bytes belong to no tensor", data_bytes - covered));
}

struct File {
  std::shared_ptr<const MappedFile> mapping;
  std::span<const std::byte> data;
};

bool is_aligned(std::span<const std::byte> data, at::ScalarType dtype) {
  return !data.empty() &&
         reinterpret_cast<std::uintptr_t>(data.data()) % c10::elementSize(dtype) == 0;
}

// Returns the whole pages inside a span.
std::span<std::byte> whole_pages(std::span<const std::byte> data) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(data.data());
  const auto begin = (address + page - 1) / page * page;
  const auto end = (address + data.size()) / page * page;
  if (begin >= end) return {};
  return {const_cast<std::byte*>(data.data()) + (begin - address), end - begin};
}

// A private mapping may be written although its file was opened for reading; false where the kernel
// will not promise the memory that this could take.
bool make_writable(const MappedFile& mapping) {
  const auto bytes = mapping.bytes();
  return ::mprotect(const_cast<std::byte*>(bytes.data()), bytes.size(), PROT_READ | PROT_WRITE) ==
         0;
}

}  // namespace

struct SafetensorsReader::Impl {
  std::vector<File> files;
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
  fs::path path;

  std::map<std::string, Entry> open(const fs::path& file) {
    const auto mapping = std::make_shared<const MappedFile>(file);
    const auto bytes = mapping->bytes();
    std::uint64_t header = 0;
    if (is_lfs_pointer({reinterpret_cast<const char*>(bytes.data()), bytes.size()}))
      throw CheckpointError(file.string() + ": " + kLfsAdvice);
    if (bytes.size() < sizeof header)
      fail(file, "", fmt::format("only {} bytes long", bytes.size()));
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header > bytes.size() - sizeof header)
      fail(file, "",
           fmt::format("header length {} exceeds the file's {} bytes", header, bytes.size()));
    const auto data = bytes.subspan(sizeof header + header);
    const Json json =
        parse_header(file, {reinterpret_cast<const char*>(bytes.data()) + sizeof header, header});
    std::map<std::string, Entry> found;
    for (const auto& [name, value] : json.items()) {
      if (name == "__metadata__") {
        add_metadata(file, value);
        continue;
      }
      found[name] = parse_entry(file, name, value, data.size());
      found[name].file = files.size();
    }
    check_cover(file, found, data.size());
    files.push_back({mapping, data});
    return found;
  }

  void add_metadata(const fs::path& file, const Json& json) {
    if (!json.is_object()) fail(file, "", "__metadata__ is not an object");
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) fail(file, "", "metadata \"" + key + "\" is not a string");
      metadata[key] = value.get<std::string>();
    }
  }

  void open_index(const fs::path& index) {
    const std::string text = read_text(index);
    if (is_lfs_pointer(text)) throw CheckpointError(index.string() + ": " + kLfsAdvice);
    const Json json = parse_header(index, text);
    if (!json.contains("weight_map") || !json["weight_map"].is_object())
      fail(index, "", "it has no weight_map");
    std::map<std::string, std::map<std::string, Entry>> shards;
    for (const auto& [name, value] : json["weight_map"].items()) {
      const auto file = value.is_string() ? value.get<std::string>() : value.dump();
      if (!fs::exists(index.parent_path() / file))
        fail(index, name, "is said to be in " + file + ", which is not there");
      if (!shards.contains(file)) shards[file] = open(index.parent_path() / file);
      if (!shards[file].contains(name))
        fail(index, name, "is not in " + file + ", where the index says");
      entries[name] = shards[file].at(name);
    }
    for (const auto& [file, found] : shards)
      for (const auto& [name, entry] : found)
        if (!entries.contains(name)) fail(index.parent_path() / file, name, "is not in the index");
    // Programs differ in which of the two they read.
    if (fs::exists(index.parent_path() / "model.safetensors") &&
        !shards.contains("model.safetensors"))
      throw CheckpointError(fmt::format(
          "{}: holds two sets of weights, model.safetensors and the {} files of {}; remove the "
          "one that is not meant",
          index.parent_path().string(), shards.size(), index.filename().string()));
  }

  std::span<const std::byte> bytes(const Entry& entry) const {
    return files[entry.file].data.subspan(entry.begin, entry.end - entry.begin);
  }

  const Entry& entry(const std::string& name) const {
    const auto it = entries.find(name);
    if (it == entries.end()) throw CheckpointError(path.string() + ": has no tensor " + name);
    return it->second;
  }
};

SafetensorsReader::SafetensorsReader(const fs::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  const fs::path index = fs::is_directory(path) ? path / "model.safetensors.index.json" : path;
  if (index.extension() == ".json" && fs::exists(index)) {
    impl_->open_index(index);
    return;
  }
  const fs::path file = fs::is_directory(path) ? path / "model.safetensors" : path;
  if (!fs::exists(file))
    throw CheckpointError(path.string() +
                          ": neither model.safetensors nor model.safetensors.index.json is there" +
                          with_semicolon(foreign_model(path)));
  impl_->entries = impl_->open(file);
}

SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : impl_->entries) names.push_back(name);
  return names;
}

bool SafetensorsReader::contains(const std::string& name) const {
  return impl_->entries.contains(name);
}

std::vector<std::int64_t> SafetensorsReader::shape(const std::string& name) const {
  return impl_->entry(name).shape;
}

at::Tensor SafetensorsReader::view(const std::string& name) const {
  const Entry& entry = impl_->entry(name);
  const auto data = impl_->bytes(entry);
  const auto options = at::TensorOptions().dtype(entry.dtype);
  if (is_aligned(data, entry.dtype))
    return at::from_blob(const_cast<std::byte*>(data.data()), entry.shape, options);
  at::Tensor tensor = at::empty(entry.shape, options);
  if (!data.empty()) std::memcpy(tensor.data_ptr(), data.data(), data.size());
  return tensor;
}

at::Tensor SafetensorsReader::copy(const std::string& name) const { return view(name).clone(); }

at::ScalarType SafetensorsReader::dtype(const std::string& name) const {
  return impl_->entry(name).dtype;
}

at::Tensor SafetensorsReader::take(const std::string& name) const {
  const Entry& entry = impl_->entry(name);
  const File& file = impl_->files[entry.file];
  const auto data = impl_->bytes(entry);
  if (!is_aligned(data, entry.dtype) || !make_writable(*file.mapping)) return copy(name);
  const auto pages = whole_pages(data);
  if (!pages.empty() && ::madvise(pages.data(), pages.size(), MADV_POPULATE_READ) != 0 &&
      (errno == EFAULT || errno == EIO))
    throw CheckpointError(fmt::format("{}: tensor {}: cannot be read: {}; check the disk",
                                      file.mapping->path().string(), name, std::strerror(errno)));
  return at::from_blob(
      const_cast<std::byte*>(data.data()), entry.shape, [kept = file.mapping](void*) {},
      at::TensorOptions().dtype(entry.dtype));
}

void SafetensorsReader::forget(const std::string& name) const {
  const auto pages = whole_pages(impl_->bytes(impl_->entry(name)));
  if (!pages.empty()) ::madvise(pages.data(), pages.size(), MADV_DONTNEED);
}

const std::map<std::string, std::string>& SafetensorsReader::metadata() const {
  return impl_->metadata;
}

}  // namespace muster::model
