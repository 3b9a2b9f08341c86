/** CPU per request as a bar chart (SVG 1.1, no script): user and system time of each row, by scenario. */

import type { Row } from "./results.ts";

const WIDTH = 860;
const LABEL_WIDTH = 250;
const FIGURE_WIDTH = 90;
const BAR_HEIGHT = 16;
const ROW_HEIGHT = 24;
const HEADING_HEIGHT = 34;
const MARGIN = 16;
const USER_COLOUR = "#2f6f9f";
const SYSTEM_COLOUR = "#a9c6da";

export function chartText(rows: readonly Row[]): string {
  const shown = rows.filter((row) => row.cpuUs !== undefined && row.userUs !== undefined);
  const parts: string[] = [];
  let y = MARGIN + 20;
  parts.push(
    text(MARGIN, y, "CPU µs per request: user (dark), system (light); each scenario to its own scale", "600"),
  );
  for (const scenario of new Set(shown.map((row) => row.scenario))) {
    const group = shown.filter((row) => row.scenario === scenario);
    const scale =
      (WIDTH - LABEL_WIDTH - FIGURE_WIDTH - 2 * MARGIN) / Math.max(...group.map((row) => row.cpuUs!), 1e-9);
    y += HEADING_HEIGHT;
    parts.push(text(MARGIN, y, scenario, "600"));
    for (const row of group) {
      y += ROW_HEIGHT;
      const userWidth = row.userUs! * scale;
      const systemWidth = (row.cpuUs! - row.userUs!) * scale;
      parts.push(
        text(MARGIN + 12, y, row.contender),
        bar(MARGIN + LABEL_WIDTH, y, userWidth, USER_COLOUR),
        bar(MARGIN + LABEL_WIDTH + userWidth, y, systemWidth, SYSTEM_COLOUR),
        text(MARGIN + LABEL_WIDTH + userWidth + systemWidth + 8, y, row.cpuUs!.toFixed(1)),
      );
    }
  }
  const height = y + MARGIN + 8;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
    `font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>\n` +
    `${parts.join("\n")}\n</svg>\n`
  );
}

function bar(x: number, baseline: number, width: number, colour: string): string {
  const y = baseline - BAR_HEIGHT + 4;
  return `<rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(width, 0).toFixed(1)}" height="${BAR_HEIGHT}" fill="${colour}"/>`;
}

function text(x: number, y: number, content: string, weight = "400"): string {
  return `<text x="${x.toFixed(1)}" y="${y}" font-weight="${weight}">${escapeText(content)}</text>`;
}

function escapeText(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
