// Comparing a model with another program's logits and losses on the same ids, without compression.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "models/model.h"

namespace kvlab::testing {

// Runs golden["ids"] in extends of at most `piece` tokens (0: one extend) and expects golden["logits"] within
// 1e-3 and golden["nll"] within 1e-4.
void expect_logits_golden(const std::shared_ptr<const Model>& model, const nlohmann::json& golden, int piece);

}  // namespace kvlab::testing
