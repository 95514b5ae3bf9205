// Attention of queries to a few points of a map each, which lie between the map's cells.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace muster::model {

// Where each query looks: point k of query i is the sum over its four cells of weight times cell.
// Neither gets a gradient.
struct MapPoints {
  at::Tensor cells;    // [queries, points, 4] i64: rows of the map
  at::Tensor weights;  // [queries, points, 4] f32
};

// query [queries, hidden]; key_values [cells, 2 * hidden], keys first; offset [points, 2 * hidden]
// is added to what each query reads at its points. Returns what the heads mix, [queries, hidden].
// On a CPU a query's points are read again in backward instead of being kept, and gradients are
// summed in order of the queries, so that their bits are always the same.
at::Tensor attend_to_points(const at::Tensor& query, const at::Tensor& key_values,
                            const at::Tensor& offset, const MapPoints& points, std::int64_t heads);

}  // namespace muster::model
