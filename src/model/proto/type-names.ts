/** The types that a `.proto` file may name, and how a name in it finds one of them. */

import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { ProtoError } from "./proto-error.ts";

export interface KnownType {
  /** As descriptors call it. */
  readonly kind: "MESSAGE" | "ENUM" | "GROUP";
  /** Where it stands; "": in the file itself. */
  readonly file: string;
}

export class TypeNames {
  /** By full name, "google.protobuf.Any". */
  readonly #types = new Map<string, KnownType>();
  readonly #imports: readonly string[];

  /** `imports`: of the file, for messages. */
  constructor(others: readonly FileDescriptorProto[], imports: readonly string[]) {
    this.#imports = imports;
    for (const { name: file, package: namespace, messageType, enumType } of others) {
      for (const { name } of messageType) this.add(`${namespace}.${name}`, { kind: "MESSAGE", file });
      for (const { name } of enumType) this.add(`${namespace}.${name}`, { kind: "ENUM", file });
    }
  }

  add(fullName: string, type: KnownType): void {
    this.#types.set(fullName, type);
  }

  /** A name as it stands in `scope` (the full name of what is around it): inner meanings hide outer ones. */
  find(name: string, scope: string, user: string): readonly [fullName: string, KnownType] {
    if (name.startsWith(".")) {
      const type = this.#types.get(name.slice(1));
      if (type !== undefined) return [name.slice(1), type];
    } else {
      for (let around = scope; ; around = around.slice(0, Math.max(0, around.lastIndexOf(".")))) {
        const fullName = around === "" ? name : `${around}.${name}`;
        const type = this.#types.get(fullName);
        if (type !== undefined) return [fullName, type];
        if (around === "") break;
      }
    }
    throw new ProtoError(`${user}: there is no type ${JSON.stringify(name)}${this.#hint()}`);
  }

  #hint(): string {
    const missing = this.#imports.filter((file) => !file.startsWith("google/protobuf/"));
    if (missing.length === 0) return "";
    const named = missing.slice(0, 5).map((file) => JSON.stringify(file));
    return `; the text of one file has no other files (${named.join(", ")}): a descriptor set has`;
  }
}
