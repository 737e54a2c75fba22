// Models, tokens and methods of a run.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/method.h"
#include "cli/common.h"

namespace kvlab::roofline {

struct DataFlags {
  std::string data;
  void declare(CLI::App& app);
  // The first `count` tokens of all documents joined, from the start again where they do not suffice: speed
  // depends on the text only through what a method evicts.
  std::vector<int32_t> tokens(const ModelFiles& files, int64_t count) const;
};

// Recipes at blanks, in order. Throws UserError for recipes that wait for the end of a context, which these
// runs do not have.
std::vector<std::shared_ptr<const Method>> make_methods(const std::string& recipes,
                                                        const ModelConfig& config);

}  // namespace kvlab::roofline
