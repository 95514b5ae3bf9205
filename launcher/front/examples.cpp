#include "launcher/front/examples.h"

#include <CLI/CLI.hpp>

namespace muster::launcher {

const std::map<std::string, std::vector<std::string>>& examples() {
  static const std::map<std::string, std::vector<std::string>> kExamples = {
      {"synth", {"muster synth shapes --images 2000 --size 168 --seed 1"}},
      {"pack",
       {"muster pack shapes/annotations.json -o train.h5",
        "muster pack VOCdevkit/VOC2007 -o val.h5 --split val --skip-bad",
        "muster pack dataset --check-only --json"}},
      {"tokens", {"muster tokens photo.jpg", "muster tokens train.h5 --budget 200 --json"}},
      {"check", {"muster check configs/demo.yaml -n 2", "muster check --help-config"}},
      {"plan", {"muster plan configs/demo.yaml -n 8"}},
      {"launch",
       {"muster launch configs/demo.yaml -n 2",
        "muster launch configs/demo.yaml -n 2 --fresh --set schedule.max_steps=100"}},
      {"train",
       {"mpirun -n 2 muster train configs/demo.yaml",
        "muster train configs/demo.yaml --set run.dir=runs/alone"}},
      {"submit",
       {"muster submit run.yaml --nodes 4 --gpus-per-node 8 --time 12:00:00 --module openmpi/4.1",
        "muster submit run.yaml --nodes 2 --gpus-per-node 8 --min-nodes 1 --container muster.sif "
        "--dry-run",
        "muster submit configs/demo.yaml --nodes 1 --gpus-per-node 0 --ranks-per-node 2"}},
      {"eval",
       {"muster eval runs/demo --data val.h5 --json",
        "muster eval --detections detections.json --ground-truth annotations.json"}},
      {"predict",
       {"muster predict runs/demo photo.jpg -o out",
        "muster predict runs/demo photos -o out --threshold 0.3"}},
      {"generate",
       {"muster generate runs/demo --image photo.jpg --prompt 'What is in the picture?'",
        "muster generate Qwen3-VL-4B-Instruct --prompt 'Why?' --temperature 0.7 --top-p 0.9 --seed "
        "1 --json"}},
      {"export", {"muster export runs/demo -o detector-hf --shard-bytes 2000000000"}},
      {"report", {"muster report runs/demo"}},
      {"params", {"muster params runs/demo"}},
      {"memcheck", {"muster memcheck configs/demo.yaml --steps 40"}},
      {"status", {"muster status runs/demo", "muster status 4711 --json"}},
      {"triage",
       {"muster triage runs/demo", "muster triage slurm-4711.out --json",
        "muster triage runs/demo --append"}},
      {"doctor", {"muster doctor", "muster doctor configs/demo.yaml -n 2 --json"}},
      {"completion",
       {"muster completion bash > ~/.local/share/bash-completion/completions/muster",
        "source <(muster completion zsh)"}},
  };
  return kExamples;
}

void add_examples(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    const auto lines = examples().find(command->get_name());
    if (lines == examples().end()) continue;
    std::string footer = "Examples:";
    for (const std::string& line : lines->second) footer += "\n  " + line;
    command->footer(footer);
  }
}

}  // namespace muster::launcher
