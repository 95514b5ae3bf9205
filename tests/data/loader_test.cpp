#include "data/loader.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <fstream>
#include <limits>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/trace.h"
#include "data/sources/small_sets.h"
#include "data/tokenizer/tokenizer.h"
#include "support/test_paths.h"

namespace muster::data {
namespace {

using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

const SamplerOptions kSampling{.micro_batches_per_step = 4,
                               .max_tokens = 400,
                               .max_vision_tokens = 40,
                               .max_samples = 3,
                               .seed = 5};

// Bytes that two or three micro-batches of those take.
constexpr std::int64_t kTwoAhead = 1 << 19;

// Everything that moves boxes and changes colours, often.
AugmentOptions strong() {
  AugmentOptions options;
  options.flip = 0.5;
  options.scale = {0.5, 1.5};
  options.crop = 0.5;
  options.crop_min_size = 0.5;
  options.min_visible = 0.3;
  options.colour = {0.4, 0.4, 0.4, 0.1};
  options.mosaic = 0.3;
  options.max_pixels = 1000 * 28 * 28;
  return options;
}

struct Rig {
  explicit Rig(std::int64_t images = 22, const AugmentOptions& augment = {},
               std::int64_t close_step = std::numeric_limits<std::int64_t>::max())
      : set(images),
        samples(pack, encoder, augment, kSampling.limits(), kSampling.seed),
        sampler(measure_all(pack, encoder, 1), sampling(close_step), sizes()) {}
  test::SmallSet set;
  SampleSet pack = open_set({set.pack_path});
  Tokenizer tokenizer{set.dir.path()};
  SampleEncoder encoder{tokenizer, test::encode_options()};
  TrainingSamples samples;
  Sampler sampler;

  static SamplerOptions sampling(std::int64_t close_step) {
    SamplerOptions options = kSampling;
    options.close_step = close_step;
    return options;
  }
  SizesOfEpoch sizes() const {
    if (!samples.augments()) return {};
    return [this](std::int64_t epoch) { return samples.measure_all(epoch, 2); };
  }

  Loader loader(int rank, int world, int threads = 2, std::int64_t prefetch = kTwoAhead,
                Cursor start = {}, std::int64_t epoch_first_step = 0) const {
    return Loader(samples, sampler,
                  {.micro_batches_per_step = kSampling.micro_batches_per_step,
                   .rank = rank,
                   .world_size = world,
                   .threads = threads,
                   .prefetch_bytes = prefetch,
                   .start = start,
                   .epoch_first_step = epoch_first_step});
  }
};

// Everything a micro-batch carries, as one digest.
std::string digest(const MicroBatch& batch) {
  std::string text = std::to_string(batch.index);
  for (const std::int64_t id : batch.sample_ids) text += " " + std::to_string(id);
  const auto add = [&](const at::Tensor& tensor) {
    if (tensor.defined())
      text += xxh128({static_cast<const std::byte*>(tensor.contiguous().data_ptr()),
                      static_cast<std::size_t>(tensor.nbytes())});
  };
  add(batch.input_ids);
  add(batch.labels);
  add(batch.pixel_values);
  add(batch.grid_thw);
  for (const ImageTargets& targets : batch.targets) add(targets.boxes);
  return text;
}

std::vector<std::string> digests(Loader& loader, int steps) {
  std::vector<std::string> all;
  for (int i = 0; i < steps; ++i)
    for (const MicroBatch& batch : loader.next_step().micro_batches) all.push_back(digest(batch));
  return all;
}

}  // namespace

TEST_CASE("the union of ranks is the global list, in order, whatever the world size", "[unit]") {
  const Rig rig;
  const std::int64_t steps = rig.sampler.steps(0);
  REQUIRE(steps > 1);
  for (const int world : {1, 2, 4}) {
    std::map<std::int64_t, std::vector<std::int64_t>> seen;  // index -> samples
    std::vector<Denominators> of_step;
    for (int rank = 0; rank < world; ++rank) {
      Loader loader = rig.loader(rank, world);
      for (std::int64_t step = 0; step < steps; ++step) {
        StepBatches batches = loader.next_step();
        CHECK(batches.cursor == Cursor{0, step});
        CHECK(batches.last_in_epoch == (step + 1 == steps));
        if (rank == 0) of_step.push_back(batches.denominators);
        CHECK(of_step[step] == batches.denominators);
        REQUIRE(static_cast<int>(batches.micro_batches.size()) == 4 / world);
        for (std::size_t k = 0; k < batches.micro_batches.size(); ++k) {
          CHECK(batches.indices[k] == static_cast<std::int64_t>(k) * world + rank);
          CHECK(batches.micro_batches[k].index == step * 4 + batches.indices[k]);
          seen[batches.micro_batches[k].index] = batches.micro_batches[k].sample_ids;
        }
      }
      CHECK(loader.next_step().cursor == Cursor{1, 0});
    }
    const auto list = rig.sampler.epoch(0);
    REQUIRE(seen.size() == list.size());
    for (std::size_t i = 0; i < list.size(); ++i)
      CHECK(seen[static_cast<std::int64_t>(i)] == list[i].samples);
    Denominators all, expected;
    for (const Denominators& d : of_step) all += d;
    for (const MicroBatchPlan& plan : list) expected += plan.denominators;
    CHECK(all == expected);
  }
}

TEST_CASE("threads and prefetch change nothing", "[unit]") {
  const Rig rig;
  const int steps = static_cast<int>(2 * rig.sampler.steps(0) + 1);  // over an epoch's end
  Loader one = rig.loader(0, 2, 1, 1), four = rig.loader(0, 2, 4, 1 << 23);
  CHECK(digests(one, steps) == digests(four, steps));
}

TEST_CASE("the loader begins no micro-batch while those ahead take so many bytes", "[unit]") {
  const Rig rig;
  const std::vector<MicroBatchPlan> plan = rig.sampler.epoch(0, 0);
  for (const std::int64_t limit : {std::int64_t{1}, kTwoAhead, 2 * kTwoAhead}) {
    std::int64_t expected = 0, bytes = 0;
    while (bytes < limit) bytes += rig.samples.encoded_bytes(plan[expected++]);
    REQUIRE(expected < std::ssize(plan));
    trace::start();
    {
      const Loader loader = rig.loader(0, 1, 3, limit);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));  // it could make all of them
    }
    const std::string made = trace::stop("test").json;
    std::int64_t count = 0;
    for (std::size_t at = 0; (at = made.find("micro-batch", at)) != std::string::npos; ++at)
      ++count;
    CHECK(count <= expected);
  }
}

TEST_CASE("what an encoded micro-batch takes is known from its plan", "[unit]") {
  const Rig rig;
  for (const MicroBatchPlan& plan : rig.sampler.epoch(0, 0)) {
    if (plan.samples.empty()) continue;
    const MicroBatch batch = rig.samples.encode(plan, 0);
    std::size_t bytes = 0;
    for (const at::Tensor* tensor : {&batch.pixel_values, &batch.input_ids, &batch.labels})
      bytes += tensor->nbytes();
    CHECK(rig.samples.encoded_bytes(plan) == static_cast<std::int64_t>(bytes));
  }
}

TEST_CASE("a loader started anywhere continues as the uninterrupted one", "[unit]") {
  const Rig rig;
  const std::int64_t per_epoch = rig.sampler.steps(0);
  Loader whole = rig.loader(1, 2);
  const std::vector<std::string> all = digests(whole, static_cast<int>(2 * per_epoch));
  for (std::int64_t step = 0; step <= per_epoch; ++step) {
    Loader resumed = rig.loader(1, 2, 2, kTwoAhead, {0, step});
    const auto rest = digests(resumed, static_cast<int>(2 * per_epoch - step));
    CHECK(std::equal(rest.begin(), rest.end(), all.begin() + 2 * step, all.end()));
  }
  CHECK_THROWS_MATCHES(rig.loader(0, 1, 1, 1, {0, per_epoch + 1}), DataError,
                       MessageMatches(ContainsSubstring("cannot continue")));
}

TEST_CASE("law 9 with augmentation: worlds, threads and resumes have the same bits", "[unit]") {
  const Rig plain;
  for (const std::int64_t close_step : {std::int64_t{1000}, std::int64_t{3}}) {
    const Rig rig(22, strong(), close_step);
    constexpr int kSteps = 9;
    Loader whole = rig.loader(0, 1, 1, 1);
    std::vector<std::string> all;      // of every micro-batch
    std::vector<Cursor> cursors;       // of every step
    std::vector<std::int64_t> starts;  // step of the run that its epoch started with
    for (int i = 0; i < kSteps; ++i) {
      const StepBatches step = whole.next_step();
      cursors.push_back(step.cursor);
      starts.push_back(i - step.cursor.step_in_epoch);
      for (const MicroBatch& batch : step.micro_batches) all.push_back(digest(batch));
    }
    for (const int world : {2, 4}) {
      for (int rank = 0; rank < world; ++rank) {
        Loader loader = rig.loader(rank, world, world, 5 * kTwoAhead);
        const std::vector<std::string> mine = digests(loader, kSteps);
        REQUIRE(mine.size() == all.size() / static_cast<std::size_t>(world));
        for (std::size_t k = 0; k < mine.size(); ++k)
          CHECK(mine[k] ==
                all[k * static_cast<std::size_t>(world) + static_cast<std::size_t>(rank)]);
      }
    }
    for (std::size_t step = 0; step < cursors.size(); ++step) {
      Loader resumed = rig.loader(0, 1, 4, kTwoAhead, cursors[step], starts[step]);
      const auto rest = digests(resumed, kSteps - static_cast<int>(step));
      CHECK(std::equal(rest.begin(), rest.end(),
                       all.begin() + static_cast<std::ptrdiff_t>(4 * step), all.end()));
    }
    Loader stored = plain.loader(0, 1);
    CHECK(digests(stored, 1).front() != all.front());  // control: augmentation changes bits
  }
}

TEST_CASE("from close_step on samples are trained as stored, and none is lost or doubled",
          "[unit]") {
  const Rig rig(22, strong(), 1);
  const std::vector<MicroBatchPlan> list = rig.sampler.epoch(0, 0);
  std::map<std::int64_t, int> seen;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].samples.empty()) CHECK(list[i].as_stored == (i >= 4));
    for (const std::int64_t sample : list[i].samples) ++seen[sample];
    const MicroBatch batch =
        list[i].samples.empty() ? MicroBatch{} : rig.samples.encode(list[i], 0);
    CHECK(batch.denominators == list[i].denominators);
    if (!list[i].as_stored || list[i].samples.empty()) continue;
    CHECK(at::equal(batch.pixel_values,
                    rig.encoder.encode(rig.pack, list[i].samples, true).pixel_values));
  }
  CHECK(seen.size() == 22);
  for (const auto& [sample, times] : seen) CHECK(times == 1);
  for (const MicroBatchPlan& plan : rig.sampler.epoch(1, 7)) CHECK(plan.as_stored);
}

TEST_CASE("what an epoch trains on is what its plan measured, and has the sizes it says",
          "[unit]") {
  const Rig rig(12, strong());
  int moved = 0;
  for (std::int64_t i = 0; i < rig.pack.size(); ++i) {
    for (const std::int64_t epoch :
         {std::int64_t{0}, std::int64_t{1}, TrainingSamples::kAsStored}) {
      const TrainedSample trained = rig.samples.made(i, epoch);
      CHECK(rig.samples.measure(i, epoch) == rig.encoder.measure(trained.sample));
      REQUIRE(trained.pictures.size() == 1);
      CHECK(trained.pictures[0].width == trained.sample.pictures[0].width);
      CHECK(trained.pictures[0].height == trained.sample.pictures[0].height);
      const Sample stored = rig.pack.sample(i);
      if (epoch == TrainingSamples::kAsStored)
        CHECK(trained.pictures[0].rgb == rig.pack.pictures(i, stored)[0].rgb);
      moved += trained.sample.pictures[0].index == -1 ? 1 : 0;
    }
  }
  CHECK(moved > 12);
}

TEST_CASE("empty micro-batches have an index and nothing else", "[unit]") {
  const Rig rig(3);
  Loader loader = rig.loader(0, 1);
  int empty = 0;
  for (const MicroBatch& batch : loader.next_step().micro_batches)
    if (batch.num_samples() == 0) {
      ++empty;
      CHECK((batch.index >= 0 && !batch.input_ids.defined() && !batch.pixel_values.defined() &&
             batch.denominators == Denominators{}));
    }
  CHECK(empty > 0);
}

TEST_CASE("a worker's error comes out of next_step with the sample's name, again and again",
          "[fault]") {
  const Rig rig;
  const std::string image = read_text(rig.set.samples[4].pictures[0].path);
  const auto at = read_text(rig.set.pack_path).find(image);
  std::fstream file(rig.set.pack_path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at + image.size() / 2));
  file.write("XXXX", 4);
  file.close();
  const SampleSet damaged = open_set({rig.set.pack_path});
  const TrainingSamples samples(damaged, rig.encoder, {}, kSampling.limits(), kSampling.seed);
  Loader loader(samples, rig.sampler,
                {.micro_batches_per_step = kSampling.micro_batches_per_step,
                 .rank = 0,
                 .world_size = 1,
                 .threads = 3,
                 .prefetch_bytes = 1 << 20,
                 .start = {}});
  const auto epoch = [&] {
    for (std::int64_t i = 0; i < rig.sampler.steps(0); ++i) loader.next_step();
  };
  CHECK_THROWS_MATCHES(epoch(), DataError, MessageMatches(ContainsSubstring("scene-000004")));
  CHECK_THROWS_MATCHES(loader.next_step(), DataError,
                       MessageMatches(ContainsSubstring("scene-000004")));
}

TEST_CASE("a loader that is not drained stops at once", "[unit]") {
  const Rig rig;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    Loader loader = rig.loader(0, 1, 4, kTwoAhead);
    if (i % 2 == 0) loader.next_step();
    CHECK(loader.seconds_waited() >= 0);
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
  CHECK_THROWS_MATCHES(rig.loader(0, 3), ConfigError,
                       MessageMatches(ContainsSubstring("multiple of the 3 ranks")));
}

TEST_CASE("throughput: 640x480 -> 448x336", "[.bench]") {
  const TempDir dir;
  Source source = read_source(test::shared("data/bccd"), "", "");
  pack_source(source, dir.path() / "p.h5", true, false);
  const SampleSet set = open_set({dir.path() / "p.h5"});
  const Tokenizer tokenizer(test::shared("data/qwen_tokenizer"));
  EncodeOptions options = test::encode_options();
  options.vocab_size = 151936;
  const SampleEncoder encoder(tokenizer, options);
  const SamplerOptions batches{.micro_batches_per_step = 1,
                               .max_tokens = 8192,
                               .max_vision_tokens = 800,
                               .max_samples = 4,
                               .seed = 1};
  const TrainingSamples trained(set, encoder, {}, batches.limits(), 1);
  const Sampler sampler(measure_all(set, encoder, 1), batches);
  for (const int threads : {1, 2}) {
    Loader loader(trained, sampler,
                  {.micro_batches_per_step = batches.micro_batches_per_step,
                   .rank = 0,
                   .world_size = 1,
                   .threads = threads,
                   .prefetch_bytes = 1 << 20,
                   .start = {}});
    const auto begin = std::chrono::steady_clock::now();
    std::int64_t samples = 0;
    for (bool last = false; !last;) {
      const StepBatches step = loader.next_step();
      samples += step.micro_batches[0].num_samples();
      last = step.last_in_epoch;
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    WARN(threads << " threads: " << static_cast<double>(samples) / seconds << " samples/s");
  }
}

}  // namespace muster::data
