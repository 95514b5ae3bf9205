// A closed set of class names as a trie of token ids. A class is told by one choice at each
// branching on its path, so its probability needs the logits of the branches alone: three classes
// whose names start with different tokens are a softmax over three rows of the token embedding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

namespace muster::model {

class ClassTrie {
 public:
  // A prefix that several names share, and what may follow it.
  struct Branching {
    std::vector<std::int64_t> prefix;   // ids; empty at the root
    std::vector<std::int64_t> choices;  // ids, ascending; the end token where a name ends here
  };

  // names: token ids of each class, without an end token. Throws ConfigError for a name without
  // tokens and for two classes of one name.
  ClassTrie(const std::vector<std::vector<std::int64_t>>& names, std::int64_t end_token);

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::int64_t>& name(std::int64_t index) const { return names_[index]; }
  // The class whose name has these ids. Throws DataError when there is none.
  std::int64_t index_of(const std::vector<std::int64_t>& ids) const;

  // Those with shorter prefixes come first.
  const std::vector<Branching>& branchings() const { return branchings_; }
  // [classes, choices of all branchings in order] f32, CPU: 1 for each choice on the class's path.
  const at::Tensor& paths() const { return paths_; }

 private:
  std::vector<std::vector<std::int64_t>> names_;
  std::map<std::vector<std::int64_t>, std::int64_t> index_;
  std::vector<Branching> branchings_;
  at::Tensor paths_;
};

}  // namespace muster::model
