#include "model/head/point_attention.h"

#include <ATen/core/grad_mode.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <vector>

#include "model/head/loss_values.h"

namespace muster::model {
namespace {

constexpr std::int64_t kQueries = 6, kPoints = 5, kHeads = 3, kHidden = 33, kCells = 10;

struct Inputs {
  at::Tensor query, key_values, offset;
  MapPoints points;
};

Inputs some_inputs(at::ScalarType dtype) {
  at::Tensor cells = at::empty({kQueries, kPoints, 4}, at::kLong);
  for (std::int64_t i = 0; i < cells.numel(); ++i)
    cells.mutable_data_ptr<std::int64_t>()[i] = (7 * i + i / 4) % kCells;  // cells are met often
  const auto leaf = [&](std::uint64_t seed, std::vector<std::int64_t> sizes) {
    return test::noise(seed, sizes).to(dtype).requires_grad_();
  };
  return {leaf(1, {kQueries, kHidden}),
          leaf(2, {kCells, 2 * kHidden}),
          leaf(3, {kPoints, 2 * kHidden}),
          {cells, test::noise(4, {kQueries, kPoints, 4}).abs()}};
}

// Attention written out, as the paper has it.
at::Tensor written_out(const Inputs& in) {
  const at::Tensor rows = in.key_values.index_select(0, in.points.cells.flatten())
                              .view({kQueries, kPoints, 4, 2 * kHidden});
  const at::Tensor seen =
      (rows * in.points.weights.to(rows.scalar_type()).unsqueeze(3)).sum(2) + in.offset;
  const auto heads = [](const at::Tensor& x) {
    return x.reshape({kQueries, -1, kHeads, kHidden / kHeads}).transpose(1, 2);
  };
  const at::Tensor key = heads(seen.narrow(2, 0, kHidden));
  const at::Tensor value = heads(seen.narrow(2, kHidden, kHidden));
  const at::Tensor score =
      heads(in.query).matmul(key.transpose(2, 3)) / std::sqrt(double{kHidden} / kHeads);
  return score.softmax(3).matmul(value).reshape({kQueries, kHidden});
}

std::vector<at::Tensor> results(const Inputs& in, const at::Tensor& out) {
  const at::Tensor weight = test::noise(5, {kQueries, kHidden}).to(out.scalar_type());
  for (const at::Tensor& leaf : {in.query, in.key_values, in.offset}) leaf.mutable_grad().reset();
  (out * weight).sum().backward();
  return {out.detach(), in.query.grad().clone(), in.key_values.grad().clone(),
          in.offset.grad().clone()};
}

at::Tensor attended(const Inputs& in) {
  return attend_to_points(in.query, in.key_values, in.offset, in.points, kHeads);
}

}  // namespace

TEST_CASE("point attention: it and its gradients are those of attention written out", "[unit]") {
  const auto [dtype, tolerance] = GENERATE(table<at::ScalarType, double>(
      {{at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kBFloat16, 6e-2}}));
  CAPTURE(dtype);
  const Inputs in = some_inputs(dtype);
  const std::vector<at::Tensor> got = results(in, attended(in));
  const std::vector<at::Tensor> expected = results(in, written_out(in));
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].scalar_type() == dtype);
    CHECK(at::allclose(got[i].to(at::kDouble), expected[i].to(at::kDouble), tolerance, tolerance));
  }
}

TEST_CASE("point attention: the same bits again, and without a graph", "[unit]") {
  const Inputs in = some_inputs(at::kFloat);
  const std::vector<at::Tensor> once = results(in, attended(in));
  const std::vector<at::Tensor> again = results(in, attended(in));
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(at::equal(once[i], again[i]));
  const at::NoGradGuard no_grad;
  CHECK(at::equal(attended(in), once[0]));
}

TEST_CASE("point attention: points that are not as many as the offsets are refused", "[fault]") {
  Inputs in = some_inputs(at::kFloat);
  in.points.cells = in.points.cells.narrow(1, 0, kPoints - 1);
  CHECK_THROWS(attended(in));
}

}  // namespace muster::model
