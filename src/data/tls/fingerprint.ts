/**
 * Fingerprints of a TLS client by its hello: the same program says hello in the same way.
 *
 * JA3: https://github.com/salesforce/ja3. JA4: the technical details at https://github.com/FoxIO-LLC/ja4 (the part for
 * TLS clients, BSD licence). Both leave out GREASE (RFC 8701).
 */

import { hash } from "node:crypto";
import type { ClientHello } from "../../plugin/client-hello.ts";

/** What fingerprints are made of. */
export type HelloFacts = Omit<ClientHello, "raw" | "ja3" | "ja3Text" | "ja4">;

const SERVER_NAME = 0;
const ALPN = 16;
const HASH_DIGITS = 12;
const NO_HASH = "0".repeat(HASH_DIGITS);

const VERSION_NAMES = new Map([
  [0x0304, "13"],
  [0x0303, "12"],
  [0x0302, "11"],
  [0x0301, "10"],
  [0x0300, "s3"],
  [0x0002, "s2"],
]);

export function ja3TextOf(hello: HelloFacts): string {
  const { legacyVersion, ciphers, extensions, groups, pointFormats } = hello;
  return `${legacyVersion},${joined(ciphers)},${joined(extensions)},${joined(groups)},${pointFormats.join("-")}`;
}

export function ja3Of(hello: HelloFacts): string {
  return hash("md5", ja3TextOf(hello));
}

export function ja4Of(hello: HelloFacts): string {
  const ciphers = hello.ciphers.filter(isMeant);
  const extensions = hello.extensions.filter(isMeant);
  const versions = hello.supportedVersions.filter(isMeant);
  const version = versions.length === 0 ? hello.legacyVersion : Math.max(...versions);
  const name = hello.extensions.includes(SERVER_NAME) ? "d" : "i";
  const first =
    `t${VERSION_NAMES.get(version) ?? "00"}${name}${twoDigits(ciphers.length)}${twoDigits(extensions.length)}` +
    alpnMark(hello.alpn[0]);
  const rest = extensions.filter((type) => type !== SERVER_NAME && type !== ALPN);
  const algorithms = hello.signatureAlgorithms.filter(isMeant);
  let third = sortedHex(rest);
  if (algorithms.length > 0) third += `_${algorithms.map(hex).join(",")}`;
  return `${first}_${digest(sortedHex(ciphers))}_${extensions.length === 0 ? NO_HASH : digest(third)}`;
}

/** RFC 8701: 0x0a0a, 0x1a1a, and so on. */
function isMeant(value: number): boolean {
  return (value & 0x0f0f) !== 0x0a0a || value >> 8 !== (value & 0xff);
}

function joined(values: readonly number[]): string {
  return values.filter(isMeant).join("-");
}

function hex(value: number): string {
  return value.toString(16).padStart(4, "0");
}

function sortedHex(values: readonly number[]): string {
  return values.map(hex).sort().join(",");
}

function digest(text: string): string {
  return text === "" ? NO_HASH : hash("sha256", text).slice(0, HASH_DIGITS);
}

function twoDigits(count: number): string {
  return String(Math.min(count, 99)).padStart(2, "0");
}

/** First and last character of the first protocol; of its hexadecimal form where one is neither letter nor digit. */
function alpnMark(name: string | undefined): string {
  if (name === undefined || name === "") return "00";
  const ends = name[0] + name[name.length - 1];
  if (/^[0-9A-Za-z]{2}$/.test(ends)) return ends;
  const digits = Buffer.from(name, "latin1").toString("hex");
  return digits[0] + digits[digits.length - 1];
}
