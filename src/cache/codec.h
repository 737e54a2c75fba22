// Codecs say how live entries are stored. A codec is one file of src/methods/codecs that defines
// `const CodecInfo kCodecInfo_<file name>`. Today: the plain element types.
#pragma once

#include <string>
#include <vector>

#include "base/fields.h"
#include "tensor/dtype.h"

namespace kvlab {

struct CodecInfo {
  std::string name;
  std::string title;
  std::string paper;
  std::string summary;
  FieldList fields;
  DType type = DType::kF32;  // of the stored keys and values
};

const std::vector<const CodecInfo*>& registry_codecs();

}  // namespace kvlab
