// POST /v1/detect and /v1/detect/batch: pictures in, the form of detections.json out.
#pragma once

#include "launcher/serve/detect_queue.h"
#include "launcher/serve/http/message.h"

namespace muster::launcher {

inline constexpr std::size_t kMostPromptBytes = 4096;

// The picture is the body, with prompt, threshold, upright and name in the query; or a form has one
// part `image`, and the others as fields. Answers [ENTRY].
HttpAnswer detect_one(const HttpRequest& request, DetectQueue& queue);

// A form with any number of parts `image`. Answers an entry for each, in order; one that could not
// be used has {"image", "error"}. When none could, the status is the first one's.
HttpAnswer detect_batch(const HttpRequest& request, DetectQueue& queue);

}  // namespace muster::launcher
