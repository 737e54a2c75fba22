// Runs `kvlab compare` on a tiny model and reads what it wrote.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/program.h"

namespace kvlab::testing {

class CompareRun : public ::testing::Test {
 protected:
  // f32 on one thread, no pictures unless they are asked for. Results go to the folder `out`.
  ProgramResult compare(const std::vector<std::string>& extra, const std::string& data,
                        bool pictures = false) const {
    std::vector<std::string> arguments{
        "compare", "--model", place_.model(), "--data_path", data,           "--tokens_field",  "ids",
        "--dtype", "f32",     "--threads",    "1",           "--output_dir", place_.path("out")};
    if (!pictures) arguments.push_back("--no_heatmaps");
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_kvlab(arguments);
  }
  nlohmann::json summary() const { return nlohmann::json::parse(place_.read("out/comparison_summary.json")); }
  nlohmann::json details() const { return nlohmann::json::parse(place_.read("out/detailed_results.json")); }

  static std::vector<std::string> names(const nlohmann::json& result) {
    std::vector<std::string> list;
    for (const auto& row : result.at("methods")) list.push_back(row.at("name"));
    return list;
  }
  static nlohmann::json row(const nlohmann::json& result, const std::string& name) {
    for (const auto& entry : result.at("methods")) {
      if (entry.at("name") == name) return entry;
    }
    ADD_FAILURE() << "no row " << name;
    return nlohmann::json::object();
  }

  TinyWorkplace place_;
};

}  // namespace kvlab::testing
