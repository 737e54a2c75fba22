// The recipes with wrappers that the contract is tested on, made from the registry.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "contract/harness.h"

namespace kvlab::testing {

namespace {

// A scorer of each kind, and one of which all heads of a layer keep the same.
constexpr const char* kInner[] = {"keydiff", "knorm", "h2o", "snapkv", "tova"};

const ScorerInfo& scorer_named(const std::string& name) {
  const auto& all = registry_scorers();
  return **std::find_if(all.begin(), all.end(), [&](const ScorerInfo* info) { return info->name == name; });
}

// Whether the wrapper can stand around the scorer; refusals have tests of their own.
bool fits(const WrapperInfo& wrapper, const ScorerInfo& scorer, bool streaming) {
  if (streaming && !wrapper.context_only.empty()) return false;
  if (streaming && wrapper.compares_heads && !scorer.no_comparison.empty()) return false;
  if (wrapper.uneven && scorer.name == "tova") return false;
  if (wrapper.of_attention && !scorer.attention) return false;
  return tiny_shape().windows.empty() || !wrapper.create(Values(wrapper.fields))->renumbers();
}

// Parameters that let a wrapper show itself in some hundred tokens.
std::string own_arguments(const WrapperInfo& wrapper) {
  if (wrapper.name == "chunked") return ",chunk=32";
  if (wrapper.name == "chunkkv") return ",chunk=4";
  if (wrapper.name == "pyramidkv") return ",beta=3";
  if (wrapper.name == "cam") return ",neighbours=8";
  return "";
}

// Votes of few queries, so that the window of a short text does not swallow them.
std::string inner_text(const std::string& scorer) {
  return scorer == "snapkv" ? "snapkv(queries=8)" : scorer;
}

std::string wrapped(const WrapperInfo& wrapper, const std::string& scorer) {
  return fmt::format("{}(of={}{}", wrapper.name, inner_text(scorer), own_arguments(wrapper));
}

// What wrappers do does not depend on the architecture but for its windows, so one scorer will do there.
std::vector<const char*> inner_scorers() {
  if (std::getenv("KVLAB_TEST_ARCHITECTURE")) return {"h2o"};
  return {std::begin(kInner), std::end(kInner)};
}

template <typename Add>
void for_each_pair(bool streaming, const Add& add) {
  for (const WrapperInfo* wrapper : registry_wrappers()) {
    for (const char* scorer : inner_scorers()) {
      if (fits(*wrapper, scorer_named(scorer), streaming)) add(*wrapper, std::string(scorer));
    }
  }
}

// Of the recipes that some models refuse.
bool renumbers_here(const std::string& recipe) {
  return recipe.find("rerotate") != std::string::npos && !tiny_shape().windows.empty();
}

std::vector<std::string> possible(std::vector<std::string> recipes) {
  std::erase_if(recipes, renumbers_here);
  return recipes;
}

}  // namespace

std::vector<std::string> wrapped_streaming_recipes(int64_t window) {
  std::vector<std::string> recipes;
  for_each_pair(true, [&](const WrapperInfo& wrapper, const std::string& scorer) {
    const std::string protection = fmt::format("window={}", window);
    for (const int every : {1, 7})
      recipes.push_back(fmt::format("{},keep=0.3,{},every={})", wrapped(wrapper, scorer), protection, every));
    recipes.push_back(fmt::format("{},size=24,{},every=3)", wrapped(wrapper, scorer), protection));
    if (wrapper.no_threshold.empty() && scorer == "knorm") {
      recipes.push_back(fmt::format("{},threshold={},{})", wrapped(wrapper, scorer),
                                    median_score(scorer_named(scorer)), protection));
    }
  });
  for (const char* composed :
       {"criticalkv(of=adakv(of=h2o),keep=0.3", "criticalkv(of=adakv(of=snapkv(queries=8)),keep=0.3,every=7",
        "pyramidkv(of=adakv(of=h2o),keep=0.3",
        "merge(of=chunkkv(of=snapkv(queries=8),chunk=4),keep=0.3,every=7", "cam(of=adakv(of=h2o),size=24",
        "merge(of=criticalkv(of=h2o),keep=0.3,every=7",
        "chunked(of=adakv(of=observed_attention),chunk=32,keep=0.3,every=7",
        "cam(of=merge(of=h2o),keep=0.3,every=3"})
    recipes.push_back(fmt::format("{},window={})", composed, window));
  return recipes;
}

std::vector<std::string> wrapped_context_recipes(double keep) {
  std::vector<std::string> recipes;
  for_each_pair(false, [&](const WrapperInfo& wrapper, const std::string& scorer) {
    recipes.push_back(fmt::format("{},keep={},at=context)", wrapped(wrapper, scorer), keep));
  });
  for (const char* composed :
       {"criticalkv(of=adakv(of=snapkv(queries=8))", "pyramidkv(of=whole_model(of=h2o),beta=3",
        "merge(of=chunkkv(of=snapkv(queries=8),chunk=4)", "merge(of=whole_model(of=keydiff)",
        "whole_model(of=merge(of=h2o)", "rerotate(of=merge(of=keydiff)", "rerotate(of=criticalkv(of=h2o)",
        "rerotate(of=chunked(of=keydiff,chunk=32)", "criticalkv(of=whole_model(of=snapkv(queries=8))"})
    recipes.push_back(fmt::format("{},keep={},at=context)", composed, keep));
  return possible(recipes);
}

std::vector<std::string> wrapped_two_phase_recipes() {
  std::vector<std::string> recipes;
  const auto add = [&](const std::string& context, const std::string& decode) {
    recipes.push_back(fmt::format("two_phase(context={},decode={})", context, decode));
  };
  for_each_pair(false, [&](const WrapperInfo& wrapper, const std::string& scorer) {
    if (wrapper.create(Values(wrapper.fields))->renumbers()) return;  // refused
    add(wrapped(wrapper, scorer) + ",keep=0.5)", "h2o(size=24,window=8)");
  });
  for_each_pair(true, [&](const WrapperInfo& wrapper, const std::string& scorer) {
    add("none", wrapped(wrapper, scorer) + ",keep=0.3,window=8,every=7)");
    if (scorer != "tova")
      add("expected_attention(keep=0.5)", wrapped(wrapper, scorer) + ",size=24,window=8,every=3)");
  });
  add("adakv(of=snapkv(queries=8),keep=0.5)", "merge(of=h2o,size=24,window=8)");
  add("whole_model(of=h2o,keep=0.5)", "cam(of=h2o,size=24,window=8)");
  add("merge(of=keydiff,keep=0.5)", "criticalkv(of=adakv(of=h2o),keep=0.3,window=8)");
  return recipes;
}

}  // namespace kvlab::testing
