#include "launcher/serve/detect_api.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/utf8.h"
#include "launcher/serve/http/multipart.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr const char* kImage = "image";

// What was asked cannot be understood: status 400.
struct BadQuestion : DataError {
  using DataError::DataError;
};

double threshold_of(const std::string& text) {
  double value = 0;
  const auto end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || read != end || !(value >= 0 && value <= 1))
    throw BadQuestion(fmt::format("threshold: '{}' is no number from 0 to 1", printable(text)));
  return value;
}

bool flag_of(const std::string& name, const std::string& text) {
  if (text == "1" || text == "true") return true;
  if (text == "0" || text == "false") return false;
  throw BadQuestion(fmt::format("{}: '{}' is neither 1 nor 0", name, printable(text)));
}

using Fields = std::multimap<std::string, std::string>;

// The question that all pictures of a request share.
Question common_question(const Fields& fields) {
  const std::vector<std::string> known = {"prompt", "threshold", "upright", "name"};
  Question question;
  for (const auto& [name, value] : fields) {
    if (name == "prompt") {
      if (value.size() > kMostPromptBytes)
        throw BadQuestion(fmt::format("prompt: more than {} bytes", kMostPromptBytes));
      question.prompt = to_valid_utf8(value);
    } else if (name == "threshold") {
      question.threshold = threshold_of(value);
    } else if (name == "upright") {
      question.upright = flag_of(name, value);
    } else if (name == "name") {
      question.name = printable(value.substr(0, 255));
    } else {
      const std::string near = nearest_name(name, known);
      throw BadQuestion(fmt::format(
          "no field is called '{}'{}; there are: image, {}", printable(name),
          near.empty() ? "" : fmt::format(", did you mean '{}'?", near), join(known, ", ")));
    }
  }
  return question;
}

std::vector<Question> questions_of(const HttpRequest& request) {
  Fields fields = request.query;
  fields.erase("token");
  std::vector<Question> questions;
  if (!is_form(request.content_type)) {
    questions.push_back(common_question(fields));
    questions.back().bytes = request.body;
  } else {
    for (const FormPart& part : parse_form(request.content_type, request.body)) {
      if (part.name != kImage && part.name != "images") {
        fields.emplace(part.name, std::string(part.bytes));
        continue;
      }
      Question& question = questions.emplace_back();
      question.name = printable(part.file_name.substr(0, 255));
      question.bytes = part.bytes;
    }
    const Question common = common_question(fields);
    for (Question& question : questions) {
      question.prompt = common.prompt;
      question.threshold = common.threshold;
      question.upright = common.upright;
      if (question.name.empty()) question.name = common.name;
    }
  }
  for (std::size_t i = 0; i < questions.size(); ++i)
    if (questions[i].name.empty()) questions[i].name = fmt::format("image-{}", i + 1);
  return questions;
}

HttpAnswer answered(const json& entries) {
  return {.body = entries.dump(-1, ' ', false, json::error_handler_t::replace)};
}

HttpAnswer refused(const DetectQueue::Outcome& outcome) {
  HttpAnswer answer = error_answer(outcome.status, outcome.error);
  if (outcome.status == 429) answer.headers.emplace_back("Retry-After", "1");
  return answer;
}

// `why_not`: a sentence when so many pictures cannot be asked; else "".
template <typename WhyNot>
HttpAnswer detect(const HttpRequest& request, DetectQueue& queue, const WhyNot& why_not) {
  std::vector<Question> questions;
  try {
    questions = questions_of(request);
  } catch (const DataError& error) {
    return error_answer(400, error.what());
  }
  const std::string why = why_not(questions.size());
  if (!why.empty()) return error_answer(400, why);
  const std::vector<DetectQueue::Outcome> outcomes = queue.ask(questions);
  const bool any = std::ranges::any_of(outcomes, [](const auto& one) { return one.status == 200; });
  if (!any) return refused(outcomes.front());
  json entries = json::array();
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].status == 200)
      entries.push_back(outcomes[i].entry);
    else
      entries.push_back({{"image", questions[i].name}, {"error", outcomes[i].error}});
  }
  return answered(entries);
}

}  // namespace

HttpAnswer detect_one(const HttpRequest& request, DetectQueue& queue) {
  return detect(request, queue, [](std::size_t count) -> std::string {
    if (count == 1) return "";
    return fmt::format(
        "one picture is asked about here, as the body or as a form's part "
        "'image'; this form has {}. /v1/detect/batch takes several",
        count);
  });
}

HttpAnswer detect_batch(const HttpRequest& request, DetectQueue& queue) {
  const std::size_t most = queue.limits().waiting;
  return detect(request, queue, [most](std::size_t count) -> std::string {
    if (count >= 1 && count <= most) return "";
    return fmt::format(
        "{} pictures: 1 to {} can be asked about at a time, each as a form's part "
        "'image'",
        count, most);
  });
}

}  // namespace muster::launcher
