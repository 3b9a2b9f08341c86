/**
 * From what a proto resource holds to what workers get: a complete descriptor set in which every name leads somewhere.
 *
 * Promises that any content ends with a set or a `ProtoError` within bounds, and that a set it gives can be loaded. The
 * libraries are loaded with the first proto.
 */

import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { checkFiles } from "./checks.ts";
import { type Libraries, loadLibraries, wellKnownFiles } from "./libraries.ts";
import { orProtoError, ProtoError } from "./proto-error.ts";
import { parseText } from "./text.ts";
import { checkTextBounds } from "./text-bounds.ts";

export { ProtoError } from "./proto-error.ts";

/** No `.proto` with anything in it is made of these characters alone. */
const BASE64 = /^[A-Za-z0-9+/\s]+={0,2}$/;

/** In base64. Throws `ProtoError`. */
export function compileProto(content: string): string {
  const libraries = loadLibraries();
  const { protobuf, wellKnown } = libraries;
  // Spaces at the end in the pattern, too, would take it quadratic time.
  const files = BASE64.test(content.trimEnd()) ? readSet(content, libraries) : readText(content, libraries);
  checkFiles(files);
  const set = protobuf.create(wellKnown.FileDescriptorSetSchema, { file: complete(files, libraries) });
  orProtoError(() => protobuf.createFileRegistry(set));
  return Buffer.from(protobuf.toBinary(wellKnown.FileDescriptorSetSchema, set)).toString("base64");
}

function readText(content: string, libraries: Libraries): FileDescriptorProto[] {
  checkTextBounds(content);
  return [parseText(content, libraries)];
}

function readSet(content: string, { protobuf, wellKnown }: Libraries): FileDescriptorProto[] {
  const set = orProtoError(
    () => protobuf.fromBinary(wellKnown.FileDescriptorSetSchema, Buffer.from(content, "base64")),
    "neither the text of a .proto file nor a descriptor set in base64: ",
  );
  if (set.file.length === 0) throw new ProtoError("a descriptor set without files");
  for (const file of set.file) {
    if (file.name === "") throw new ProtoError("a file of the descriptor set has no name");
    // Places in the text, and its comments: most of the bytes.
    delete file.sourceCodeInfo;
  }
  return set.file;
}

/**
 * Each file after those that it imports. Google's well-known files are at hand; another one that is not here is left out,
 * since it may have brought options alone: if a type of it is used, that is told by the type's name.
 */
function complete(given: readonly FileDescriptorProto[], libraries: Libraries): FileDescriptorProto[] {
  const byName = new Map(wellKnownFiles(libraries).map((file) => [file.name, file]));
  const own = new Set<string>();
  for (const file of given) {
    if (own.has(file.name)) throw new ProtoError(`two files are called ${JSON.stringify(file.name)}`);
    own.add(file.name);
    byName.set(file.name, file);
  }
  const ordered = new Set<FileDescriptorProto>();
  const open = new Set<string>();
  const visit = (file: FileDescriptorProto): void => {
    if (ordered.has(file)) return;
    if (open.has(file.name)) throw new ProtoError(`${JSON.stringify(file.name)} imports itself`);
    if (open.size > MAX_IMPORT_DEPTH) throw new ProtoError(`imports are more than ${MAX_IMPORT_DEPTH} deep`);
    open.add(file.name);
    const known = file.dependency.filter((name) => byName.has(name));
    for (const name of known) visit(byName.get(name)!);
    open.delete(file.name);
    file.dependency = known;
    // Indexes into the imports as they were.
    file.publicDependency = [];
    file.weakDependency = [];
    ordered.add(file);
  };
  for (const file of given) visit(file);
  return [...ordered];
}

const MAX_IMPORT_DEPTH = 100;
