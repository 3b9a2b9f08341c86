/**
 * JSON values as YAML 1.2, in block style, piece by piece: an own writer, since that of the library takes a millisecond for
 * a resource, and a document has tens of thousands. Texts that are not plain beyond doubt are quoted as in JSON,
 * which YAML reads the same (YAML 1.2.2, 7.3.1).
 */

const INDENT = "  ";
/** Nothing that could be a number, a date, a marker or a word with a meaning. */
const PLAIN = /^[A-Za-z/][A-Za-z0-9_/.-]*$/;
const WORDS = /^(?:null|true|false|yes|no|on|off|y|n)$/i;
/** What JSON leaves as it is, and YAML does not print (5.1). */
const UNPRINTABLE = /[\u007f-\u0084\u0086-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;
/** A key that is longer needs a mark (YAML 1.2.2, 8.2.2). */
const LONGEST_KEY = 1000;

/** Of an object: its fields, and the entries of the lists in it, are pieces. */
export function* yamlPieces(value: Readonly<Record<string, unknown>>): Generator<string, void, void> {
  const entries = Object.entries(value).filter(([, held]) => held !== undefined);
  if (entries.length === 0) yield "{}\n";
  for (const [name, held] of entries) {
    if (!Array.isArray(held) || held.length === 0) {
      yield `${scalar(name)}:${below(held, INDENT)}`;
      continue;
    }
    yield `${scalar(name)}:\n`;
    for (const entry of held as readonly unknown[]) yield `${INDENT}-${inItem(entry, INDENT)}`;
  }
}

/** What follows "name:", with its line end. */
function below(value: unknown, indent: string): string {
  if (Array.isArray(value) && value.length > 0) {
    let text = "\n";
    for (const entry of value as readonly unknown[]) text += `${indent}-${inItem(entry, indent)}`;
    return text;
  }
  if (isObject(value) && !isEmpty(value)) return `\n${fields(value, indent, indent)}`;
  return ` ${scalar(value)}\n`;
}

/** What follows "-": the first field stands beside it. */
function inItem(value: unknown, indent: string): string {
  if (Array.isArray(value) && value.length > 0) return below(value, indent + INDENT);
  if (isObject(value) && !isEmpty(value)) return fields(value, " ", indent + INDENT);
  return ` ${scalar(value)}\n`;
}

function fields(value: Readonly<Record<string, unknown>>, first: string, indent: string): string {
  let text = "";
  for (const [name, held] of Object.entries(value)) {
    if (held === undefined) continue;
    const key = scalar(name);
    const mark = key.length > LONGEST_KEY ? `? ${key}\n${indent}` : key;
    text += `${text === "" ? first : indent}${mark}:${below(held, indent + INDENT)}`;
  }
  return text;
}

function scalar(value: unknown): string {
  if (typeof value !== "string") return JSON.stringify(value) ?? "null";
  if (PLAIN.test(value) && !WORDS.test(value)) return value;
  return JSON.stringify(value).replace(UNPRINTABLE, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(value: object): boolean {
  for (const name in value) if ((value as Record<string, unknown>)[name] !== undefined) return false;
  return true;
}
