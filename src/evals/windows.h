// The windows of a perplexity run: which tokens are read together from a fresh state, and which of them are
// scored. A window is a document of its own to everything that follows. docs/perplexity.md says the same in
// words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evals/document_run.h"
#include "evals/token_documents.h"

namespace kvlab {

enum class WindowProtocol {
  kStream,  // every document, or every max_length tokens of it; every token is scored
  kPrefix,  // the same pieces; the tokens after the context are scored
  kStride,  // max_length tokens every `stride` tokens; each token is scored in one window
  kChunks,  // max_length tokens side by side over the whole text
};

enum class ChunkConvention {
  kGptq,      // all max_length - 1 labels
  kLlamaCpp,  // BOS in the place of the first token; labels of the second half
};

// "stream", "prefix", "stride", "chunks" and "gptq", "llamacpp"; throw UserError for anything else.
WindowProtocol parse_window_protocol(const std::string& name);
ChunkConvention parse_chunk_convention(const std::string& name);

struct WindowOptions {
  WindowProtocol protocol = WindowProtocol::kStream;
  ChunkConvention convention = ChunkConvention::kGptq;
  int64_t max_length = 0;            // tokens of a window; 0: whole documents (stream and prefix only)
  int64_t stride = 0;                // of kStride
  int64_t context = 0;               // of kPrefix
  int64_t max_samples = 0;           // windows; 0: all
  std::optional<int32_t> chunk_bos;  // for kLlamaCpp, where the tokenizer adds one
};

// Protocols that read the whole data as one text.
bool joins_documents(WindowProtocol protocol);

struct Window {
  TokenDocument tokens;  // index: the window's, from 0; id: the document's
  int64_t first = 0;     // in the document
};

// Throws UserError: sizes that contradict each other, nothing left to score.
void check_window_options(const WindowOptions& options);
// The first tokens of a document, or of the joined text, that max_samples windows can need, at most
// `max_tokens`; 0: all.
int64_t tokens_needed(const WindowOptions& options, int64_t max_tokens);
// `documents` has one element where the protocol joins. Throws UserError: a text that is too short.
std::vector<Window> make_windows(const std::vector<TokenDocument>& documents, const WindowOptions& options);

// How run_document() takes such a window.
Protocol session_protocol(const WindowOptions& options);

}  // namespace kvlab
