/** What an import could not carry over, or only in another shape. Nothing is left out silently. */

export interface ImportRemark {
  /** Where in the source: "routes[2] (users)", "plugins[0] rate-limiting". */
  place: string;
  message: string;
  /** It is not in the result at all, in contrast to what differs in some detail. */
  isLost: boolean;
}

export class ImportReport {
  readonly remarks: ImportRemark[] = [];

  lost(place: string, message: string): void {
    this.remarks.push({ place, message, isLost: true });
  }

  differs(place: string, message: string): void {
    this.remarks.push({ place, message, isLost: false });
  }

  text(): string {
    return this.remarks
      .map(({ place, message, isLost }) => `${isLost ? "left out" : "differs"}: ${place}: ${message}\n`)
      .join("");
  }
}
