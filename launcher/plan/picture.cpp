#include "launcher/plan/picture.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "trainer/show/report/report_style.h"
#include "trainer/show/svg_chart.h"

namespace muster::launcher {
namespace {

using sharding::SimulatedEvent;
using sharding::Work;

constexpr const char* kPictureStyle = R"css(
.bar{display:flex;height:14px;min-width:320px}.bar i{display:block;height:100%}
.bar .busy{background:var(--c2)}.bar .idle{background:var(--c6)}
figure.card{margin-bottom:12px}
.lane{fill:var(--rule)}
.forward{fill:var(--c0)}.backward{fill:var(--c5)}.update{fill:var(--c2)}
.reduce{fill:var(--c1)}.consensus{fill:var(--c6)}.gather{fill:var(--c4)}
)css";
constexpr double kWidth = 1160, kLane = 34, kLeft = 70;

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", seconds * 1e3); }

// Neighbours of one kind become one rectangle unless they are wide enough to be told apart.
std::vector<SimulatedEvent> merged(const std::vector<SimulatedEvent>& events, bool wire,
                                   double least_s) {
  std::vector<SimulatedEvent> result;
  for (const SimulatedEvent& e : events) {
    if (on_wire(e.work) != wire || e.end_s <= e.begin_s) continue;
    const bool joins = !result.empty() && result.back().work == e.work &&
                       e.begin_s - result.back().end_s < least_s &&
                       e.end_s - result.back().begin_s < 4 * least_s;
    if (joins)
      result.back().end_s = e.end_s;
    else
      result.push_back(e);
  }
  return result;
}

std::string lane(const sharding::Simulation& step, bool wire, double y, double seconds) {
  const double scale = (kWidth - kLeft) / seconds;
  std::string svg = fmt::format(
      "<text x='0' y='{}'>{}</text><rect class='lane' x='{}' y='{}' width='{}' height='{}'/>",
      y + kLane * 0.6, wire ? "wire" : "compute", kLeft, y, kWidth - kLeft, kLane);
  for (const SimulatedEvent& e : merged(step.events, wire, 0.75 / scale)) {
    const double begin = std::max(e.begin_s, 0.0), end = std::min(e.end_s, seconds);
    if (end <= begin) continue;
    svg += fmt::format(
        "<rect class='{0}' x='{1:.1f}' y='{2}' width='{3:.1f}' height='{4}'><title>{0}, window "
        "{5}: {6}</title></rect>",
        work_name(e.work), kLeft + begin * scale, y, std::max((end - begin) * scale - 0.4, 0.3),
        kLane, e.window, milliseconds(e.end_s - e.begin_s));
  }
  return svg;
}

// Gathers of the step before end inside this one; they are drawn where they were started, past the
// step's end.
std::string time_line(const SimulatedRun& run) {
  double seconds = run.step.step_s;
  for (const SimulatedEvent& e : run.step.events) seconds = std::max(seconds, e.end_s);
  const double end = kLeft + run.step.step_s * (kWidth - kLeft) / seconds;
  return fmt::format(
      "<figure class='card'>"
      "<figcaption>{} ranks <small>step {}, exposed communication {}</small></figcaption>"
      "<svg viewBox='0 0 {} {}' role='img' aria-label='time line of a step on {} ranks'>{}{}"
      "<line x1='{}' x2='{}' y1='0' y2='{}' stroke='currentColor' stroke-dasharray='3 3'/>"
      "</svg></figure>",
      run.ranks, milliseconds(run.step.step_s), milliseconds(run.step.exposed_s), kWidth,
      2 * kLane + 6, run.ranks, lane(run.step, false, 0, seconds),
      lane(run.step, true, kLane + 6, seconds), end, end, 2 * kLane + 6);
}

std::string table(const std::vector<SimulatedRun>& runs) {
  double longest = 0;
  for (const SimulatedRun& run : runs) longest = std::max(longest, run.step.step_s);
  std::string html =
      "<div class='card wide'><table><tr><th class='n'>ranks<th class='n'>a rank holds"
      "<th class='n'>step<th class='n'>exposed<th>computing, and waiting for the wire"
      "<th class='n'>exposed, native reduce</tr>";
  for (const SimulatedRun& run : runs) {
    html += fmt::format(
        "<tr><td class='n'>{}<td class='n'>{}<td class='n'>{}<td class='n'>{:.1f} %"
        "<td><div class='bar'><i class='busy' style='width:{:.2f}%'></i>"
        "<i class='idle' style='width:{:.2f}%'></i></div><td class='n'>{:.1f} %</tr>",
        run.ranks, human_bytes(run.bytes_per_rank), milliseconds(run.step.step_s),
        100 * run.step.exposed_s / run.step.step_s, 100 * run.step.compute_s / longest,
        100 * run.step.exposed_s / longest, 100 * run.native.exposed_s / run.native.step_s);
  }
  return html + "</table></div>";
}

std::string legend() {
  std::string html = "<ul class='legend'>";
  constexpr std::pair<Work, const char*> kItems[] = {
      {Work::kForward, "c0"}, {Work::kBackward, "c5"}, {Work::kUpdate, "c2"},
      {Work::kReduce, "c1"},  {Work::kGather, "c4"},   {Work::kConsensus, "c6"}};
  for (const auto& [work, colour] : kItems)
    html += fmt::format("<li><i class='{}'></i>{}</li>", colour, work_name(work));
  return html + "</ul>";
}

}  // namespace

std::string draw_simulation(const std::vector<SimulatedRun>& runs, const ClusterModel& cluster,
                            const std::string& title) {
  const sharding::Network& n = cluster.network;
  std::string html = fmt::format(
      "<!doctype html><html lang='en'><meta charset='utf-8'>"
      "<meta name='viewport' content='width=device-width'>"
      "<title>{0}</title><style>{1}{2}</style><main><header><h1>{0}</h1>"
      "<p>{3} ranks a node, {4:.0f} TFLOP/s each, {5:.0f} GB/s in a node, {6:.0f} GB/s between "
      "nodes; {7} micro-batches per rank and step</p></header>{8}<h2>A step on each</h2>"
      "<p>The wire's lane runs on after the step's end (dashed): those gathers hide behind the "
      "next forward.</p>{9}",
      trainer::escape_html(title), trainer::kReportStyle, kPictureStyle, n.ranks_per_node,
      cluster.flops / 1e12, n.node.bytes_per_s / 1e9, n.cluster.bytes_per_s / 1e9,
      runs.front().micro_batches_per_rank, table(runs), legend());
  for (const SimulatedRun& run : runs) html += time_line(run);
  return html + "</main></html>\n";
}

}  // namespace muster::launcher
