/**
 * The text of a `.proto` file as a descriptor. protobufjs reads the text; nothing of it but its parser is used, since its
 * own encoders are code that it makes from names in the text.
 *
 * Options do not matter here, except those that change how a message is written, and extensions are left out.
 */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import type * as WellKnown from "@bufbuild/protobuf/wkt";
import type { Enum, Field, NamespaceBase, Service, Type } from "protobufjs";
import { type Libraries, wellKnownFiles } from "./libraries.ts";
import { orProtoError, ProtoError } from "./proto-error.ts";
import { TypeNames } from "./type-names.ts";

type MessageInit = MessageInitShape<typeof WellKnown.DescriptorProtoSchema>;
type EnumInit = MessageInitShape<typeof WellKnown.EnumDescriptorProtoSchema>;
type FieldInit = Exclude<
  MessageInitShape<typeof WellKnown.FieldDescriptorProtoSchema>,
  WellKnown.FieldDescriptorProto
>;
type ServiceInit = MessageInitShape<typeof WellKnown.ServiceDescriptorProtoSchema>;

/** What the parser's own types leave out. */
interface Untold {
  /** Of a field; absent: it is optional. */
  rule?: string;
  /** Of a message that is declared where it is used. */
  group?: boolean;
  /** Of a map. */
  keyType?: string;
  /** Of a field: the extension that it stands for. */
  declaringField?: object | null;
  /** Of what stands at the top of the file. */
  _edition?: string;
}

/** Types that are no names; the descriptor has them in capitals. */
const SCALARS: ReadonlySet<string> = new Set(
  (
    "double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 " +
    "bool string bytes"
  ).split(" "),
);

/** Throws `ProtoError`. */
export function parseText(text: string, libraries: Libraries): FileDescriptorProto {
  return orProtoError(() => new TextReader(text, libraries).file());
}

class TextReader {
  readonly #libraries: Libraries;
  readonly #package: string;
  readonly #top: NamespaceBase;
  readonly #names: TypeNames;
  /** Files whose types are used. */
  readonly #needed = new Set<string>();

  constructor(text: string, libraries: Libraries) {
    this.#libraries = libraries;
    const {
      root,
      package: name,
      imports,
      weakImports,
    } = libraries.protobufjs.parse(text, { keepCase: true });
    this.#package = name ?? "";
    this.#top = (name === undefined ? root : root.lookup(name)) as NamespaceBase;
    this.#names = new TypeNames(wellKnownFiles(libraries), [...(imports ?? []), ...(weakImports ?? [])]);
  }

  file(): FileDescriptorProto {
    const { protobuf, wellKnown } = this.#libraries;
    this.#collect(this.#top, this.#package);
    const { types, enums, services } = this.#partsOf(this.#top);
    return protobuf.create(wellKnown.FileDescriptorProtoSchema, {
      name: "content.proto",
      package: this.#package,
      syntax: this.#syntax(),
      messageType: types.map((type) => this.#message(type, this.#package)),
      enumType: enums.map(enumOf),
      service: services.map((service) => this.#service(service)),
      dependency: [...this.#needed],
    });
  }

  /** The parser says it of what stands at the top alone, and in no other way. */
  #syntax(): string {
    const [first] = this.#top.nestedArray as Untold[];
    const edition = first?._edition ?? "proto3";
    if (edition !== "proto2" && edition !== "proto3")
      throw new ProtoError(
        `edition ${edition}: only a descriptor set may be of an edition, expected proto2 or proto3`,
      );
    return edition;
  }

  #collect(parent: NamespaceBase, scope: string): void {
    const { types, enums } = this.#partsOf(parent);
    for (const { name } of enums) this.#names.add(joined(scope, name), { kind: "ENUM", file: "" });
    for (const type of types) {
      const fullName = joined(scope, type.name);
      this.#names.add(fullName, { kind: (type as Untold).group === true ? "GROUP" : "MESSAGE", file: "" });
      this.#collect(type, fullName);
    }
  }

  #partsOf(parent: NamespaceBase): { types: Type[]; enums: Enum[]; services: Service[] } {
    const { protobufjs } = this.#libraries;
    const { nestedArray: all } = parent;
    return {
      types: all.filter((one) => one instanceof protobufjs.Type),
      enums: all.filter((one) => one instanceof protobufjs.Enum),
      services: all.filter((one) => one instanceof protobufjs.Service),
    };
  }

  #message(type: Type, scope: string): MessageInit {
    const fullName = joined(scope, type.name);
    const { types, enums } = this.#partsOf(type);
    const nestedType = types.map((nested) => this.#message(nested, fullName));
    // Those of single optional fields come last.
    const oneofs = type.oneofsArray.toSorted((a, b) => Number(isSynthetic(a)) - Number(isSynthetic(b)));
    // The parser adds fields of its own to a message that the same file extends.
    const declared = type.fieldsArray.filter((one) => (one as Untold).declaringField === null);
    const field = declared.map((one): FieldInit => {
      const init = this.#field(one, fullName, nestedType);
      if (one.partOf !== null) init.oneofIndex = oneofs.indexOf(one.partOf);
      return init;
    });
    return {
      name: type.name,
      field,
      nestedType,
      enumType: enums.map(enumOf),
      oneofDecl: oneofs.map(({ name }) => ({ name })),
    };
  }

  /** Of a map, its entry becomes a message among `siblings`. */
  #field(field: Field, scope: string, siblings: MessageInit[]): FieldInit {
    const { wellKnown } = this.#libraries;
    const { OPTIONAL, REPEATED } = wellKnown.FieldDescriptorProto_Label;
    const user = `${scope}.${field.name}`;
    const own: FieldInit = { name: field.name, number: field.id, ...optionsOf(field) };
    if (!field.map)
      return { ...own, label: this.#label((field as Untold).rule), ...this.#type(field.type, scope, user) };
    const entry = `${camelCase(field.name)}Entry`;
    siblings.push({
      name: entry,
      options: { mapEntry: true },
      field: [
        { name: "key", number: 1, label: OPTIONAL, ...this.#type((field as Untold).keyType!, scope, user) },
        { name: "value", number: 2, label: OPTIONAL, ...this.#type(field.type, scope, user) },
      ],
    });
    return {
      ...own,
      label: REPEATED,
      type: wellKnown.FieldDescriptorProto_Type.MESSAGE,
      typeName: `.${scope}.${entry}`,
    };
  }

  #label(rule: string | undefined): FieldInit["label"] {
    const { OPTIONAL, REPEATED, REQUIRED } = this.#libraries.wellKnown.FieldDescriptorProto_Label;
    return rule === "repeated" ? REPEATED : rule === "required" ? REQUIRED : OPTIONAL;
  }

  #type(name: string, scope: string, user: string): FieldInit {
    const types = this.#libraries.wellKnown.FieldDescriptorProto_Type;
    if (SCALARS.has(name)) return { type: types[name.toUpperCase() as keyof typeof types] };
    const [fullName, { kind, file }] = this.#names.find(name, scope, user);
    if (file !== "") this.#needed.add(file);
    return { type: types[kind], typeName: `.${fullName}` };
  }

  #messageName(name: string, user: string): string {
    const { type, typeName } = this.#type(name, this.#package, user);
    if (type !== this.#libraries.wellKnown.FieldDescriptorProto_Type.MESSAGE || typeName === undefined)
      throw new ProtoError(`${user}: expected a message, got ${JSON.stringify(name)}`);
    return typeName;
  }

  #service({ name, methodsArray: methods }: Service): ServiceInit {
    return {
      name,
      method: methods.map((method) => {
        const user = `${name}.${method.name}`;
        return {
          name: method.name,
          inputType: this.#messageName(method.requestType, user),
          outputType: this.#messageName(method.responseType, user),
          clientStreaming: method.requestStream === true,
          serverStreaming: method.responseStream === true,
        };
      }),
    };
  }
}

function joined(scope: string, name: string): string {
  return scope === "" ? name : `${scope}.${name}`;
}

/** Made by the parser around one field that is `optional` in proto3. */
function isSynthetic({ fieldsArray: fields }: { fieldsArray: Field[] }): boolean {
  return fields.length === 1 && fields[0].options?.["proto3_optional"] === true;
}

function optionsOf({ options, type }: Field): FieldInit {
  const { packed, json_name: jsonName, default: byDefault, proto3_optional: isOptional } = options ?? {};
  return {
    ...(isOptional === true && { proto3Optional: true }),
    ...(typeof packed === "boolean" && { options: { packed } }),
    ...(typeof jsonName === "string" && { jsonName }),
    // Bytes would have to be escaped again.
    ...(byDefault !== undefined && type !== "bytes" && { defaultValue: textOf(byDefault) }),
  };
}

function textOf(value: unknown): string {
  if (value === Infinity) return "inf";
  return value === -Infinity ? "-inf" : String(value).replace("NaN", "nan");
}

function enumOf({ name, values, options }: Enum): EnumInit {
  return {
    name,
    value: Object.keys(values).map((value) => ({ name: value, number: values[value] })),
    ...(options?.["allow_alias"] === true && { options: { allowAlias: true } }),
  };
}

/** As protoc names the entries of maps. */
function camelCase(name: string): string {
  return name
    .replaceAll(/(?:^|_)([a-zA-Z0-9])/g, (_, first: string) => first.toUpperCase())
    .replaceAll("_", "");
}
