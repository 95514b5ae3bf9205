// A server on a free port, with runs made for it and a detector that answers at once.
#pragma once

#include <fmt/core.h>
#include <httplib.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/process/atomic_file.h"
#include "launcher/serve/app.h"

namespace muster::test {

// Its "pictures" are texts: "bad" is none, "poison" fails the batch it is in, "slow" takes a while.
class FakeDetector final : public launcher::DetectBackend {
 public:
  struct Text final : launcher::Prepared {
    std::string text, name, prompt;
    double threshold = -1;
    std::size_t bytes() const override { return text.size(); }
  };

  std::unique_ptr<launcher::Prepared> prepare(const launcher::Question& question) override {
    if (question.bytes == "bad") throw DataError(question.name + ": no picture");
    auto text = std::make_unique<Text>();
    text->text = question.bytes;
    text->name = question.name;
    text->prompt = question.prompt;
    text->threshold = question.threshold;
    return text;
  }

  std::vector<nlohmann::json> answer(
      std::span<const std::unique_ptr<launcher::Prepared>> asked) override {
    ++batches;
    largest = std::max(largest.load(), asked.size());
    std::vector<nlohmann::json> entries;
    for (const auto& one : asked) {
      const auto& text = static_cast<const Text&>(*one);
      if (text.text == "poison") throw DataError(text.name + ": poisoned");
      if (text.text == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(300));
      entries.push_back({{"image", text.name},
                         {"width", text.text.size()},
                         {"height", 1},
                         {"prompt", text.prompt},
                         {"threshold", text.threshold},
                         {"detections", nlohmann::json::array()}});
    }
    return entries;
  }

  nlohmann::json facts() override { return {{"checkpoint", "fake"}, {"threshold", 0.5}}; }

  std::atomic<int> batches = 0;
  std::atomic<std::size_t> largest = 0;
};

inline void make_run(const fs::path& folder, int steps) {
  fs::create_directories(folder / "logs");
  fs::create_directories(folder / "predictions");
  std::string metrics;
  for (int step = 1; step <= steps; ++step) {
    metrics += fmt::format(R"({{"step": {}, "loss": {}, "images": 8, "seconds": 0.5}})", step,
                           10.0 / step) +
               "\n";
    if (step % 10 == 0)
      metrics += fmt::format(R"({{"step": {}, "eval.AP": {}}})", step, step * 0.001) + "\n";
  }
  write_text(folder / "metrics.jsonl", metrics);
  write_text(folder / "logs" / "launcher.log", "line one\n\x1b[31mline two\n");
  write_text(folder / "predictions" / "a.png", "PNG");
  write_text(folder / "predictions" / "detections.json",
             R"([{"image": "a", "overlay": "a.png", "detections": []}])");
}

class Serving {
 public:
  static constexpr const char* kToken = "secret";

  explicit Serving(launcher::ServeOptions options = {}) {
    make_run(folder.path() / "runs" / "one", 40);
    make_run(folder.path() / "runs" / "sweep" / "two", 20);
    write_text(folder.path() / "outside.log", "a secret of the machine\n");
    write_text(folder.path() / "outside.png", "a secret picture");
    options.places.push_back(folder.path() / "runs");
    if (options.token.empty()) options.token = kToken;
    app = std::make_unique<launcher::ServeApp>(std::move(options));
  }

  httplib::Client client(bool with_token = true) const {
    httplib::Client made("127.0.0.1", app->port());
    made.set_read_timeout(10);
    if (with_token) made.set_bearer_token_auth(kToken);
    return made;
  }

  fs::path run(const std::string& name = "one") const { return folder.path() / "runs" / name; }

  TempDir folder;
  std::unique_ptr<launcher::ServeApp> app;
};

inline launcher::ServeOptions with_detector(launcher::QueueLimits limits = {}) {
  launcher::ServeOptions options;
  options.detector = std::make_unique<FakeDetector>();
  options.queue = limits;
  return options;
}

}  // namespace muster::test
