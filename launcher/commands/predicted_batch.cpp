#include "launcher/commands/predicted_batch.h"

#include <nlohmann/json.hpp>

namespace muster::launcher {

std::string batch_to_bytes(const PredictedBatch& batch) {
  const std::string images = trainer::detections_to_bytes(batch.images);
  const nlohmann::json json{{"images", nlohmann::json::binary({images.begin(), images.end()})},
                            {"bad", batch.bad},
                            {"turned", batch.turned}};
  const std::vector<std::uint8_t> bytes = nlohmann::json::to_cbor(json);
  return {bytes.begin(), bytes.end()};
}

PredictedBatch batch_from_bytes(std::string_view bytes) {
  const auto json = nlohmann::json::from_cbor(bytes.begin(), bytes.end());
  const auto& images = json.at("images").get_binary();
  return {
      trainer::detections_from_bytes({reinterpret_cast<const char*>(images.data()), images.size()}),
      json.at("bad").get<std::vector<std::string>>(),
      json.at("turned").get<std::vector<std::string>>()};
}

PredictionFiles::PredictionFiles(const std::filesystem::path& folder, std::string_view format,
                                 const data::ClassMap& classes)
    : file_(folder / "detections.json"),
      other_(trainer::prediction_writer(format, folder, classes)) {}

void PredictionFiles::add(const std::vector<trainer::ImageDetections>& images) {
  for (const trainer::ImageDetections& image : images) {
    file_.add(image);
    if (other_) other_->add(image);
  }
}

void PredictionFiles::commit() {
  file_.commit();
  if (other_) other_->commit();
}

}  // namespace muster::launcher
