// A record of training text (trained_on.json); what is read is written and read again.
#include "format/trained_on.h"

#include "fuzz/support.h"
#include "fuzz/targets.h"

namespace kvlab::fuzz {

void fuzz_trained_on(Input input) {
  static const Folder folder;
  const std::string path = folder.write("trained_on.json", text_of(input));
  answers(path, [&] {
    const TrainedOn record = TrainedOn::read(path);
    const std::string copy = folder.file("copy.json");
    record.write(copy);
    require(TrainedOn::read(copy).shingles() == record.shingles(), "a copy with other shingles");
  });
}

}  // namespace kvlab::fuzz
