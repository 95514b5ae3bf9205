#include "trainer/show/report/page.h"

#include <fmt/core.h>

#include "base/version.h"
#include "trainer/show/metric_names.h"
#include "trainer/show/report/report_style.h"

namespace muster::trainer {

std::string page_head(std::string_view title, std::string_view words) {
  const std::string name = escape_html(title);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<title>{} - muster</title><style>{}</style></head><body><main>\n"
      "<header><h1>{}</h1><p>muster {}, {}</p></header>\n",
      name, kReportStyle, name, kVersion, escape_html(words));
}

std::string page_end() { return "</main></body></html>\n"; }

std::string tile(std::string_view name, std::string_view value) {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}</dd></div>\n", escape_html(name),
                     escape_html(value));
}

std::optional<BestValue> best_ap(const RunFolder& run, std::string_view member) {
  if (const auto head = best_of(run.rows, metric::name(metric::kEval, member))) return head;
  return best_of(run.rows, metric::name(metric::kEvalText, member));
}

}  // namespace muster::trainer
