// Files of rows: JSON lines, one JSON array, or Hugging Face's metadata.csv. Each row is a sample
// of its own; many may show one picture.
#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "data/sources/blocks.h"
#include "data/sources/data_yaml.h"
#include "data/sources/parse/csv.h"
#include "data/sources/parse/encoding.h"
#include "data/sources/parse/json_text.h"
#include "data/sources/picture_finder.h"
#include "data/sources/readers.h"
#include "data/sources/row.h"
#include "data/sources/table_row.h"

namespace muster::data {
namespace {

using nlohmann::json;

fs::path folder_of_file(const fs::path& file) {
  return file.has_parent_path() ? file.parent_path() : fs::path(".");
}

// Where pictures of rows lie: beside the file, in images/, or above (LLaMA-Factory names them from
// its data folder).
std::vector<fs::path> row_roots(const fs::path& file, const fs::path& given) {
  const fs::path folder = folder_of_file(file);
  std::vector<fs::path> roots{folder, folder / "images", folder / ".."};
  if (!given.empty()) roots.insert(roots.begin(), {given, given / "images"});
  return roots;
}

// The lines of a file that is larger than memory may be: what was read long ago is given back.
class LineCursor {
 public:
  explicit LineCursor(const SourceText& text) : text_(text), lines_(text.view()) {}

  bool next(std::string_view& line) {
    constexpr std::size_t kKept = std::size_t{8} << 20;  // more than a block of lines has
    if (lines_.position() - forgotten_ > 2 * kKept) {
      forgotten_ = lines_.position() - kKept;
      text_.forget_until(forgotten_);
    }
    return lines_.next(line);
  }

 private:
  const SourceText& text_;
  LineReader lines_;
  std::size_t forgotten_ = 0;
};

class RowsReader {
 public:
  RowsReader(const fs::path& file, const ReadOptions& options)
      : path_(file),
        file_(file.string()),
        threads_(options.threads),
        finder_(row_roots(file, options.images),
                options.images.empty() ? folder_of_file(file) : options.images, options.scratch),
        drafts_(options) {
    drafts_.format = "jsonl";
    drafts_.whole_folders = true;
  }

  Drafts read() {
    const SourceText text(path_);
    if (lower_extension(path_) == ".csv")
      read_table(text.view());
    else if (trimmed(text.view().substr(0, 4096)).starts_with('['))
      read_array(text.view());
    else
      read_lines(text);
    tell();
    return std::move(drafts_);
  }

 private:
  struct Outcome {
    Row row;
    std::string fault;
    bool blank = false;
  };

  static Outcome try_row(const std::function<json()>& parse, const std::string& where) {
    Outcome outcome;
    try {
      outcome.row = read_row(parse(), where);
    } catch (const std::exception& error) {
      outcome.fault = error.what();
    }
    return outcome;
  }

  void read_lines(const SourceText& text) {
    std::int64_t total = 0;
    LineCursor counted(text);
    for (std::string_view line; counted.next(line);) ++total;
    LineCursor lines(text);
    const auto make = [this](std::string_view line, std::int64_t at) {
      if (!trimmed(line).empty()) return try_row([&] { return parse_line(line); }, line_place(at));
      Outcome blank;
      blank.blank = true;
      return blank;
    };
    const auto take = [this](Outcome& outcome, std::int64_t at) {
      if (!outcome.blank) add(outcome, line_place(at), fmt::format("line-{}", at + 1));
    };
    in_blocks<std::string_view, Outcome>(
        "reading rows", total, threads_, [&](std::string_view& line) { return lines.next(line); },
        make, take);
  }

  std::string line_place(std::int64_t at) const { return fmt::format("{}:{}", file_, at + 1); }

  static json parse_line(std::string_view line) {
    if (first_not_utf8(line) != std::string_view::npos)
      throw DataError("text that is not UTF-8: convert the file (D-015)");
    return parse_json(line);
  }

  void read_table(std::string_view text) {
    try {
      std::vector<std::string> columns;
      bool named = false;
      for_each_csv_record(text, [&](const CsvRecord& record) {
        if (columns.empty()) {
          columns = record.fields;
          named = std::ranges::find(columns, "file_name") != columns.end();
          return;
        }
        if (named) add_record(columns, record);
      });
      if (!named)
        throw DataError(fmt::format("line 1: the column file_name is expected; there are: {}",
                                    columns.empty() ? "none" : join(columns, ", ")));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}: {}", file_, error.what()));
    }
  }

  void add_record(const std::vector<std::string>& columns, const CsvRecord& record) {
    const std::int64_t at = record.line - 1;
    Outcome outcome = try_row([&] { return table_row(columns, record); }, line_place(at));
    add(outcome, line_place(at), fmt::format("line-{}", at + 1));
  }

  void read_array(std::string_view text) {
    try {
      for_each_json_entry(text, [this](const std::string&, std::int64_t index, json&& value) {
        const std::string where = fmt::format("{}[{}]", file_, index);
        Outcome outcome = try_row([&] { return std::move(value); }, where);
        add(outcome, where, fmt::format("row-{}", index));
      });
    } catch (const IoError&) {
      throw;  // of a full disk, not of the text
    } catch (const std::exception& error) {
      throw DataError(fmt::format("{}: {}", file_, error.what()));
    }
  }

  void add(Outcome& outcome, const std::string& where, const std::string& name) {
    if (!outcome.fault.empty()) {
      drafts_.faults.push_back({Fault::Of::kSample, where, outcome.fault});
      return;
    }
    Row& row = outcome.row;
    Sample& sample = row.draft.sample;
    sample.source_id = drafts_.size();
    sample.name = row.pictures.empty() ? name : fs::path(row.pictures.front()).stem().string();
    for (std::size_t i = 0; i < row.pictures.size(); ++i)
      sample.pictures[i].path = finder_.find(row.pictures[i]);
    if (row.words_beside_boxes) words_.see(where);
    if (row.marked_names) marked_.see(where);
    if (row.numbers_for_names) numbered_.see(where);
    for (const std::string& key : row.unused_keys) ++unused_[key];
    name_numbers(row);
    drafts_.add(std::move(row.draft));
  }

  // Hugging Face's folders hold class numbers; their names may stand in classes.txt.
  void name_numbers(Row& row) {
    if (!row.numbers_for_names) return;
    const fs::path list = folder_of_file(path_) / "classes.txt";
    if (!names_read_ && fs::is_regular_file(list)) names_ = read_class_list(list);
    names_read_ = true;
    if (names_.empty()) return;
    for (std::size_t i = 0; i < row.draft.objects.size(); ++i) {
      const auto number = std::strtoll(row.draft.objects[i].category.c_str(), nullptr, 10);
      const auto at = names_.find(number);
      if (at == names_.end()) continue;
      row.draft.objects[i].category = at->second;
      row.draft.sample.objects[i].caption = at->second;
    }
  }

  void tell() {
    words_.tell(drafts_.warnings);
    marked_.tell(drafts_.warnings);
    if (names_.empty()) numbered_.tell(drafts_.warnings);
    for (const auto& [key, count] : unused_)
      drafts_.warnings.push_back(
          fmt::format("{}: nobody reads the key '{}' of {} rows", file_, key, count));
    finder_.tell(drafts_.warnings);
  }

  fs::path path_;
  std::string file_;
  int threads_;
  PictureFinder finder_;
  Drafts drafts_;
  std::map<std::string, std::int64_t> unused_;
  ClassNames names_;
  bool names_read_ = false;
  Tally words_{"answers say more than their boxes: the boxes are trained on, the words are not"};
  Tally marked_{"questions have marks around a name, which are taken out"};
  Tally numbered_{
      "rows have numbers for categories: names belong into classes.txt beside the file"};
};

}  // namespace

Drafts read_rows(const fs::path& file, const ReadOptions& options) {
  return RowsReader(file, options).read();
}

}  // namespace muster::data
