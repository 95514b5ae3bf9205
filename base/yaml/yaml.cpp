#include "base/yaml/yaml.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace muster {
namespace {

// Counts what a document would be when every alias were written out.
class YamlBounds : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    // Of some texts the library takes nothing for a document, again and again.
    if (mark.pos == begin_) throw YAML::ParserException(mark, "no value can begin here");
    begin_ = mark.pos;
    sizes_.clear();
    open_.assign(1, {});
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { value(mark, anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    value(mark, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (std::ranges::find(open_, anchor, &Open::anchor) != open_.end())
      throw YAML::ParserException(mark, "an alias stands inside of what it names");
    add(mark, sizes_[anchor]);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YAML::anchor_t anchor = YAML::NullAnchor;
    std::size_t size = 1;
    YAML::Mark mark;
  };

  void add(const YAML::Mark& mark, std::size_t size) {
    open_.back().size += size;
    if (open_.back().size > kMaxYamlValues)
      throw YAML::ParserException(
          mark, fmt::format("its aliases stand for over {} values", kMaxYamlValues));
  }

  void value(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) sizes_[anchor] = 1;
    add(mark, 1);
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (open_.size() > kMaxYamlDepth)
      throw YAML::ParserException(mark, fmt::format("nested over {} levels deep", kMaxYamlDepth));
    open_.push_back({anchor, 1, mark});
  }

  void close() {
    const Open ended = open_.back();
    open_.pop_back();
    if (ended.anchor != YAML::NullAnchor) sizes_[ended.anchor] = ended.size;
    add(ended.mark, ended.size);
  }

  int begin_ = -1;  // of the document before
  std::map<YAML::anchor_t, std::size_t> sizes_;
  std::vector<Open> open_;  // the document, and the sequences and maps around the next value
};

}  // namespace

std::vector<YAML::Node> parse_yaml(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  YamlBounds bounds;
  while (parser.HandleNextDocument(bounds)) {
  }
  return YAML::LoadAll(text);
}

}  // namespace muster
