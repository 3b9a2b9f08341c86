/**
 * What compilers of protos refuse and a descriptor can still say: numbers and names that stand twice or are out of range.
 * References are looked at when the set is loaded.
 */

import type {
  DescriptorProto,
  EnumDescriptorProto,
  FileDescriptorProto,
  ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { ProtoError } from "./proto-error.ts";

const MAX_FIELD_NUMBER = 536_870_911;
/** Kept for the implementations of protobuf themselves. */
const FIRST_KEPT = 19_000;
const LAST_KEPT = 19_999;
const MAX_NESTING = 32;

/** Messages, fields, values and methods of all files of a proto: workers make an object of each, all at once. */
const MAX_PARTS = 10_000;

/** What files may still have together. */
interface Budget {
  left: number;
}

/** Throws `ProtoError`. */
export function checkFiles(files: readonly FileDescriptorProto[]): void {
  const budget = { left: MAX_PARTS };
  for (const file of files) checkFile(file, budget);
}

function checkFile(file: FileDescriptorProto, budget: Budget): void {
  const names = new Set<string>();
  const isProto3 = file.syntax === "proto3";
  for (const message of file.messageType) checkMessage(message, message.name, isProto3, budget, 1);
  for (const declared of file.enumType) checkEnum(declared, declared.name, isProto3, budget);
  for (const service of file.service) checkService(service, budget);
  for (const { name } of [...file.messageType, ...file.enumType, ...file.service])
    unique(names, name, `${file.package === "" ? "the file" : file.package}: name`);
}

function checkMessage(
  message: DescriptorProto,
  path: string,
  isProto3: boolean,
  budget: Budget,
  depth: number,
): void {
  if (depth > MAX_NESTING) throw new ProtoError(`${path}: messages are more than ${MAX_NESTING} deep`);
  spend(budget, 1 + message.field.length);
  const names = new Set<string>();
  const numbers = new Set<number>();
  for (const { name, number } of message.field) {
    unique(names, name, `${path}: field`);
    unique(numbers, number, `${path}.${name}: number`);
    if (number < 1 || number > MAX_FIELD_NUMBER || (number >= FIRST_KEPT && number <= LAST_KEPT))
      throw new ProtoError(
        `${path}.${name}: number ${number}, expected 1 to ${MAX_FIELD_NUMBER} without ${FIRST_KEPT} to ${LAST_KEPT}`,
      );
  }
  for (const { name } of [...message.oneofDecl, ...message.nestedType, ...message.enumType])
    unique(names, name, `${path}: name`);
  for (const nested of message.nestedType)
    checkMessage(nested, `${path}.${nested.name}`, isProto3, budget, depth + 1);
  for (const nested of message.enumType) checkEnum(nested, `${path}.${nested.name}`, isProto3, budget);
}

function checkEnum(
  { value: values, options }: EnumDescriptorProto,
  path: string,
  isProto3: boolean,
  budget: Budget,
): void {
  spend(budget, 1 + values.length);
  if (values.length === 0) throw new ProtoError(`${path}: an enum without values`);
  if (isProto3 && values[0].number !== 0)
    throw new ProtoError(
      `${path}.${values[0].name}: number ${values[0].number}, expected 0 for the first value`,
    );
  const names = new Set<string>();
  const numbers = new Set<number>();
  for (const { name, number } of values) {
    unique(names, name, `${path}: value`);
    if (options?.allowAlias !== true) unique(numbers, number, `${path}.${name}: number`);
  }
}

function checkService({ name, method: methods }: ServiceDescriptorProto, budget: Budget): void {
  spend(budget, 1 + methods.length);
  const names = new Set<string>();
  for (const method of methods) unique(names, method.name, `${name}: method`);
}

function unique<T extends string | number>(seen: Set<T>, value: T, what: string): void {
  if (seen.has(value)) throw new ProtoError(`${what} ${JSON.stringify(value)} stands twice`);
  seen.add(value);
}

function spend(budget: Budget, parts: number): void {
  budget.left -= parts;
  if (budget.left < 0) throw new ProtoError(`more than ${MAX_PARTS} messages, fields, values and methods`);
}
