/** JSON values as XML: a field is an element, an array repeats its element. Two spaces per level. */

export function toXml(value: unknown, name: string): string {
  return element(value, name, "");
}

function element(value: unknown, name: string, indent: string): string {
  if (Array.isArray(value)) return value.map((item) => element(item, name, indent)).join("\n");
  if (typeof value !== "object" || value === null) {
    return `${indent}<${name}>${escapeText(String(value))}</${name}>`;
  }
  const children = Object.entries(value).map(([child, inner]) => element(inner, child, `${indent}  `));
  if (children.length === 0) return `${indent}<${name}></${name}>`;
  return `${indent}<${name}>\n${children.join("\n")}\n${indent}</${name}>`;
}

function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
