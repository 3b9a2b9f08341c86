/** The libraries that know protobuf, loaded with the first proto: most nodes have none. */

import { createRequire } from "node:module";
import type * as Protobuf from "@bufbuild/protobuf";
import type * as WellKnown from "@bufbuild/protobuf/wkt";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import type * as Protobufjs from "protobufjs";

export interface Libraries {
  readonly protobuf: typeof Protobuf;
  readonly wellKnown: typeof WellKnown;
  readonly protobufjs: typeof Protobufjs;
}

let loaded: Libraries | null = null;

export function loadLibraries(): Libraries {
  if (loaded === null) {
    const require = createRequire(import.meta.url);
    loaded = {
      protobuf: require("@bufbuild/protobuf") as typeof Protobuf,
      wellKnown: require("@bufbuild/protobuf/wkt") as typeof WellKnown,
      protobufjs: require("protobufjs") as typeof Protobufjs,
    };
  }
  return loaded;
}

/** Google's files that every compiler of protos has at hand. */
export function wellKnownFiles({ wellKnown }: Libraries): FileDescriptorProto[] {
  return [
    wellKnown.file_google_protobuf_any,
    wellKnown.file_google_protobuf_api,
    wellKnown.file_google_protobuf_descriptor,
    wellKnown.file_google_protobuf_duration,
    wellKnown.file_google_protobuf_empty,
    wellKnown.file_google_protobuf_field_mask,
    wellKnown.file_google_protobuf_source_context,
    wellKnown.file_google_protobuf_struct,
    wellKnown.file_google_protobuf_timestamp,
    wellKnown.file_google_protobuf_type,
    wellKnown.file_google_protobuf_wrappers,
  ].map((file) => file.proto);
}
